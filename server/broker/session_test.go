package broker_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
)

func TestWill_Telemetry(t *testing.T) {
	r := start(t, nil)
	reader := connect(t, r.address, clean(mqttwire.Version311, "reader"))
	reader.subscribe("devices/+/telemetry", 1)
	packet := clean(mqttwire.Version311, "device")
	packet.Will = &mqttwire.Will{Topic: telemetryTopic, Payload: []byte(good), QoS: 1, Retain: true}
	_ = connect(t, r.address, packet).socket.Close()
	if got := reader.receive(good); got.Retain {
		t.Error("telemetry is retained")
	}
	r.ingest.await(t, "the will is stored", func() bool { return r.ingest.stored == 1 })

	c := connect(t, r.address, packet)
	c.send([]byte{0xE0, 0}) // takes the will back
	c.closed()
	reader.silent()
	r.expectMetric(t, "mqtt_connections", "1")
	if r.ingest.set(func() {}); r.ingest.stored != 1 {
		t.Errorf("stored %d, want 1", r.ingest.stored)
	}
}

func TestWill_Ordinary(t *testing.T) {
	var revoked atomic.Bool
	r := startWith(t, nil, policy{allow: func(_, topic string, access broker.Access) bool {
		return access != broker.Publish || topic != "devices/a/status" || !revoked.Load()
	}}, listen(t))
	reader := connect(t, r.address, clean(mqttwire.Version311, "reader"))
	reader.subscribe("devices/+/status", 0)
	packet := clean(mqttwire.Version311, "a")
	packet.Will = &mqttwire.Will{Topic: "devices/a/status", Payload: []byte("offline"), Retain: true}
	_ = connect(t, r.address, packet).socket.Close()
	reader.receive("offline")
	late := connect(t, r.address, clean(mqttwire.Version311, "late"))
	late.subscribe("devices/a/status", 0)
	if got := late.receive("offline"); !got.Retain {
		t.Error("the will is not retained")
	}

	// The right is asked for again when the will is due.
	c := connect(t, r.address, packet)
	revoked.Store(true)
	_ = c.socket.Close()
	r.expectMetric(t, `mqtt_refusals_total{reason="not_authorized"}`, "1")
	reader.silent()
}

func TestWill_Delay(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	reader := connect(t, r.address, clean(mqttwire.Version311, "reader"))
	reader.subscribe("will", 0)
	packet := lasting(mqttwire.Version5, "device")
	packet.Will = &mqttwire.Will{Topic: "will", Payload: []byte("gone"), Properties: mqttwire.Properties{{ID: mqttwire.WillDelay, Number: 2}}}
	_ = connect(t, r.address, packet).socket.Close()
	r.expectMetric(t, "mqtt_connections", "1")
	c := connect(t, r.address, packet) // takes it back
	if got, err := reader.message(3 * time.Second); err == nil {
		t.Fatalf("the will %q came although the session went on", got.Payload)
	}
	lost := time.Now()
	_ = c.socket.Close()
	reader.receive("gone")
	if took := time.Since(lost); took < 1900*time.Millisecond {
		t.Errorf("the will came after %v, want 2s", took)
	}

	_ = connect(t, r.address, packet).socket.Close()
	r.expectMetric(t, "mqtt_connections", "1")
	fresh := clean(mqttwire.Version5, "device")
	connect(t, r.address, fresh) // ends the session, and with it the delay
	reader.receive("gone")
}

func TestFanOut_AfterCommit(t *testing.T) {
	r := start(t, nil)
	reader := connect(t, r.address, clean(mqttwire.Version5, "service"))
	reader.subscribe("devices/+/telemetry", 2)
	r.ingest.set(func() { r.ingest.held = true })
	c := connect(t, r.address, clean(mqttwire.Version5, "device"))
	c.publish(telemetryTopic, 2, 1, good)
	c.publish(telemetryTopic, 0, 0, good)
	r.ingest.await(t, "both are offered", func() bool { return len(r.ingest.offered) == 2 })
	reader.silent()
	r.ingest.set(func() { r.ingest.held = false })
	c.expect("50020001")
	for _, qos := range []byte{1, 0} { // at most QoS 1
		if got := reader.receive(good); got.QoS != qos {
			t.Errorf("QoS %d, want %d", got.QoS, qos)
		}
	}
	c.publish(telemetryTopic, 1, 2, "{")
	c.expect("4003000299")
	reader.silent() // a refused message reaches nobody
}

