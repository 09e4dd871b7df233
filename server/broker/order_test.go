package broker_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// TestConnection_LastWords has a client send much more after its mistake. It must
// still hear what the mistake was: a socket that is closed with unread input is
// reset, and takes the words with it.
func TestConnection_LastWords(t *testing.T) {
	r := start(t, nil)
	for range 20 {
		c := connect(t, r.address, clean(mqttwire.Version5, "device"))
		data := []byte{0x36, 2, 0, 0} // QoS 3
		for range 2000 {
			data = append(data, c.publishBytes(telemetryTopic, 0, 0, good)...)
		}
		c.send(data)
		c.expect("e00181")
		if _, err := c.read(patience); !errors.Is(err, io.EOF) {
			t.Fatalf("got %v, want a clean end", err)
		}
	}
}

// TestSession_CompleteOverReconnects has a client come back again and again while
// messages for it keep coming. Each arrives, the first time in order.
func TestSession_CompleteOverReconnects(t *testing.T) {
	const messages = 3000
	r := start(t, nil)
	reader := connect(t, r.address, lasting(mqttwire.Version5, "reader"))
	reader.subscribe("command", 1)
	sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range messages {
			sender.publish("command", 1, uint16(i+1), strconv.Itoa(i))
			if _, err := sender.read(patience); err != nil {
				t.Errorf("PUBACK %d: %v", i, err)
				return
			}
		}
	}()
	for want := 0; want < messages; {
		packet, err := reader.message(patience)
		if err != nil {
			t.Fatalf("message %d: %v", want, err)
		}
		got, err := strconv.Atoi(string(packet.Payload))
		if err != nil || got > want {
			t.Fatalf("got message %q before %d", packet.Payload, want)
		}
		if got < want {
			continue // again, because its acknowledgement was lost
		}
		if want++; want%100 == 0 {
			_ = reader.socket.Close()
			reader = connect(t, r.address, lasting(mqttwire.Version5, "reader"))
		}
	}
	<-sent
}

// TestExchange_RetainedThenLive subscribes in the midst of a stream of retained
// messages. A subscriber must get none of them twice and none after a later one.
func TestExchange_RetainedThenLive(t *testing.T) {
	r := start(t, nil)
	sender := connect(t, r.address, clean(mqttwire.Version311, "sender"))
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			packet := mqttwire.PublishPacket{Topic: []byte("r"), Retain: true, QoS: 1, ID: uint16(i%60_000 + 1), Payload: []byte(strconv.Itoa(i))}
			sender.send(packet.Append(nil, sender.version))
			if _, err := sender.read(patience); err != nil {
				return
			}
		}
	}()
	for range 1000 {
		reader := connect(t, r.address, clean(mqttwire.Version311, "reader"))
		reader.send((&mqttwire.SubscribePacket{ID: 1, Filters: []mqttwire.Subscription{{Filter: "r"}}}).Append(nil, reader.version))
		reader.expect("9003000100")
		last := -1
		for range 3 {
			packet, err := reader.message(patience)
			if err != nil {
				t.Fatal(err)
			}
			got, err := strconv.Atoi(string(packet.Payload))
			if err != nil || got <= last {
				t.Fatalf("got %q after %d", packet.Payload, last)
			}
			last = got
		}
		_ = reader.socket.Close()
	}
	close(stop)
	<-sent
}

// TestConnection_Trickle sends a packet byte by byte, and many packets in one
// write.
func TestConnection_Trickle(t *testing.T) {
	r := start(t, nil)
	c := connect(t, r.address, clean(mqttwire.Version5, "device"))
	for _, b := range c.publishBytes(telemetryTopic, 1, 1, good) {
		c.send([]byte{b})
	}
	c.expect("40020001")
	begin := time.Now()
	c.send([]byte(strings.Repeat(mqttwire.PingreqPacket, 1000)))
	for range 1000 {
		c.expect("d000")
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("a thousand pings took %v", took)
	}
}
