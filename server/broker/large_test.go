package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/observe"
)

// largeRig is a broker in a bubble that has room for one large packet.
type largeRig struct {
	t      *testing.T
	dial   func() *client
	ingest *committer
}

const (
	largeBytes = 6000
	packetTime = time.Minute
)

// inRoomForOne runs a test in virtual time.
func inRoomForOne(t *testing.T, name string, test func(r *largeRig)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			settings := broker.NewDefaultSettings()
			settings.MaxPacketBytes, settings.MaxLargeBytes, settings.PacketTimeout = 2*largeBytes-1, 2*largeBytes-1, packetTime
			listener, ingest := newPipeListener(), newCommitter(t)
			b := broker.New(settings, ingest, policy{}, observe.NewDiscard())
			defer runAll(t, b, listener)()
			test(&largeRig{t: t, dial: func() *client { return newClient(t, listener.dial()) }, ingest: ingest})
		})
	})
}

// attach connects a client that may be silent for long.
func (r *largeRig) attach(version mqttwire.Version, id string) *client {
	c := r.dial()
	packet := clean(version, id)
	packet.KeepAlive = 600
	if connack := c.open(packet); connack == nil || connack.Reason != 0 {
		r.t.Fatalf("%s: not welcome: %+v", id, connack)
	}
	return c
}

// write sends a part of a large message. It takes until the broker has read it.
func (c *client) write(from, to int) (done chan struct{}) {
	data := c.publishBytes(telemetryTopic, 1, 1, good+strings.Repeat(" ", largeBytes-len(good)))
	if to == 0 {
		to = len(data)
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		_ = c.socket.SetWriteDeadline(time.Time{})
		_, _ = c.socket.Write(data[from:to]) // fails when it is cut off
	}()
	return done
}

func TestConnection_LargePackets(t *testing.T) {
	inRoomForOne(t, "Wait", func(r *largeRig) {
		slow, next, small := r.attach(mqttwire.Version311, "slow"), r.attach(mqttwire.Version311, "next"), r.attach(mqttwire.Version311, "small")
		<-slow.write(0, largeBytes/2)
		next.write(0, 0)
		synctest.Wait()
		small.publish(telemetryTopic, 1, 1, good)
		small.expect("40020001")
		taken := 0
		r.ingest.set(func() { taken = len(r.ingest.offered) })
		if taken != 1 {
			r.t.Fatalf("%d messages were taken, want the small one: there is room for one large packet", taken)
		}
		slow.write(largeBytes/2, 0)
		slow.expect("40020001")
		next.expect("40020001")
	})
	inRoomForOne(t, "TooManyForTooLong", func(r *largeRig) {
		slow, next := r.attach(mqttwire.Version311, "slow"), r.attach(mqttwire.Version5, "next")
		<-slow.write(0, largeBytes/2)
		next.write(0, 0)
		frame, err := next.read(packetTime)
		if err != nil {
			r.t.Fatal(err)
		}
		packet, err := mqttwire.DecodeDisconnect(next.version, frame.Body)
		if err != nil || frame.Type != mqttwire.Disconnect || packet.Reason != mqttwire.QuotaExceeded {
			r.t.Errorf("got %x, %v; want a DISCONNECT with reason 0x97", frame.Append(nil), err)
		}
		_ = next.socket.Close()
		slow.write(largeBytes/2, 0)
		slow.expect("40020001")
	})
	inRoomForOne(t, "TooSlow", func(r *largeRig) {
		slow, next := r.attach(mqttwire.Version311, "slow"), r.attach(mqttwire.Version311, "next")
		<-slow.write(0, largeBytes/2)
		<-time.After(packetTime - time.Second)
		next.write(0, 0)
		next.expect("40020001") // as soon as the slow one is cut off
		slow.closed()
	})
	inRoomForOne(t, "HeldUntilTaken", func(r *largeRig) {
		first, next := r.attach(mqttwire.Version311, "first"), r.attach(mqttwire.Version311, "next")
		r.ingest.set(func() { r.ingest.held = true })
		for _, c := range []*client{first, next} {
			<-c.write(0, 0) // what is taken is somebody else's
		}
		r.ingest.set(func() { r.ingest.held = false })
		first.expect("40020001")
		next.expect("40020001")
	})
}
