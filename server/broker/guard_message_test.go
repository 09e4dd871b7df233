package broker_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/mqttwire"
)

// The rows of the table of mochi's faults that concern messages on their way in.

func TestGuard_M02WrappedCode(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		c := connect(t, address, clean(mqttwire.Version5, "device"))
		c.publish(telemetryTopic, 1, 7, good)
		c.expect("40030007")
		connect(t, address, clean(mqttwire.Version311, "other")).silent()
	}
	r := start(t, nil)
	r.ingest.set(func() { r.ingest.failure = wrapped() })
	scenario(t, r.address)
	r.expectMetric(t, "mqtt_panics_total", "0")
	bypassed(t, "wrapped code", scenario)
}

func TestGuard_M03FailedAppend(t *testing.T) {
	t.Parallel()
	for _, version := range []mqttwire.Version{mqttwire.Version311, mqttwire.Version5} {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("version %d QoS %d", version, qos), func(t *testing.T) {
				t.Parallel()
				scenario := func(t testing.TB, address string) {
					reader := connect(t, address, clean(mqttwire.Version311, "reader"))
					reader.subscribe(telemetryTopic, 0)
					c := connect(t, address, clean(version, "device"))
					c.publish(telemetryTopic, qos, 7, good)
					if frame, err := c.read(patience); err == nil && (len(frame.Body) < 3 || frame.Body[2] < 0x80) {
						t.Fatalf("acknowledged: %x", frame.Append(nil))
					}
					reader.silent()
				}
				r := start(t, nil)
				r.ingest.set(func() { r.ingest.failure = errors.New("disk full") })
				scenario(t, r.address)
				bypassed(t, "append fails", scenario)
			})
		}
	}
}

func TestGuard_M04Will(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		reader := connect(t, address, clean(mqttwire.Version311, "reader"))
		reader.subscribe("restricted/x", 0)
		c := dial(t, address)
		packet := clean(mqttwire.Version5, "rogue")
		packet.Will = &mqttwire.Will{Topic: "restricted/x", Payload: []byte("gone")}
		c.open(packet)
		_ = c.socket.Close()
		if will, err := reader.message(500 * time.Millisecond); err == nil {
			t.Fatalf("the will %q came through", will.Payload)
		}
	}
	deny := policy{allow: func(_, topic string, access broker.Access) bool {
		return access != broker.Publish || !strings.HasPrefix(topic, "restricted/")
	}}
	r := startWith(t, nil, deny, listen(t))
	scenario(t, r.address)
	bypassed(t, "restricted", scenario)

	for version, want := range map[mqttwire.Version]string{mqttwire.Version311: "20020005", mqttwire.Version5: "2003008700"} {
		c := dial(t, r.address)
		packet := clean(version, "rogue")
		packet.Will = &mqttwire.Will{Topic: "restricted/x"}
		c.send(packet.Append(nil))
		c.version = version
		c.expect(want)
		c.closed()
	}
}

func TestGuard_M05PacketIDs(t *testing.T) {
	t.Parallel()
	for _, version := range []mqttwire.Version{mqttwire.Version311, mqttwire.Version5} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			t.Parallel()
			scenario := func(t testing.TB, address string) { packetIDs(t, address, version) }
			scenario(t, start(t, nil).address)
			bypassed(t, "plain", scenario)
		})
	}
}

// packetIDs has a device publish and subscribe with the packet ids of commands
// that it has not acknowledged yet, and expects the commands again after a
// reconnect.
func packetIDs(t testing.TB, address string, version mqttwire.Version) {
	device := connect(t, address, lasting(version, "device"))
	device.subscribe("command", 2)
	sender := connect(t, address, clean(mqttwire.Version311, "sender"))
	ids := []uint16{}
	for i, qos := range []byte{1, 2} {
		sender.publish("command", qos, uint16(i+1), fmt.Sprint("go ", qos))
		sender.next()
		if qos == 2 {
			sender.ack(mqttwire.Pubrel, uint16(i+1))
			sender.next()
		}
		var command mqttwire.PublishPacket
		if err := command.Decode(version, device.next()); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, command.ID)
	}
	for _, id := range ids {
		device.publish("other", 1, id, "x")
		device.expect(fmt.Sprintf("4002%04x", id))
		device.publish("other", 2, id, "x")
		device.expect(fmt.Sprintf("5002%04x", id))
		device.ack(mqttwire.Pubrel, id)
		device.expect(fmt.Sprintf("7002%04x", id))
		subscribe := mqttwire.SubscribePacket{ID: id, Filters: []mqttwire.Subscription{{Filter: "third"}}}
		device.send(subscribe.Append(nil, version))
		suback, err := mqttwire.DecodeSuback(version, device.next())
		if err != nil || suback.ID != id || suback.Reasons[0].IsError() {
			t.Fatalf("SUBACK %+v, %v", suback, err)
		}
	}
	_ = device.socket.Close()
	device = connect(t, address, lasting(version, "device"))
	for i, want := range []string{"go 1", "go 2"} {
		var command mqttwire.PublishPacket
		frame, err := device.read(2 * time.Second)
		if err != nil {
			t.Fatalf("command %q was lost: %v", want, err)
		}
		if err := command.Decode(version, frame); err != nil || string(command.Payload) != want || !command.Duplicate || command.ID != ids[i] {
			t.Fatalf("got %+v, %v, want command %q again", command, err, want)
		}
	}
}

