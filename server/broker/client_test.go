package broker_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// patience is how long a test waits for what must happen. It is never waited
// out by a test that passes.
const patience = 10 * time.Second

// client is a raw MQTT client: it sends what a test wants it to, right or wrong.
type client struct {
	t       testing.TB
	socket  net.Conn
	stream  *bufio.Reader
	version mqttwire.Version
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	socket, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return newClient(t, socket)
}

func newClient(t testing.TB, socket net.Conn) *client {
	return &client{t: t, socket: socket, stream: bufio.NewReader(socket), version: mqttwire.Version311}
}

// connect dials and expects to be welcome.
func connect(t testing.TB, address string, packet mqttwire.ConnectPacket) *client {
	t.Helper()
	c := dial(t, address)
	if connack := c.open(packet); connack == nil || connack.Reason != 0 || connack.Return != 0 {
		t.Fatalf("%q: not welcome: %+v", packet.ClientID, connack)
	}
	return c
}

// clean is a CONNECT without a session.
func clean(version mqttwire.Version, id string) mqttwire.ConnectPacket {
	return mqttwire.ConnectPacket{Version: version, ClientID: id, CleanStart: true, KeepAlive: 60}
}

// lasting is a CONNECT with a session that outlives it.
func lasting(version mqttwire.Version, id string) mqttwire.ConnectPacket {
	packet := mqttwire.ConnectPacket{Version: version, ClientID: id, KeepAlive: 60}
	if version == mqttwire.Version5 {
		packet.Properties = mqttwire.Properties{{ID: mqttwire.SessionExpiry, Number: 3600}}
	}
	return packet
}

// open sends CONNECT and returns the answer, nil if there was none.
func (c *client) open(packet mqttwire.ConnectPacket) *mqttwire.ConnackPacket {
	c.version = packet.Version
	c.send(packet.Append(nil))
	frame, err := c.read(patience)
	if err != nil || frame.Type != mqttwire.Connack {
		return nil
	}
	connack, err := mqttwire.DecodeConnack(c.version, frame.Body)
	if err != nil {
		c.t.Errorf("CONNACK: %v", err)
	}
	return connack
}

// send writes without a verdict: the peer may have closed already.
func (c *client) send(data []byte) {
	_ = c.socket.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.socket.Write(data)
}

// read returns the next packet that arrives within the limit.
func (c *client) read(limit time.Duration) (mqttwire.Frame, error) {
	_ = c.socket.SetReadDeadline(time.Now().Add(limit))
	return mqttwire.ReadFrame(c.stream, mqttwire.MaxRemaining, func(_ mqttwire.PacketType, size int) ([]byte, error) { return make([]byte, size), nil })
}

// next returns the next packet and fails when there is none.
func (c *client) next() mqttwire.Frame {
	c.t.Helper()
	frame, err := c.read(patience)
	if err != nil {
		c.t.Fatalf("no packet: %v", err)
	}
	return frame
}

// expect reads one packet and compares its bytes, given in hex; "3203..." style
// prefixes are enough.
func (c *client) expect(prefix string) mqttwire.Frame {
	c.t.Helper()
	frame := c.next()
	got := hex.EncodeToString(frame.Append(nil))
	if len(got) < len(prefix) || got[:len(prefix)] != prefix {
		c.t.Fatalf("got %s, want %s", got, prefix)
	}
	return frame
}

// silent fails when a packet arrives before the answer to a ping. Whatever the
// server had to say before, it would have said by then.
func (c *client) silent() {
	c.t.Helper()
	c.send([]byte(mqttwire.PingreqPacket))
	c.expect("d000")
}

// closed waits for the end of the stream and fails when a packet comes before.
func (c *client) closed() {
	c.t.Helper()
	frame, err := c.read(patience)
	if err == nil {
		c.t.Fatalf("got %x, want the end", frame.Append(nil))
	}
	if !isEnd(err) {
		c.t.Fatalf("still open: %v", err)
	}
}

// dropped reports whether the connection ends within the limit, whatever is said
// before.
func (c *client) dropped(limit time.Duration) bool {
	_ = c.socket.SetReadDeadline(time.Now().Add(limit))
	_, err := io.Copy(io.Discard, c.stream)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *client) publish(topic string, qos byte, id uint16, payload string) {
	c.send(c.publishBytes(topic, qos, id, payload))
}

func (c *client) publishBytes(topic string, qos byte, id uint16, payload string) []byte {
	packet := mqttwire.PublishPacket{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}
	return packet.Append(nil, c.version)
}

func (c *client) retain(topic, payload string) {
	packet := mqttwire.PublishPacket{Topic: []byte(topic), Retain: true, Payload: []byte(payload)}
	c.send(packet.Append(nil, c.version))
}

// subscribe asks for one filter and expects to get it.
func (c *client) subscribe(filter string, qos byte) {
	c.t.Helper()
	if got := c.trySubscribe(filter, qos); got != mqttwire.ReasonCode(qos) {
		c.t.Fatalf("SUBSCRIBE %q: %v", filter, got)
	}
}

func (c *client) trySubscribe(filter string, qos byte) mqttwire.ReasonCode {
	c.t.Helper()
	packet := mqttwire.SubscribePacket{ID: 9, Filters: []mqttwire.Subscription{{Filter: filter, QoS: qos}}}
	c.send(packet.Append(nil, c.version))
	suback, err := mqttwire.DecodeSuback(c.version, c.next())
	if err != nil || suback.Type != mqttwire.Suback || suback.ID != 9 || len(suback.Reasons) != 1 {
		c.t.Fatalf("SUBACK %+v: %v", suback, err)
	}
	return suback.Reasons[0]
}

// message reads a PUBLISH, and acknowledges it at QoS 1.
func (c *client) message(limit time.Duration) (mqttwire.PublishPacket, error) {
	frame, err := c.read(limit)
	if err != nil {
		return mqttwire.PublishPacket{}, err
	}
	var packet mqttwire.PublishPacket
	if frame.Type != mqttwire.Publish {
		return packet, errors.New("got " + hex.EncodeToString(frame.Append(nil)))
	}
	if err := packet.Decode(c.version, frame); err != nil {
		return packet, err
	}
	if packet.QoS == 1 {
		c.ack(mqttwire.Puback, packet.ID)
	}
	return packet, nil
}

// receive reads a PUBLISH and compares its payload.
func (c *client) receive(payload string) mqttwire.PublishPacket {
	c.t.Helper()
	packet, err := c.message(patience)
	if err != nil {
		c.t.Fatalf("want message %q: %v", payload, err)
	}
	if !bytes.Equal(packet.Payload, []byte(payload)) {
		c.t.Fatalf("got message %q, want %q", packet.Payload, payload)
	}
	return packet
}

func (c *client) ack(packet mqttwire.PacketType, id uint16) {
	c.send(mqttwire.AppendAck(nil, c.version, packet, id, mqttwire.Success))
}
