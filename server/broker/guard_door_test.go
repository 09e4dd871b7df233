package broker_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/mqttwire"
)

// The rows of the table of mochi's faults that concern the way in: before
// CONNECT, the accept loop, parsing, keep-alive, take-over and stopping.

func TestGuard_M01ShortSubscribe(t *testing.T) {
	t.Parallel()
	short := []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'} // the options byte is missing
	scenario := func(t testing.TB, address string) {
		c := connect(t, address, clean(mqttwire.Version5, "short"))
		c.send(short)
		c.dropped(patience) // what a panic writes takes its time
		connect(t, address, clean(mqttwire.Version311, "other")).silent()
	}
	r := start(t, nil)
	scenario(t, r.address)
	c := connect(t, r.address, clean(mqttwire.Version5, "short"))
	c.send(short)
	c.expect("e00181")
	c.closed()
	r.expectMetric(t, "mqtt_panics_total", "0")
	bypassed(t, "plain", scenario)
}

func TestGuard_M09SilenceBeforeConnect(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		for _, first := range [][]byte{nil, {0x10}, {0x10, 40, 0, 4, 'M'}} {
			c := dial(t, address)
			c.send(first)
			if !c.dropped(2 * time.Second) {
				t.Fatalf("still open after %x", first)
			}
		}
	}
	limits := func(s *broker.Settings) { s.ConnectTimeout, s.MaxConnections = 200*time.Millisecond, 2 }
	r := start(t, limits)
	scenario(t, r.address)
	r.expectMetric(t, `mqtt_refusals_total{reason="connect_timeout"}`, "3")

	// The caps hold before CONNECT, and a slow trickle prolongs nothing.
	slow := dial(t, r.address)
	slow.send([]byte{0x10, 0x7F})
	eventuallyConnects(t, r.address, "a")
	third := dial(t, r.address)
	if !third.dropped(patience) {
		t.Error("the cap on connections does not hold")
	}
	bypassed(t, "plain", scenario)
}

