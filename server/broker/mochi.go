package broker

import (
	"bytes"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"combotto.io/gateway/server/mqttwire"
)

// exchangeQueue is mochi's queue per member. It can be small, because a delivery
// waits for room in it and writing never blocks.
const exchangeQueue = 64

// maxInFlight bounds the deliveries at QoS 1 and 2 that a member is owed.
const maxInFlight = 8192

// exchange is all that is left of mochi: who subscribed to what, the retained
// messages, and the messages in flight to each member.
//
// mochi's Serve, listeners, event loop and Close are never called, and it sees
// no byte of a client: it is handed packets that the guard has judged, one call
// at a time, and what it writes comes back through a [port]. It is told of no
// Receive Maximum, alias, packet limit, keep-alive or will; with a Receive
// Maximum it forgets deliveries and can freeze.
type exchange struct {
	broker *Broker
	server *mochi.Server
	origin *mochi.Client // publishes in the name of whoever sent the message
	clock  steadyClock

	// generation grows whenever a subscription may have changed, after the change
	// and before the client hears of it.
	generation atomic.Uint64

	// turn is shared while mochi works for one member, and exclusive while the
	// fan-out worker or the housekeeper is inside mochi, so that a retained message
	// is not delivered a second time as a live one, or after it.
	turn          sync.RWMutex
	retained      map[string]retainedMessage // exclusive
	retainedBytes int                        // exclusive
}

type retainedMessage struct {
	bytes     int
	expiresAt int64 // 0 for never
}

// steadyClock counts from the wall clock at its start and is not moved when
// somebody sets the wall clock: nothing expires because of that.
type steadyClock struct{ start time.Time }

func (c steadyClock) now() time.Time { return c.start.Round(0).Add(time.Since(c.start)) }

// member is one client id in the exchange.
type member struct {
	client *mochi.Client
	port   *port
	writer chan struct{} // closed when mochi's writer has ended; nil before it runs
}

func newExchange(b *Broker) *exchange {
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClientWritesPending = exchangeQueue
	capabilities.MaximumInflight = maxInFlight + 1 // the guard stops first, and counts
	capabilities.MaximumMessageExpiryInterval = 0  // messages expire when their sender says so
	capabilities.TopicAliasMaximum = 0
	e := &exchange{
		broker: b,
		server: mochi.New(&mochi.Options{
			Capabilities:             capabilities,
			Logger:                   slog.New(slog.DiscardHandler), // it would log payloads
			ClientNetReadBufferSize:  16,                            // it never reads
			ClientNetWriteBufferSize: 1,                             // one packet per write
		}),
		clock:    steadyClock{time.Now()},
		retained: make(map[string]retainedMessage),
	}
	_ = e.server.AddHook(&hook{}, nil) // fails only when the hook's Init does
	e.origin = e.server.NewClient(nil, "guard", "", true)
	e.origin.Properties.ProtocolVersion = byte(mqttwire.Version5)
	return e
}

// connect makes c the connection of its client id. With resume an existing
// session goes on; without, it is forgotten. welcome is called before anything
// can be delivered, with whether there is a session that goes on; then follows
// what the session is owed.
func (e *exchange) connect(c *connection, resume bool, welcome func(m *member, present bool)) {
	e.turn.RLock()
	defer e.turn.RUnlock()
	port := newPort(c)
	client := e.server.NewClient(port, "guard", c.clientID, false)
	client.Properties.ProtocolVersion = byte(c.version)
	old, present := e.server.Clients.Get(c.clientID)
	if present && !resume {
		e.remove(old)
		present = false
	}
	c.session.outbox.open(c.window(), e.broker.settings.WindowBytes)
	m := &member{client: client, port: port}
	welcome(m, present)
	if present {
		client.State.Inflight, client.State.Subscriptions = old.State.Inflight, old.State.Subscriptions
		e.startWriter(m)
	}
	e.server.Clients.Add(client)
	e.release(m)
}

// startWriter starts mochi's writer, which a member without subscriptions never
// needs.
func (e *exchange) startWriter(m *member) {
	if m.writer != nil {
		return
	}
	m.writer = make(chan struct{})
	go func() {
		defer close(m.writer)
		defer e.survive(m.port.connection)
		m.client.WriteLoop()
	}()
}

