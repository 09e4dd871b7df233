package broker_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
)

var (
	errDisk = &edge.Error{Code: edge.Internal, Reason: edge.ReasonInternal, Message: "internal error"}
	errFull = &edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "the queue is full"}
)

// forEachWay runs a test for 3.1.1 and 5, at QoS 1 and 2. ack is the first byte
// of the acknowledgement, in hex.
func forEachWay(t *testing.T, run func(t *testing.T, version mqttwire.Version, qos byte, ack string)) {
	for _, version := range []mqttwire.Version{mqttwire.Version311, mqttwire.Version5} {
		for qos, ack := range map[byte]string{1: "40", 2: "50"} {
			t.Run(fmt.Sprintf("version %d QoS %d", version, qos), func(t *testing.T) {
				t.Parallel()
				run(t, version, qos, ack)
			})
		}
	}
}

func TestAcknowledgement_WaitsForCommit(t *testing.T) {
	forEachWay(t, func(t *testing.T, version mqttwire.Version, qos byte, ack string) {
		r := start(t, nil)
		r.ingest.set(func() { r.ingest.held = true })
		c := connect(t, r.address, clean(version, "device"))
		for id := range uint16(50) {
			c.publish(telemetryTopic, qos, id+1, good)
		}
		r.ingest.await(t, "all are offered", func() bool { return len(r.ingest.offered) == 50 })
		c.silent()
		r.ingest.set(func() { r.ingest.held = false })
		for id := range uint16(50) {
			c.expect(fmt.Sprintf("%s02%04x", ack, id+1))
		}
	})
}

func TestAcknowledgement_CommitFails(t *testing.T) {
	forEachWay(t, func(t *testing.T, version mqttwire.Version, qos byte, ack string) {
		for failure, reason := range map[*edge.Error]string{errDisk: "80", errFull: told("97", errFull.Message)} {
			r := start(t, nil)
			r.ingest.set(func() { r.ingest.failure = failure })
			c := connect(t, r.address, lasting(version, "device"))
			c.publish(telemetryTopic, qos, 7, good)
			if version == mqttwire.Version5 {
				c.expectRest(ack, "0007"+reason)
			} else {
				c.closed()
				c = connect(t, r.address, lasting(version, "device"))
			}
			// The client sends it again, and now it is stored.
			r.ingest.set(func() { r.ingest.failure = nil })
			c.publish(telemetryTopic, qos, 7, good)
			c.expect(ack + "020007")
			r.ingest.await(t, "stored once", func() bool { return r.ingest.stored == 1 })
		}
	})
}

// told is a reason code with a reason string behind it, in hex.
func told(reason, text string) string {
	return fmt.Sprintf("%s%02x1f%04x%x", reason, len(text)+3, len(text), text)
}

// expectRest reads one packet and compares its type, given as its first byte in
// hex, and all that follows its length.
func (c *client) expectRest(first, rest string) {
	c.t.Helper()
	frame := c.expect(first)
	if got := hex.EncodeToString(frame.Body); got != rest {
		c.t.Fatalf("got %s behind the length, want %s", got, rest)
	}
}

// A reason string is left out where the client does not want it, or could not
// take a packet with it.
func TestAcknowledgement_ReasonString(t *testing.T) {
	for name, test := range map[string]struct {
		property mqttwire.Property
		want     string
	}{
		"Wanted":    {mqttwire.Property{ID: mqttwire.RequestProblemInfo, Number: 1}, told("97", errFull.Message)},
		"NotWanted": {mqttwire.Property{ID: mqttwire.RequestProblemInfo, Number: 0}, "97"},
		"Fits":      {mqttwire.Property{ID: mqttwire.MaximumPacketSize, Number: uint32(len(errFull.Message)) + 9}, told("97", errFull.Message)},
		"TooLarge":  {mqttwire.Property{ID: mqttwire.MaximumPacketSize, Number: uint32(len(errFull.Message)) + 8}, "97"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(s *broker.Settings) { s.FullGrace = time.Millisecond })
			r.ingest.set(func() { r.ingest.refuse = func(*edge.Submission) error { return errFull } })
			packet := clean(mqttwire.Version5, "device")
			packet.Properties = mqttwire.Properties{test.property}
			c := connect(t, r.address, packet)
			c.publish(telemetryTopic, 1, 7, good)
			c.expectRest("40", "0007"+test.want)
		})
	}
}