// eventuallyConnects connects as soon as the caps allow it and stays connected.
func eventuallyConnects(t *testing.T, address, id string) {
	t.Helper()
	if err := eventually(func() error {
		if dial(t, address).open(clean(mqttwire.Version311, id)) == nil {
			return fmt.Errorf("%q is not let in", id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestGuard_M10HugeConnect(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		c := dial(t, address)
		c.send([]byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F}) // 256 MiB are to follow
		if !c.dropped(2 * time.Second) {
			t.Fatal("the server waits for 256 MiB")
		}
	}
	scenario(t, start(t, nil).address)
	bypassed(t, "plain", scenario)
}

func TestGuard_M11KeepAlive(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		for _, keepAlive := range []uint16{43_691, 65_535} { // half as long again does not fit 16 bits
			packet := clean(mqttwire.Version311, "long")
			packet.KeepAlive = keepAlive
			c := connect(t, address, packet)
			c.silent()
			if c.dropped(100 * time.Millisecond) {
				t.Fatalf("keep-alive %d ends at once", keepAlive)
			}
		}
	}
	r := start(t, func(s *broker.Settings) { s.IdleLimit = 300 * time.Millisecond })
	scenario(t, r.address)
	bypassed(t, "plain", scenario)

	t.Run("zero is not for ever", func(t *testing.T) {
		packet := clean(mqttwire.Version311, "idle")
		packet.KeepAlive = 0
		connect(t, r.address, packet).closed()
	})
	t.Run("version 5 is told", func(t *testing.T) {
		packet := clean(mqttwire.Version5, "told")
		packet.KeepAlive = 65_535
		connack := dial(t, r.address).open(packet)
		if got, _ := connack.Properties.Number(mqttwire.ServerKeepAlive); got != 1200 {
			t.Errorf("server keep-alive %d, want 1200", got)
		}
	})
	t.Run("one second", func(t *testing.T) {
		packet := clean(mqttwire.Version5, "second")
		packet.KeepAlive = 1
		c := connect(t, r.address, packet)
		begin := time.Now()
		c.expect("e0018d")
		if took := time.Since(begin); took < time.Second {
			t.Errorf("disconnected after %v", took)
		}
	})
}

func TestGuard_M12AcceptFails(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		packet := clean(mqttwire.Version311, "patient")
		c := dial(t, address)
		c.send(packet.Append(nil))
		if _, err := c.read(3 * time.Second); err != nil {
			t.Fatalf("nobody accepts any more: %v", err)
		}
	}
	r := startWith(t, nil, policy{}, newBadListener(listen(t), 5))
	scenario(t, r.address)
	r.expectMetric(t, "mqtt_accept_errors_total", "5")
	bypassed(t, "accept fails", scenario)
}

func TestGuard_M19ManyLevels(t *testing.T) {
	t.Parallel()
	deep := ""
	for range 8000 {
		deep += "/a"
	}
	scenario := func(t testing.TB, address string) {
		c := connect(t, address, clean(mqttwire.Version5, "deep"))
		if got := c.trySubscribe(deep, 0); got != mqttwire.TopicFilterInvalid {
			t.Fatalf("SUBSCRIBE to 8000 levels: %v", got)
		}
		c.publish(deep, 1, 7, "x")
		c.expect("4003000790")
	}
	r := start(t, nil)
	scenario(t, r.address)
	bypassed(t, "plain", scenario)

	t.Run("limits", func(t *testing.T) {
		c := connect(t, r.address, clean(mqttwire.Version5, "limits"))
		for filter, want := range map[string]mqttwire.ReasonCode{
			text(256):                                mqttwire.Success,
			text(257):                                mqttwire.TopicFilterInvalid,
			"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16": mqttwire.Success,
			"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17": mqttwire.TopicFilterInvalid,
			"$ShArE/group/x": mqttwire.TopicFilterInvalid,
		} {
			if got := c.trySubscribe(filter, 0); got != want {
				t.Errorf("%q: got %v, want %v", filter, got, want)
			}
		}
		many := mqttwire.SubscribePacket{ID: 1}
		for i := range 65 {
			many.Filters = append(many.Filters, mqttwire.Subscription{Filter: fmt.Sprint(i)})
		}
		c.send(many.Append(nil, c.version))
		c.expect("e00197")
		c.closed()
	})
	t.Run("before version 5 a deep topic ends the connection", func(t *testing.T) {
		c := connect(t, r.address, clean(mqttwire.Version311, "deep"))
		c.publish(deep, 1, 7, "x")
		c.closed()
	})
}

func text(length int) string {
	text := make([]byte, length)
	for i := range text {
		text[i] = 'a'
	}
	return string(text)
}

func TestGuard_M21TakeOver(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		packet := clean(mqttwire.Version5, "device")
		for round := range 200 {
			var together sync.WaitGroup
			var clients [8]*client
			for i := range clients {
				clients[i] = dial(t, address)
			}
			for _, c := range clients {
				together.Go(func() { c.open(packet) })
			}
			together.Wait()
			// Exactly one may be left. Each is told or answers a ping.
			alive := 0
			for _, c := range clients {
				c.send([]byte(mqttwire.PingreqPacket))
				if frame, err := c.read(patience); err == nil && frame.Type == mqttwire.Pingresp {
					alive++
				}
				_ = c.socket.Close()
			}
			if alive != 1 {
				t.Fatalf("round %d: %d connections of one client id are alive", round, alive)
			}
		}
	}
	r := start(t, nil)
	scenario(t, r.address)
	bypassed(t, "plain", scenario)

	first := connect(t, r.address, clean(mqttwire.Version5, "twice"))
	second := connect(t, r.address, clean(mqttwire.Version5, "twice"))
	first.expect("e0018e")
	first.closed()
	second.silent()
}

func TestGuard_M28Stop(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	open := connect(t, r.address, clean(mqttwire.Version5, "open"))
	old := connect(t, r.address, clean(mqttwire.Version311, "old"))
	dial(t, r.address) // never says anything
	var storm sync.WaitGroup
	for i := range 20 {
		storm.Go(func() { // some come too late, and are refused or reset
			if socket, err := net.Dial("tcp", r.address); err == nil {
				defer socket.Close()
				packet := clean(mqttwire.Version5, fmt.Sprint(i%3))
				c := newClient(t, socket)
				c.send(packet.Append(nil))
				_, _ = c.read(patience)
			}
		})
	}
	r.stop()
	storm.Wait()
	open.expect("e0018b")
	open.closed()
	old.closed()
	if got := r.Connections(); got != 0 {
		t.Errorf("%d connections after the stop", got)
	}

	stock := startStock(t, "plain")
	dial(t, stock.address)
	connect(t, stock.address, clean(mqttwire.Version311, "later")) // so the silent one was accepted
	if _, err := stock.input.Write([]byte("close\n")); err != nil {
		t.Fatal(err)
	}
	if line := stock.line(2 * time.Second); line != "" {
		t.Errorf("stock mochi says %q: a client that says nothing does not keep it from stopping", line)
	}
}