// subscribe adds subscriptions. The answer, and retained messages after it,
// arrive through the member's port.
func (e *exchange) subscribe(m *member, filters []mqttwire.Subscription, subscriptionID uint32) error {
	packet := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}}
	for _, filter := range filters {
		packet.Filters = append(packet.Filters, packets.Subscription{
			Filter: filter.Filter, Qos: filter.QoS, NoLocal: filter.NoLocal, Identifier: int(subscriptionID),
			RetainAsPublished: filter.RetainAsPublished, RetainHandling: filter.RetainHandling,
		})
	}
	e.turn.RLock()
	defer e.turn.RUnlock()
	e.startWriter(m)
	m.port.expectFilters(len(filters))
	return e.server.InjectPacket(m.client, packet)
}

// unsubscribe ends subscriptions; the answer arrives through the port.
func (e *exchange) unsubscribe(m *member, filters []string) error {
	packet := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}}
	for _, filter := range filters {
		packet.Filters = append(packet.Filters, packets.Subscription{Filter: filter})
	}
	e.turn.RLock()
	defer e.turn.RUnlock()
	return e.server.InjectPacket(m.client, packet)
}

// subscriptions counts a member's subscriptions.
func (e *exchange) subscriptions(m *member) int { return m.client.State.Subscriptions.Len() }

// acknowledge passes on an acknowledgement that fits a delivery in flight, and
// sends what waited for its place.
func (e *exchange) acknowledge(m *member, packet mqttwire.PacketType, id uint16) error {
	e.turn.RLock()
	defer e.turn.RUnlock()
	err := e.server.InjectPacket(m.client, packets.Packet{FixedHeader: packets.FixedHeader{Type: byte(packet)}, PacketID: id})
	e.release(m)
	return err
}

// release sends what the window has room for. The turn is held, shared.
func (e *exchange) release(m *member) {
	outbox := &m.port.connection.session.outbox
	for {
		id, again, ok := outbox.next()
		if !ok {
			return
		}
		packet, ok := m.client.State.Inflight.Get(id)
		if !ok {
			outbox.drop(id)
			continue
		}
		packet.FixedHeader.Dup = again && packet.FixedHeader.Type == packets.Publish
		if m.client.WritePacket(packet) != nil {
			return // the connection ends, and the next one repeats it
		}
	}
}

// drop forgets a delivery.
func (e *exchange) drop(m *member, id uint16) {
	m.client.State.Inflight.Delete(id)
	m.port.connection.session.outbox.drop(id)
}

// end takes the member's connection away. Without keep the session ends with it.
func (e *exchange) end(m *member, keep bool) {
	defer e.survive(nil)
	m.port.close()
	m.client.Stop(nil)
	if m.writer != nil {
		<-m.writer
	}
	if !keep {
		e.forget(m)
	}
}

// forget ends the session of a member that is not connected.
func (e *exchange) forget(m *member) {
	e.turn.RLock()
	defer e.turn.RUnlock()
	e.remove(m.client)
}

// remove is forget; the turn is held.
func (e *exchange) remove(client *mochi.Client) {
	e.server.UnsubscribeClient(client)
	client.ClearInflights()
	client.Net.Conn.(*port).connection.session.outbox.clear()
	e.server.Clients.Delete(client.ID)
	e.generation.Add(1)
}

// hasReader reports whether anybody subscribes to topic. It holds until the
// generation changes.
func (e *exchange) hasReader(topic string) bool {
	subscribers := e.server.Topics.Subscribers(topic)
	return len(subscribers.Subscriptions)+len(subscribers.Shared) > 0
}

// deliver brings messages to their subscribers and retains those that ask for it.
func (e *exchange) deliver(batch []message) {
	e.turn.Lock()
	defer e.turn.Unlock()
	for i := range batch {
		e.publish(&batch[i])
	}
}