func TestAcknowledgement_Full(t *testing.T) {
	full := func(*edge.Submission) error { return errFull }
	t.Run("waits", func(t *testing.T) {
		r := start(t, nil)
		r.ingest.set(func() { r.ingest.refuse = full })
		c := connect(t, r.address, clean(mqttwire.Version311, "device"))
		c.publish(telemetryTopic, 1, 7, good)
		r.ingest.await(t, "it is tried again", func() bool { return r.ingest.offers >= 3 })
		r.ingest.set(func() { r.ingest.refuse = nil })
		c.expect("40020007")
	})
	forEachWay(t, func(t *testing.T, version mqttwire.Version, qos byte, ack string) {
		r := start(t, func(s *broker.Settings) { s.FullGrace = 100 * time.Millisecond })
		r.ingest.set(func() { r.ingest.refuse = full })
		c := connect(t, r.address, clean(version, "device"))
		begin := time.Now()
		c.publish(telemetryTopic, qos, 7, good)
		if version == mqttwire.Version5 {
			c.expectRest(ack, "0007"+told("97", errFull.Message))
			c.publish(telemetryTopic, qos, 8, good) // the grace is over: told at once
			c.expectRest(ack, "0008"+told("97", errFull.Message))
			c.publish(telemetryTopic, 0, 0, good)
			c.silent()
			r.expectMetric(t, `mqtt_dropped_total{reason="full"}`, "1")
		} else {
			c.closed()
		}
		if took := time.Since(begin); took < 100*time.Millisecond {
			t.Errorf("refused after %v, before the grace", took)
		}
	})
	t.Run("stop ends the wait", func(t *testing.T) {
		r := start(t, nil)
		r.ingest.set(func() { r.ingest.refuse = full })
		c := connect(t, r.address, clean(mqttwire.Version5, "device"))
		c.publish(telemetryTopic, 1, 7, good)
		r.ingest.await(t, "it is tried again", func() bool { return r.ingest.offers >= 2 })
		r.stop()
		c.expect("e0018b")
	})
}

func TestAcknowledgement_ClientGone(t *testing.T) {
	forEachWay(t, func(t *testing.T, version mqttwire.Version, qos byte, ack string) {
		r := start(t, nil)
		r.ingest.set(func() { r.ingest.held = true })
		c := connect(t, r.address, lasting(version, "device"))
		c.publish(telemetryTopic, qos, 7, good)
		r.ingest.await(t, "it is offered", func() bool { return len(r.ingest.offered) == 1 })
		_ = c.socket.Close()

		// The message comes again on the next connection, before the commit.
		c = connect(t, r.address, lasting(version, "device"))
		again := mqttwire.PublishPacket{Topic: []byte(telemetryTopic), QoS: qos, ID: 7, Duplicate: true, Payload: []byte(good)}
		c.send(again.Append(nil, version))
		c.silent()
		r.ingest.set(func() { r.ingest.held = false })
		c.expect(ack + "020007")
		if qos == 2 {
			c.ack(mqttwire.Pubrel, 7)
			c.expect("70020007")
		}
		want := map[byte]int{1: 2, 2: 1}[qos] // QoS 2: once
		if r.ingest.set(func() {}); len(r.ingest.offered) != want {
			t.Errorf("submitted %d times, want %d", len(r.ingest.offered), want)
		}
	})
}

func TestAcknowledgement_Order(t *testing.T) {
	r := startWith(t, nil, policy{allow: func(_, topic string, _ broker.Access) bool { return topic != "devices/secret/telemetry" }}, listen(t))
	r.ingest.set(func() { r.ingest.held = true })
	c := connect(t, r.address, clean(mqttwire.Version5, "device"))
	c.publish(telemetryTopic, 1, 1, good)
	c.publish("devices/secret/telemetry", 1, 2, good)
	c.publish("devices/-/telemetry", 2, 3, good)
	c.publish(telemetryTopic, 2, 4, good)
	c.publish(telemetryTopic, 1, 5, "{")
	c.publish("other", 1, 6, "ordinary")
	c.publish(telemetryTopic, 1, 7, good)
	r.ingest.await(t, "all are offered", func() bool { return len(r.ingest.offered) == 3 })
	c.silent()
	r.ingest.set(func() { r.ingest.held = false })
	for _, want := range []string{"40020001", "4003000287", "5003000390", "50020004", "4003000599", "40020006", "40020007"} {
		c.expect(want)
	}
}

func TestAcknowledgement_OneWritePerCommit(t *testing.T) {
	r := start(t, nil)
	r.ingest.set(func() { r.ingest.held = true })
	c := connect(t, r.address, clean(mqttwire.Version311, "device"))
	var want []byte
	for id := range uint16(100) {
		c.publish(telemetryTopic, 1, id+1, good)
		want = mqttwire.AppendAck(want, c.version, mqttwire.Puback, id+1, 0)
	}
	r.ingest.await(t, "all are offered", func() bool { return len(r.ingest.offered) == 100 })
	r.ingest.set(func() { r.ingest.held = false })
	got := make([]byte, 4096)
	n, err := c.socket.Read(got)
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Errorf("the first read gives %d bytes of %d: %v", n, len(want), err)
	}
}

