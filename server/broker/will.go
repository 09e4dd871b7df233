package broker

import (
	"bytes"
	"context"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/wire"
)

// will is the message that a client leaves behind. It never reaches mochi: it is
// judged at CONNECT and again when it is due, and goes where any other message
// of the client would go.
type will struct {
	client  string
	message *mqttwire.Will
	delay   time.Duration
	dueAt   time.Time // set when the connection is lost
}

func newWill(clientID string, message *mqttwire.Will) *will {
	message.Payload = bytes.Clone(message.Payload) // the rest of CONNECT need not live as long
	delay, _ := message.Properties.Number(mqttwire.WillDelay)
	return &will{client: clientID, message: message, delay: time.Duration(delay) * time.Second}
}

// publishLater publishes a will on a goroutine of its own.
func (b *Broker) publishLater(w *will) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopping {
		b.serving.Go(func() { b.publishWill(w) })
	}
}

// publishWill sends a will on its way. While the gateway stops nothing is
// published: it is the gateway that goes, not the client.
func (b *Broker) publishWill(w *will) {
	select {
	case <-b.stopped:
		return
	default:
	}
	r := b.settings.route(w.message.Topic)
	if reason := b.refuse(&r, w.client, len(w.message.Payload)); reason != mqttwire.Success {
		b.metrics.refused(reason)
		return
	}
	m := message{
		client: w.client, topic: w.message.Topic, payload: w.message.Payload,
		qos: w.message.QoS, retain: w.message.Retain, properties: w.message.Properties,
	}
	if r.kind != telemetry {
		b.fanOut.put(m)
		return
	}
	if m.retain {
		m.retain = false
		b.metrics.retainIgnored.Inc()
	}
	m.qos = min(m.qos, 1)
	var s edge.Submission
	b.fill(&s, &wire.Decoder{}, &r, m.payload, m.properties, time.Now())
	s.KeepRefused = true
	if b.wanted(&r) {
		s.Replier = &afterCommit{b, m}
	}
	var p patience
	if err := p.offer(context.Background(), b, &s); err != nil {
		b.metrics.gaveUp(edge.AsError(err), true)
		b.log.Warn("will not stored", "client", w.client, "error", err)
	}
}

// afterCommit fans a message out when it is durable, and answers nobody.
type afterCommit struct {
	broker  *Broker
	message message
}

// Reply implements [edge.Replier].
func (a *afterCommit) Reply(_ uint64, receipt edge.Receipt, err error) bool {
	if err == nil && !receipt.Refused && !receipt.Duplicate {
		a.broker.fanOut.offer(a.message)
	}
	return false
}

// Flush implements [edge.Replier].
func (a *afterCommit) Flush() {}
