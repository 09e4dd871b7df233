package broker

import (
	"context"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/wire"
)

// publish handles a PUBLISH: telemetry goes to ingest, anything else to the
// fan-out worker, and the answer takes its place in the order of answers.
func (c *connection) publish(ctx context.Context, frame mqttwire.Frame) error {
	packet := &c.packet
	if err := packet.Decode(c.version, frame); err != nil {
		return err
	}
	if err := packet.CheckFromClient(); err != nil {
		return err
	}
	if err := c.resolveTopic(packet); err != nil {
		return err
	}
	next := answer{id: packet.ID, counted: packet.QoS > 0}
	switch packet.QoS {
	case 1:
		next.packet = mqttwire.Puback
	case 2:
		next.packet = mqttwire.Pubrec
		r, before := c.session.receive(c, packet)
		if before != nil {
			return c.repeat(r, before, next)
		}
		if r == nil {
			return c.refusePublish(next, mqttwire.QuotaExceeded)
		}
		next.reception = r
	}
	if reason := c.broker.refuse(&c.route, c.clientID, len(packet.Payload)); reason != mqttwire.Success {
		return c.refusePublish(next, reason)
	}
	if c.route.kind == telemetry {
		return c.submit(ctx, packet, next)
	}
	return c.relay(packet, next)
}

// resolveTopic applies the topic alias and sets the route.
func (c *connection) resolveTopic(packet *mqttwire.PublishPacket) error {
	number, aliased := packet.Properties.Number(mqttwire.TopicAlias)
	if alias := uint16(number); aliased {
		if alias > c.broker.settings.TopicAliasMaximum {
			return mqttwire.Refuse(mqttwire.TopicAliasInvalid, "topic alias above the maximum")
		}
		if len(packet.Topic) > 0 {
			if c.aliases == nil {
				c.aliases = make(map[uint16]string)
			}
			if c.aliases[alias] != string(packet.Topic) {
				c.aliases[alias] = string(packet.Topic)
			}
		}
		topic, known := c.aliases[alias]
		if !known {
			return mqttwire.Refuse(mqttwire.ProtocolError, "unknown topic alias")
		}
		if c.route.topic != topic {
			c.route = c.broker.settings.route(topic)
		}
		return nil
	}
	if c.route.topic != string(packet.Topic) {
		c.route = c.broker.settings.route(string(packet.Topic))
	}
	return nil
}

// repeat answers a QoS 2 message that was received before. It is not submitted
// again: when it is stored the answer is the first one, and when it still waits
// for the commit the answer waits with it.
func (c *connection) repeat(r *reception, before *connection, next answer) error {
	next.counted = before != c // otherwise it counts already
	if before == c && !c.session.isStored(r) {
		return nil // its answer is in the ring
	}
	token, err := c.expect(next)
	if err != nil {
		return err
	}
	if c.session.await(r, c, token) {
		c.decide(token, mqttwire.Success, "")
	}
	return nil
}

// refusePublish refuses a message in the protocol's own words. Before version 5
// there are none, and the connection ends.
func (c *connection) refusePublish(next answer, reason mqttwire.ReasonCode) error {
	if next.reception != nil {
		c.settleReception(next.reception, reason)
	}
	if c.version != mqttwire.Version5 {
		return mqttwire.Refuse(reason, "the message is refused")
	}
	c.broker.metrics.refused(reason)
	if next.packet == 0 {
		return nil
	}
	next.decided, next.reason, next.reception = true, reason, nil
	_, err := c.expect(next)
	return err
}

// relay hands an ordinary message to the fan-out worker.
func (c *connection) relay(packet *mqttwire.PublishPacket, next answer) error {
	var token uint64
	if packet.QoS > 0 { // first, because it fails when the Receive Maximum is exceeded
		var err error
		if token, err = c.expect(next); err != nil {
			return c.abandon(next, err)
		}
	}
	if packet.Retain || c.broker.wanted(&c.route) {
		if !c.broker.fanOut.put(c.message(packet)) {
			return c.abandon(next, mqttwire.Refuse(mqttwire.ServerShuttingDown, "the gateway stops"))
		}
	}
	if next.reception != nil {
		c.settleReception(next.reception, mqttwire.Success)
	}
	if packet.QoS > 0 {
		c.decide(token, mqttwire.Success, "")
	}
	return nil
}

// abandon ends the connection over a message that nobody took, and lets the
// client send it again on the next one.
func (c *connection) abandon(next answer, err error) error {
	if next.reception != nil {
		c.settleReception(next.reception, mqttwire.UnspecifiedError)
	}
	return err
}

// message copies what the next packet would overwrite. The payload is the
// frame's, and the frame is nobody else's.
func (c *connection) message(packet *mqttwire.PublishPacket) message {
	return message{
		client: c.clientID, topic: c.route.topic, payload: packet.Payload, qos: packet.QoS, retain: packet.Retain,
		properties: slices.Clone(packet.Properties),
	}
}

// submit hands telemetry to ingest.
func (c *connection) submit(ctx context.Context, packet *mqttwire.PublishPacket, next answer) error {
	b := c.broker
	if packet.Retain {
		packet.Retain = false
		b.metrics.retainIgnored.Inc()
	}
	if c.decoder == nil {
		c.decoder = &wire.Decoder{}
	}
	s := &c.submission
	b.fill(s, c.decoder, &c.route, packet.Payload, packet.Properties, time.Now())
	s.KeepRefused = c.version != mqttwire.Version5 || packet.QoS == 0
	if b.wanted(&c.route) {
		m := c.message(packet)
		m.qos = min(m.qos, 1)
		next.message = &m
	}
	if packet.QoS > 0 || next.message != nil {
		token, err := c.expect(next)
		if err != nil {
			return c.abandon(next, err)
		}
		s.Replier, s.Token = c, token
	}
	if err := c.patience.offer(ctx, b, s); err != nil {
		return c.refuseSubmission(ctx, next, s.Token, err)
	}
	return nil
}

// refuseSubmission answers a message that ingest did not take.
func (c *connection) refuseSubmission(ctx context.Context, next answer, token uint64, err error) error {
	refusal := edge.AsError(err)
	reason, why := reasonOf(refusal)
	if next.reception != nil {
		c.settleReception(next.reception, reason)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.broker.metrics.gaveUp(refusal, next.packet == 0)
	switch {
	case refusal.Code == edge.Stopping:
		return mqttwire.Refuse(mqttwire.ServerShuttingDown, refusal.Message)
	case next.packet == 0:
		if next.message != nil {
			c.decide(token, mqttwire.Success, "")
		}
		return nil
	case c.version != mqttwire.Version5:
		return mqttwire.Refuse(reason, refusal.Message)
	}
	c.broker.metrics.refused(reason)
	c.decide(token, reason, why)
	return nil
}
