package fleet_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"combotto.io/gateway/server/fleet"
)

// received is one PUBLISH as the broker saw it, a will included.
type received struct {
	Topic, Payload, ContentType string
	Retain                      bool
	QoS                         byte
}

// scriptedBroker is the other end of the boards' pipes: it answers CONNECT,
// PUBLISH and PINGREQ as the test wants, and remembers what came. Everything it
// starts ends with the pipes, so that it lives in a synctest bubble.
type scriptedBroker struct {
	// answer says how to acknowledge; nil acknowledges everything.
	answer func(received) reply

	mu     sync.Mutex
	came   []received
	pipes  []net.Conn
	closed bool // dials are refused
}

// reply is what a broker does about a PUBLISH.
type reply int

const (
	replySuccess reply = 0
	replyFull    reply = 0x97
	replyInvalid reply = 0x99
	replyHangUp  reply = -1
	replyNothing reply = -2
)

func (b *scriptedBroker) dial(context.Context, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, net.ErrClosed
	}
	near, far := net.Pipe()
	b.pipes = append(b.pipes, far)
	go b.serve(far)
	return packets.NewThreadSafeConn(near), nil
}

func (b *scriptedBroker) serve(pipe net.Conn) {
	defer pipe.Close()
	var will *received
	defer func() {
		if will != nil {
			b.remember(*will)
		}
	}()
	for {
		packet, err := packets.ReadPacket(pipe)
		if err != nil {
			return
		}
		var answer packets.Packet
		switch content := packet.Content.(type) {
		case *packets.Connect:
			if content.WillFlag {
				will = &received{Topic: content.WillTopic, Payload: string(content.WillMessage), Retain: content.WillRetain, QoS: content.WillQOS}
			}
			answer = &packets.Connack{Properties: &packets.Properties{}}
		case *packets.Publish:
			reply := b.judge(content)
			if reply == replyHangUp {
				return
			}
			if reply == replyNothing {
				continue
			}
			answer = &packets.Puback{PacketID: content.PacketID, ReasonCode: byte(reply), Properties: &packets.Properties{}}
		case *packets.Pingreq:
			answer = &packets.Pingresp{}
		case *packets.Disconnect:
			will = nil
			return
		}
		if _, err := answer.WriteTo(pipe); err != nil {
			return
		}
	}
}

func (b *scriptedBroker) judge(publish *packets.Publish) reply {
	came := received{Topic: publish.Topic, Payload: string(publish.Payload), Retain: publish.Retain, QoS: publish.QoS}
	if publish.Properties != nil {
		came.ContentType = publish.Properties.ContentType
	}
	b.remember(came)
	if b.answer == nil {
		return replySuccess
	}
	return b.answer(came)
}

func (b *scriptedBroker) remember(came received) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.came = append(b.came, came)
}

// hangUp breaks every connection and refuses new ones until open is called.
func (b *scriptedBroker) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, pipe := range b.pipes {
		pipe.Close()
	}
	b.pipes = nil
}

func (b *scriptedBroker) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
}

// on returns what came on the topic of a device, so far.
func (b *scriptedBroker) on(device, topic string) []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	var matching []received
	for _, came := range b.came {
		if came.Topic == "devices/"+device+"/"+topic {
			matching = append(matching, came)
		}
	}
	return matching
}

// newFleet makes a fleet of the broker's.
func (b *scriptedBroker) newFleet(t *testing.T, settings fleet.Settings) *fleet.Fleet {
	t.Helper()
	settings.Broker, settings.Dial = "mqtt://broker:1883", b.dial
	if settings.Seed == 0 {
		settings.Seed = 1
	}
	boards, err := fleet.New(settings, observer())
	if err != nil {
		t.Fatal(err)
	}
	return boards
}
