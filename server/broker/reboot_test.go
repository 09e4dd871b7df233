package broker_test

import (
	"testing"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/mqttwire"
)

// A board that restarts between PUBREC and PUBREL begins its packet ids anew,
// while the broker still waits for the PUBREL of an old one.
func TestQoS2_RebootReusesID(t *testing.T) {
	r := start(t, nil)
	board := connect(t, r.address, lasting(mqttwire.Version311, "device"))
	board.publish(telemetryTopic, 2, 1, `{"schema_version":1,"metrics":{"v":111}}`)
	board.expect("50020001")
	_ = board.socket.Close()
	r.expectMetric(t, "mqtt_connections", "0")

	board = connect(t, r.address, lasting(mqttwire.Version311, "device"))
	board.publish(telemetryTopic, 2, 1, `{"schema_version":1,"metrics":{"v":222}}`)
	board.expect("50020001")
	board.publish(telemetryTopic, 2, 1, `{"schema_version":1,"metrics":{"v":222}}`) // the same again
	board.expect("50020001")
	r.ingest.set(func() {
		if r.ingest.stored != 2 {
			t.Errorf("%d stored, want both messages and neither twice", r.ingest.stored)
		}
	})
}

// What all sessions keep for clients that are away has one bound.
func TestSession_OwedBytes(t *testing.T) {
	r := start(t, func(s *broker.Settings) { s.MaxOwedBytes = 4000 })
	for _, id := range []string{"first", "second"} {
		c := connect(t, r.address, lasting(mqttwire.Version5, id))
		c.subscribe("command", 1)
		_ = c.socket.Close()
		r.expectMetric(t, "mqtt_connections", "0")
	}
	sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
	for range 3 { // six deliveries of more than 1 KiB
		sender.publish("command", 1, 1, "go")
		sender.expect("40020001")
	}
	r.expectMetric(t, `mqtt_dropped_total{reason="client_behind"}`, "2")
	back := connect(t, r.address, lasting(mqttwire.Version5, "first")) // what it is given and acknowledges makes room
	for range 2 {
		id, _ := packetIDOf(back.next())
		back.ack(mqttwire.Puback, id)
	}
	back.silent() // its acknowledgements were read: the sender's next message comes over another connection
	sender.publish("command", 1, 1, "again")
	sender.expect("40020001")
	back.receive("again")
}

// A table full of clients that went away for good does not keep a new one out.
func TestSession_Evicted(t *testing.T) {
	r := start(t, func(s *broker.Settings) { s.MaxSessions = 2 })
	for _, id := range []string{"first", "second"} {
		c := connect(t, r.address, lasting(mqttwire.Version5, id))
		_ = c.socket.Close()
		r.expectMetric(t, "mqtt_connections", "0")
	}
	connect(t, r.address, clean(mqttwire.Version5, "third"))
	r.expectMetric(t, "mqtt_sessions_evicted_total", "1")
	if connack := dialAgain(t, r, lasting(mqttwire.Version5, "second")); !connack.SessionPresent {
		t.Error("the session that would expire last is gone")
	}
	if connack := dialAgain(t, r, lasting(mqttwire.Version5, "first")); connack.SessionPresent {
		t.Error("the session that was evicted is still there")
	}
}