func TestAcknowledgement_ReceiveMaximum(t *testing.T) {
	for qos, ack := range map[byte]string{1: "40", 2: "50"} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			r := start(t, nil)
			r.ingest.set(func() { r.ingest.held = true })
			c := connect(t, r.address, clean(mqttwire.Version5, "device"))
			for id := range uint16(100) {
				c.publish(telemetryTopic, qos, id+1, good)
			}
			c.silent() // exactly the maximum is fine
			r.ingest.set(func() { r.ingest.held = false })
			for id := range uint16(100) {
				c.expect(fmt.Sprintf("%s02%04x", ack, id+1))
			}
			if qos == 1 {
				r.ingest.set(func() { r.ingest.held = true })
				for id := range uint16(100) {
					c.publish(telemetryTopic, qos, id+1, good)
				}
			} else { // PUBREC gives no room, PUBCOMP does
				c.ack(mqttwire.Pubrel, 1)
				c.expect("70020001")
				c.publish(telemetryTopic, qos, 1, good)
				c.expect("50020001")
			}
			c.publish(telemetryTopic, qos, 101, good)
			c.expect("e00193")
			c.closed()
		})
	}
}

func TestAcknowledgement_UnansweredBound(t *testing.T) {
	r := start(t, func(s *broker.Settings) { s.MaxUnanswered = 10 })
	r.ingest.set(func() { r.ingest.held = true })
	c := connect(t, r.address, clean(mqttwire.Version311, "device"))
	for id := range uint16(20) {
		c.publish(telemetryTopic, 1, id+1, good)
	}
	r.ingest.await(t, "ten are offered", func() bool { return len(r.ingest.offered) >= 10 })
	if r.ingest.set(func() {}); len(r.ingest.offered) != 10 {
		t.Errorf("%d are offered, the connection is read beyond its bound", len(r.ingest.offered))
	}
	r.ingest.set(func() { r.ingest.held = false })
	for id := range uint16(20) {
		c.expect(fmt.Sprintf("4002%04x", id+1))
	}
}

func TestSubmission_Record(t *testing.T) {
	r := start(t, nil)
	c := connect(t, r.address, clean(mqttwire.Version5, "anybody"))
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	packet := mqttwire.PublishPacket{
		Topic: []byte(telemetryTopic), QoS: 1, ID: 1, Retain: true, Payload: []byte(good),
		Properties: mqttwire.Properties{
			{ID: mqttwire.ContentType, Value: []byte("application/json")},
			{ID: mqttwire.UserProperty, Name: []byte("traceparent"), Value: []byte(parent)},
		},
	}
	c.send(packet.Append(nil, c.version))
	c.expect("40020001")
	c.publish(telemetryTopic, 0, 0, "{")
	r.ingest.await(t, "both are offered", func() bool { return len(r.ingest.offered) == 2 })
	for i := range r.ingest.offered {
		s := &r.ingest.offered[i]
		if age := time.Since(s.Record.ReceivedAt); age < 0 || age > patience {
			t.Errorf("received %v ago", age)
		}
		s.Record.ReceivedAt, s.Replier, s.Token = time.Time{}, nil, 0
	}
	if r.ingest.offered[1].Fault == nil {
		t.Error("malformed telemetry without a fault")
	}
	r.ingest.offered[1].Fault = nil
	want := []edge.Submission{
		{Record: edge.Record{Device: "dev-1", Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, TraceParent: parent, Payload: []byte(good)}},
		{Record: edge.Record{Device: "dev-1", Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, Payload: []byte("{")}, KeepRefused: true},
	}
	if diff := cmp.Diff(want, r.ingest.offered); diff != "" {
		t.Error(diff)
	}
	r.expectMetric(t, "mqtt_retain_ignored_total", "1")
}

func TestSubmission_RefusedIsKeptFor311(t *testing.T) {
	r := start(t, nil)
	c := connect(t, r.address, clean(mqttwire.Version311, "device"))
	c.publish(telemetryTopic, 1, 1, "never valid")
	c.expect("40020001")
	c.publish(telemetryTopic, 2, 2, "never valid")
	c.expect("50020002")
	for _, topic := range []string{"devices/-/telemetry", "devices//telemetry", "$SYS/broker/version"} {
		c := connect(t, r.address, clean(mqttwire.Version311, "device"))
		c.publish(topic, 1, 1, good)
		c.closed()
	}
}
