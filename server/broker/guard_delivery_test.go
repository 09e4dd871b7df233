package broker_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/observe"
)

// The rows of the table of mochi's faults that concern deliveries to clients.

func TestGuard_M06NoFreeze(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) { hammer(t, address, 5000) }
	scenario(t, start(t, nil).address)
	bypassed(t, "plain", scenario)
}

// hammer sends commands to a client with a Receive Maximum of 8, which subscribes
// now and then, and expects every command in order.
func hammer(t testing.TB, address string, commands int) {
	packet := clean(mqttwire.Version5, "device")
	packet.Properties = mqttwire.Properties{{ID: mqttwire.ReceiveMaximum, Number: 8}}
	device := connect(t, address, packet)
	device.subscribe("command", 1)
	var received atomic.Int64
	sender := connect(t, address, clean(mqttwire.Version311, "sender"))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := range commands {
			sender.publish("command", 1, uint16(i%60_000+1), strconv.Itoa(i))
			if _, err := sender.read(patience); err != nil {
				return
			}
			for int64(i)-received.Load() > 1000 {
				if _, err := sender.read(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
					return // the test is over
				}
			}
		}
	}()
	defer func() {
		_ = sender.socket.Close()
		<-stopped
	}()
	for i := 0; i < commands; {
		frame, err := device.read(2 * time.Second)
		if err != nil {
			t.Fatalf("frozen after %d of %d", i, commands)
		}
		if frame.Type != mqttwire.Publish {
			continue
		}
		var command mqttwire.PublishPacket
		if err := command.Decode(device.version, frame); err != nil || string(command.Payload) != strconv.Itoa(i) {
			t.Fatalf("got command %q, want %d", command.Payload, i)
		}
		i++
		received.Store(int64(i))
		device.ack(mqttwire.Puback, command.ID)
		if i%50 == 0 {
			subscribe := mqttwire.SubscribePacket{ID: uint16(i%100 + 1), Filters: []mqttwire.Subscription{{Filter: fmt.Sprint("z", i%7)}}}
			device.send(subscribe.Append(nil, device.version))
		}
	}
}

func TestGuard_M16Burst(t *testing.T) {
	t.Parallel()
	const retained, live = 500, 5000
	scenario := func(t testing.TB, address string) {
		sender := connect(t, address, clean(mqttwire.Version311, "sender"))
		for i := range retained {
			sender.retain(fmt.Sprintf("r/%03d", i), strconv.Itoa(i))
		}
		sender.publish("last", 1, 1, "")
		sender.expect("4002")
		reader := connect(t, address, clean(mqttwire.Version311, "reader"))
		reader.subscribe("r/#", 0)
		for i := range retained {
			if _, err := reader.message(time.Second); err != nil {
				t.Fatalf("retained message %d of %d: %v", i, retained, err)
			}
		}
		for i := range live {
			sender.publish("r/x", 0, 0, strconv.Itoa(i))
		}
		for i := range live {
			packet, err := reader.message(time.Second)
			if err != nil || string(packet.Payload) != strconv.Itoa(i) {
				t.Fatalf("message %d of %d: got %q, %v", i, live, packet.Payload, err)
			}
		}
	}
	scenario(t, start(t, nil).address)
	bypassed(t, "bounded queue", scenario)
}

func TestGuard_M17OrderAfterReconnect(t *testing.T) {
	t.Parallel()
	const messages = 100
	scenario := func(t testing.TB, address string) {
		reader := connect(t, address, lasting(mqttwire.Version311, "reader"))
		reader.subscribe("command", 1)
		_ = reader.socket.Close()
		sender := connect(t, address, clean(mqttwire.Version311, "sender"))
		for i := range messages {
			sender.publish("command", 1, uint16(i+1), strconv.Itoa(i))
			sender.expect("4002")
		}
		reader = connect(t, address, lasting(mqttwire.Version311, "reader"))
		for i := range messages {
			reader.receive(strconv.Itoa(i))
		}
	}
	scenario(t, start(t, nil).address)
	bypassed(t, "plain", scenario)
}

// TestGuard_M18RetainedForGood lets 25 hours pass. mochi throws retained messages
// away after 24, and with them the configuration of every device.
func TestGuard_M18RetainedForGood(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, open func() net.Conn) {
		attach := func(id string) *client {
			c := newClient(t, open())
			packet := clean(mqttwire.Version311, id)
			packet.KeepAlive = 0
			if c.open(packet) == nil {
				t.Fatal("not welcome")
			}
			return c
		}
		writer := attach("writer")
		defer writer.socket.Close()
		writer.retain("config", "desired")
		writer.silent()
		synctest.Wait()
		<-time.After(25 * time.Hour)
		reader := attach("reader")
		defer reader.socket.Close()
		reader.subscribe("config", 0)
		if packet, err := reader.message(time.Second); err != nil || string(packet.Payload) != "desired" {
			t.Fatalf("the retained message is gone: %v", err)
		}
	}
	t.Run("guarded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			settings := broker.NewDefaultSettings()
			settings.IdleLimit = 48 * time.Hour
			b := broker.New(settings, newCommitter(t), policy{}, observe.NewDiscard())
			listener := newPipeListener()
			stop := runAll(t, b, listener)
			scenario(t, listener.dial)
			stop()
		})
	})
	t.Run("bypassed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, _, err := newStock("plain")
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Serve(); err != nil {
				t.Fatal(err)
			}
			p := &probe{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				scenario(p, func() net.Conn {
					ours, theirs := net.Pipe()
					go func() { _ = server.EstablishConnection("pipe", theirs) }()
					return ours
				})
			}()
			<-done
			if p.failure == "" {
				t.Error("stock mochi keeps the message: the scenario does not show the fault")
			}
			_ = server.Close()
		})
	})
}

func TestGuard_M29ReceiveMaximum(t *testing.T) {
	t.Parallel()
	const messages = 12
	scenario := func(t testing.TB, address string) {
		packet := lasting(mqttwire.Version5, "device")
		packet.Properties = append(packet.Properties, mqttwire.Property{ID: mqttwire.ReceiveMaximum, Number: 2})
		device := connect(t, address, packet)
		device.subscribe("command", 1)
		sender := connect(t, address, clean(mqttwire.Version311, "sender"))
		for i := range messages {
			sender.publish("command", 1, uint16(i+1), strconv.Itoa(i))
			sender.expect("4002")
		}
		// The first is acknowledged, the next two are lost with the connection, and
		// everything unacknowledged comes again.
		device.receive("0")
		device.next()
		device.next()
		_ = device.socket.Close()
		device = connect(t, address, packet)
		for i := 1; i < messages; i++ {
			got, err := device.message(2 * time.Second)
			if err != nil || string(got.Payload) != strconv.Itoa(i) {
				t.Fatalf("delivery %d of %d: got %q, %v", i, messages, got.Payload, err)
			}
		}
	}
	r := start(t, nil)
	scenario(t, r.address)
	bypassed(t, "plain", scenario)

	packet := clean(mqttwire.Version5, "careful")
	packet.Properties = mqttwire.Properties{{ID: mqttwire.ReceiveMaximum, Number: 2}}
	device := connect(t, r.address, packet)
	device.subscribe("command", 1)
	sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
	for i := range 3 {
		sender.publish("command", 1, uint16(i+1), "x")
		sender.expect("4002")
	}
	device.next()
	device.next()
	device.silent()
}