func TestFanOut_Free(t *testing.T) {
	r := start(t, nil)
	c := connect(t, r.address, clean(mqttwire.Version311, "device"))
	c.publish(telemetryTopic, 0, 0, good)
	r.ingest.await(t, "it is offered", func() bool { return len(r.ingest.offered) == 1 })
	if r.ingest.offered[0].Replier != nil {
		t.Error("an answer is asked for that nobody needs")
	}
	reader := connect(t, r.address, clean(mqttwire.Version311, "reader"))
	reader.subscribe("#", 0)
	c.publish(telemetryTopic, 0, 0, good)
	reader.receive(good)
	reader.send((&mqttwire.UnsubscribePacket{ID: 3, Filters: []string{"#"}}).Append(nil, reader.version))
	reader.expect("b0020003")
	c.publish(telemetryTopic, 0, 0, good)
	r.ingest.await(t, "it is offered", func() bool { return len(r.ingest.offered) == 3 })
	if r.ingest.offered[2].Replier != nil {
		t.Error("an answer is asked for after the last reader has gone")
	}
}

func TestSession_Expiry(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	packet := lasting(mqttwire.Version5, "device")
	packet.Properties = mqttwire.Properties{{ID: mqttwire.SessionExpiry, Number: 1}}
	c := connect(t, r.address, packet)
	c.subscribe("command", 1)
	_ = c.socket.Close()
	r.expectMetric(t, "mqtt_connections", "0")
	if connack := dialAgain(t, r, packet); !connack.SessionPresent {
		t.Fatal("the session did not outlive its connection")
	}
	r.expectMetric(t, "mqtt_connections", "0")
	<-time.After(2500 * time.Millisecond) // its second, and the housekeeper's
	if connack := dialAgain(t, r, packet); connack.SessionPresent {
		t.Error("the session is still there")
	}
}

// dialAgain connects, disconnects, and returns the CONNACK.
func dialAgain(t *testing.T, r *rig, packet mqttwire.ConnectPacket) *mqttwire.ConnackPacket {
	t.Helper()
	c := dial(t, r.address)
	connack := c.open(packet)
	if connack == nil {
		t.Fatal("not welcome")
	}
	_ = c.socket.Close()
	return connack
}

func TestSession_Resume(t *testing.T) {
	r := start(t, nil)
	c := connect(t, r.address, lasting(mqttwire.Version5, "device"))
	c.subscribe("command", 2)
	sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
	sender.publish("command", 2, 1, "first")
	sender.expect("50020001")
	frame := c.next()
	id, ok := packetIDOf(frame)
	if !ok {
		t.Fatalf("got %x", frame.Append(nil))
	}
	c.ack(mqttwire.Pubrec, id)
	c.expect(fmt.Sprintf("6202%04x", id))
	_ = c.socket.Close()
	r.expectMetric(t, "mqtt_connections", "1")
	sender.publish("command", 1, 2, "second")
	sender.expect("4002")

	c = connect(t, r.address, lasting(mqttwire.Version5, "device"))
	c.expect(fmt.Sprintf("6202%04x", id)) // the client has the first one, it is only released again
	c.receive("second")
	c.ack(mqttwire.Pubcomp, id)
	c.silent()

	fresh := connect(t, r.address, clean(mqttwire.Version5, "device"))
	sender.publish("command", 1, 3, "third")
	sender.expect("4002")
	fresh.silent()
}

func packetIDOf(frame mqttwire.Frame) (uint16, bool) {
	var packet mqttwire.PublishPacket
	err := packet.Decode(mqttwire.Version5, frame)
	return packet.ID, err == nil && packet.QoS > 0
}