func (e *exchange) publish(m *message) {
	defer e.survive(nil)
	packet := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.qos, Retain: m.retain},
		TopicName:   m.topic, Payload: m.payload,
	}
	if m.qos > 0 {
		packet.PacketID = 1 // mochi insists on an id and does not use it
	}
	for i := range m.properties {
		copyProperty(&packet.Properties, &m.properties[i])
	}
	if expiry, ok := m.properties.Number(mqttwire.MessageExpiry); ok {
		packet.Expiry = e.clock.now().Unix() + max(int64(expiry), 1)
	}
	if m.retain {
		packet.FixedHeader.Retain = e.retain(&packet)
	}
	e.origin.ID = m.client // no-local compares it
	_ = e.server.InjectPacket(e.origin, packet)
}

// copyProperty carries over what a subscriber is to see. Message expiry is set
// by mochi, from the packet's own.
func copyProperty(to *packets.Properties, property *mqttwire.Property) {
	switch property.ID {
	case mqttwire.PayloadFormat:
		to.PayloadFormat, to.PayloadFormatFlag = byte(property.Number), true
	case mqttwire.ContentType:
		to.ContentType = string(property.Value)
	case mqttwire.ResponseTopic:
		to.ResponseTopic = string(property.Value)
	case mqttwire.CorrelationData:
		to.CorrelationData = bytes.Clone(property.Value)
	case mqttwire.UserProperty:
		to.User = append(to.User, packets.UserProperty{Key: string(property.Name), Val: string(property.Value)})
	}
}

// retain accounts for a message that is to be retained and reports whether
// there is room for it. The turn is held, exclusive.
func (e *exchange) retain(packet *packets.Packet) bool {
	old, replaces := e.retained[packet.TopicName]
	if len(packet.Payload) == 0 {
		delete(e.retained, packet.TopicName)
		e.retainedBytes -= old.bytes
		return true
	}
	settings := &e.broker.settings
	size := len(packet.Payload)
	if !replaces && len(e.retained) >= settings.MaxRetainedMessages || e.retainedBytes-old.bytes+size > settings.MaxRetainedBytes {
		e.broker.metrics.droppedRetained.Inc()
		return false
	}
	packet.Payload = bytes.Clone(packet.Payload) // a small message must not pin the buffer that it arrived in
	e.retained[packet.TopicName] = retainedMessage{bytes: size, expiresAt: packet.Expiry}
	e.retainedBytes += size - old.bytes
	return true
}

// expire removes what has outlived its message expiry: retained messages, and
// deliveries to the given members.
func (e *exchange) expire(members []*member) {
	now := e.clock.now()
	e.turn.Lock()
	defer e.turn.Unlock()
	for topic, message := range e.retained {
		if message.expiresAt > 0 && message.expiresAt <= now.Unix() {
			delete(e.retained, topic)
			e.retainedBytes -= message.bytes
			e.server.Topics.RetainMessage(packets.Packet{TopicName: topic}) // an empty one removes
		}
	}
	for _, m := range members {
		for _, id := range m.port.connection.session.outbox.expired(now) {
			e.drop(m, id)
		}
	}
}

// survive is deferred around mochi: a panic costs one connection at most.
func (e *exchange) survive(c *connection) {
	if cause := recover(); cause != nil {
		e.broker.panicked(c, cause)
	}
}

// hook answers mochi's questions; everything else was decided before mochi was
// asked.
type hook struct{ mochi.HookBase }

func (h *hook) ID() string { return "guard" }

func (h *hook) Provides(event byte) bool {
	return event == mochi.OnACLCheck || event == mochi.OnQosPublish
}

// OnACLCheck is called for each filter of a SUBSCRIBE, and for each delivery
// just before mochi queues it.
func (h *hook) OnACLCheck(client *mochi.Client, topic string, _ bool) bool {
	port, ok := client.Net.Conn.(*port)
	return ok && (port.isFilter() || port.admit(topic))
}

// OnQosPublish is called when mochi has taken over a delivery at QoS 1 or 2, and
// before it is queued.
func (h *hook) OnQosPublish(client *mochi.Client, packet packets.Packet, _ int64, _ int) {
	if port, ok := client.Net.Conn.(*port); ok {
		port.connection.session.outbox.add(packet.PacketID, packet.FixedHeader.Qos, len(packet.Payload), packet.Expiry)
	}
}
