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