func TestSession_Bounds(t *testing.T) {
	r := start(t, func(s *broker.Settings) {
		s.MaxSessions, s.MaxSubscriptions, s.MaxExactlyOnce, s.MaxSessionBytes = 2, 2, 2, 4000
		s.MaxRetainedMessages, s.MaxRetainedBytes = 2, 100
	})
	c := connect(t, r.address, lasting(mqttwire.Version5, "device"))
	other := connect(t, r.address, clean(mqttwire.Version311, "other"))
	if connack := dial(t, r.address).open(clean(mqttwire.Version5, "third")); connack.Reason != mqttwire.QuotaExceeded {
		t.Errorf("a third session: %v", connack.Reason)
	}
	c.subscribe("a", 1)
	c.subscribe("b", 1)
	if got := c.trySubscribe("c", 1); got != mqttwire.QuotaExceeded {
		t.Errorf("a third subscription: %v", got)
	}
	for id, want := range []string{"50020001", "50020002", "5003000397"} {
		c.publish(telemetryTopic, 2, uint16(id+1), good)
		c.expect(want)
	}
	for i, payload := range []string{"one", "two", "three", strings.Repeat("x", 99)} {
		other.retain(fmt.Sprint("retained/", i%3), payload)
	}
	other.silent()
	r.expectMetric(t, `mqtt_dropped_total{reason="retained_limit"}`, "2")

	_ = c.socket.Close()
	r.expectMetric(t, "mqtt_connections", "1")
	for range 4 {
		other.publish("a", 1, 1, strings.Repeat("x", 400))
		other.expect("40020001")
	}
	r.expectMetric(t, `mqtt_dropped_total{reason="client_behind"}`, "1")
}

func TestDelivery_ClientLimits(t *testing.T) {
	r := start(t, nil)
	packet := clean(mqttwire.Version5, "device")
	packet.Properties = mqttwire.Properties{{ID: mqttwire.MaximumPacketSize, Number: 40}, {ID: mqttwire.TopicAliasMaximum, Number: 1}}
	c := connect(t, r.address, packet)
	c.subscribe("command/#", 1)
	sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
	for i, payload := range []string{"first", strings.Repeat("x", 50), "second"} {
		sender.publish("command/go", 1, uint16(i+1), payload)
		sender.expect("4002")
	}
	if got := c.receive("first"); string(got.Topic) != "command/go" || !got.Properties.Has(mqttwire.TopicAlias) {
		t.Errorf("got %+v", got)
	}
	if got := c.receive("second"); len(got.Topic) != 0 {
		t.Errorf("topic %q is sent twice", got.Topic)
	}
}

func TestTLS_Handshake(t *testing.T) {
	serverConfig, clientConfig := certificates(t)
	var login atomic.Pointer[broker.Login]
	remember := policy{authenticate: func(l *broker.Login) error {
		login.Store(l)
		if l.ClientID == "stranger" {
			return &edge.Error{Code: edge.Unauthenticated, Message: "who are you"}
		}
		return nil
	}}
	r := startWith(t, func(s *broker.Settings) { s.ConnectTimeout = 300 * time.Millisecond }, remember, tlsListener(t, serverConfig))
	c := newClient(t, tlsDial(t, r.address, clientConfig))
	packet := clean(mqttwire.Version5, "device")
	packet.HasUser, packet.User, packet.HasPassword, packet.Password = true, "device", true, []byte("secret")
	if c.open(packet) == nil {
		t.Fatal("not welcome")
	}
	if l := login.Load(); l.TLS == nil || len(l.TLS.PeerCertificates) != 1 || l.User != "device" || !bytes.Equal(l.Password, []byte("secret")) {
		t.Errorf("login %+v", l)
	}
	c.publish(telemetryTopic, 1, 1, good)
	c.expect("40020001")

	stranger := newClient(t, tlsDial(t, r.address, clientConfig))
	if connack := stranger.open(clean(mqttwire.Version5, "stranger")); connack.Reason != mqttwire.BadUserNameOrPassword {
		t.Errorf("got %v", connack.Reason)
	}
	if !dial(t, r.address).dropped(patience) {
		t.Error("a client may take its time with the handshake")
	}
	plain := dial(t, r.address)
	plain.send(packet.Append(nil))
	if !plain.dropped(patience) {
		t.Error("a client without TLS is not dropped")
	}
}
