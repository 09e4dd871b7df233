// Package rawmqtt writes and reads MQTT packets without asking whether they make
// sense, for tests that send what no client library would, and for a generator
// that must cost less than one.
//
// It knows the few packets that a publisher needs, in versions 3.1.1 and 5. It
// shares no code with the gateway. A [Conn] belongs to one goroutine.
package rawmqtt

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// Versions of the protocol, as CONNECT carries them.
const (
	Version311 = 4
	Version5   = 5
)

// First bytes of packets.
const (
	KindConnack    = 0x20
	KindPuback     = 0x40
	KindDisconnect = 0xE0
)

// Connect encodes CONNECT: a clean session, no keep-alive, no credentials.
func Connect(version byte, client string) []byte {
	body := append([]byte{0, 4}, "MQTT"...)
	body = append(body, version, 0x02, 0, 0)
	if version == Version5 {
		body = append(body, 0) // no properties
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(client)))
	return packet(0x10, append(body, client...))
}

// Publish encodes PUBLISH with QoS 1.
func Publish(version byte, topic string, identifier uint16, payload []byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(body, topic...)
	body = binary.BigEndian.AppendUint16(body, identifier)
	if version == Version5 {
		body = append(body, 0) // no properties
	}
	return packet(0x32, append(body, payload...))
}

func packet(kind byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{kind}, uint64(len(body))), body...)
}

// ReadPacket reads one packet, or takes nothing of it when it fails. The body is
// good until the next call. What a broker sends to a publisher is short: its
// length takes one byte, or two in CONNACK and DISCONNECT.
func ReadPacket(reader *bufio.Reader) (kind byte, body []byte, err error) {
	header, err := reader.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	kind, length := header[0], int(header[1])
	if length >= 0x80 {
		if header, err = reader.Peek(3); err != nil {
			return 0, nil, err
		}
		length = length&0x7F | int(header[2])<<7
	}
	whole, err := reader.Peek(len(header) + length)
	if err != nil {
		return 0, nil, err
	}
	_, err = reader.Discard(len(whole))
	return kind, whole[len(header):], err
}

// Conn is a connection that CONNACK has admitted.
type Conn struct {
	net.Conn
	Version byte
	reader  *bufio.Reader
	next    uint16
}

// Dial connects. Everything on the connection is done within the limit.
func Dial(address string, version byte, client string, limit time.Duration) (*Conn, error) {
	socket, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: socket, Version: version, reader: bufio.NewReader(socket)}
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := c.Write(Connect(version, client)); err != nil {
		return nil, err
	}
	kind, body, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("await CONNACK: %w", err)
	}
	if kind != KindConnack || len(body) < 2 || body[1] != 0 {
		return nil, fmt.Errorf("CONNECT is answered with packet %#x %x", kind, body)
	}
	return c, nil
}

// Read reads the next packet.
func (c *Conn) Read() (kind byte, body []byte, err error) { return ReadPacket(c.reader) }

// Publish sends one message and returns the reason of its PUBACK; 3.1.1 knows
// only success, 0.
func (c *Conn) Publish(topic string, payload []byte) (reason byte, err error) {
	c.next++
	if _, err := c.Write(Publish(c.Version, topic, c.next, payload)); err != nil {
		return 0, err
	}
	kind, body, err := c.Read()
	switch {
	case err != nil:
		return 0, err
	case kind == KindDisconnect && len(body) > 0:
		return 0, Disconnected(body[0])
	case kind != KindPuback || len(body) < 2 || binary.BigEndian.Uint16(body) != c.next:
		return 0, fmt.Errorf("PUBLISH %d is answered with packet %#x %x", c.next, kind, body)
	case len(body) > 2:
		return body[2], nil
	}
	return 0, nil
}

// Disconnected is the error of a connection that the other side ended with
// DISCONNECT, and its reason.
type Disconnected byte

func (d Disconnected) Error() string { return fmt.Sprintf("DISCONNECT %#x", byte(d)) }