func TestGuard_M24RepeatedQoS2(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		reader := connect(t, address, clean(mqttwire.Version311, "reader"))
		reader.subscribe(telemetryTopic, 1)
		c := connect(t, address, clean(mqttwire.Version5, "device"))
		packet := mqttwire.PublishPacket{Topic: []byte(telemetryTopic), QoS: 2, ID: 1, Payload: []byte(good)}
		c.send(packet.Append(nil, c.version))
		c.expect("50020001")
		packet.Duplicate = true
		c.send(packet.Append(nil, c.version))
		c.expect("50020001")
		c.ack(mqttwire.Pubrel, 1)
		c.expect("70020001")
		c.ack(mqttwire.Pubrel, 1)
		c.expect("7003000192")
		reader.receive(good)
		reader.silent()
	}
	r := start(t, nil)
	scenario(t, r.address)
	if r.ingest.set(func() {}); len(r.ingest.offered) != 1 {
		t.Errorf("submitted %d times", len(r.ingest.offered))
	}
	bypassed(t, "plain", scenario)
}

// slowCommit is how long a commit takes, whether of one message or of many.
const slowCommit = 100 * time.Millisecond

func TestGuard_M25Pipelining(t *testing.T) {
	t.Parallel()
	const messages = 40
	scenario := func(t testing.TB, address string) {
		c := connect(t, address, clean(mqttwire.Version311, "device"))
		begin := time.Now()
		for id := range uint16(messages) {
			c.publish(telemetryTopic, 1, id+1, good)
		}
		for id := range uint16(messages) {
			c.expect(fmt.Sprintf("4002%04x", id+1))
		}
		if took := time.Since(begin); took > messages*slowCommit/2 {
			t.Fatalf("%d messages took %v: one at a time", messages, took)
		}
	}
	r := start(t, nil)
	r.ingest.set(func() { r.ingest.delay = slowCommit })
	scenario(t, r.address)
	bypassed(t, "slow append", scenario)
}

func TestGuard_M07StalledReader(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		stall(t, address, 1)
		other := connect(t, address, clean(mqttwire.Version311, "other"))
		other.subscribe("command", 0)
		sender := connect(t, address, clean(mqttwire.Version311, "sender"))
		for id := range uint16(100) {
			sender.publish("command", 1, id+1, large)
			if _, err := sender.read(3 * time.Second); err != nil {
				t.Fatalf("the sender waits for a reader that does not read: %v", err)
			}
			if _, err := other.message(3 * time.Second); err != nil {
				t.Fatalf("another reader waits as well: %v", err)
			}
		}
	}
	scenario(t, start(t, nil).address)
	bypassed(t, "plain", scenario)

	t.Run("is cut off", func(t *testing.T) {
		r := start(t, func(s *broker.Settings) { s.WriteTimeout = 300 * time.Millisecond })
		stall(t, r.address, 0)
		sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
		for range 200 {
			sender.publish("command", 0, 0, large)
		}
		r.expectMetric(t, `mqtt_refusals_total{reason="slow_reader"}`, "1")
		r.expectMetric(t, "mqtt_connections", "1")
	})
	t.Run("is not buffered for without end", func(t *testing.T) {
		r := start(t, func(s *broker.Settings) { s.WriteTimeout = time.Minute })
		stall(t, r.address, 0)
		sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
		for range 200 {
			sender.publish("command", 0, 0, large)
			sender.silent()
			if r.metric(t, `mqtt_dropped_total{reason="client_behind"}`) != "0" {
				return
			}
		}
		t.Error("20 MB are buffered for a client that does not read")
	})
}

var large = strings.Repeat("x", 100<<10)

// stall subscribes to commands and then reads nothing more.
func stall(t testing.TB, address string, qos byte) {
	t.Helper()
	c := connect(t, address, clean(mqttwire.Version311, "stalled"))
	if err := c.socket.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	c.subscribe("command", qos)
}

func TestGuard_M08TakeOverOfStalledReader(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		stall(t, address, 0)
		sender := connect(t, address, clean(mqttwire.Version311, "sender"))
		for range 200 {
			sender.publish("command", 0, 0, large)
		}
		sender.silent()
		c := dial(t, address)
		packet := clean(mqttwire.Version311, "stalled")
		c.send(packet.Append(nil))
		if _, err := c.read(3 * time.Second); err != nil {
			t.Fatalf("the client cannot come back: %v", err)
		}
	}
	// The write timeout is longer than the scenario's patience: it is not what lets
	// the client back in.
	scenario(t, start(t, func(s *broker.Settings) { s.WriteTimeout = 8 * time.Second }).address)
	bypassed(t, "plain", scenario)
}

func TestGuard_PanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	explode := policy{allow: func(_, topic string, _ broker.Access) bool {
		if topic == "bomb" {
			panic("somebody else's bug")
		}
		return true
	}}
	r := startWith(t, nil, explode, listen(t))
	other := connect(t, r.address, clean(mqttwire.Version311, "other"))
	c := connect(t, r.address, clean(mqttwire.Version5, "device"))
	c.publish("bomb", 1, 1, "x")
	c.expect("e00180")
	c.closed()
	other.silent()
	connect(t, r.address, clean(mqttwire.Version5, "device")).silent()
	r.expectMetric(t, "mqtt_panics_total", "1")
}
