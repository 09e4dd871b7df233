// Package mqttwire reads and writes the packets of MQTT 3.1, 3.1.1 and 5.
//
// A packet arrives in two steps: [ReadFrame] cuts it out of the stream, under a
// size limit and with the fixed header checked, and one Decode function per
// packet type reads its body. Decoding is strict: what the standard calls
// malformed or a protocol error is an [Error] that carries the reason code for
// the peer. Every packet also has an Append method, so that one package serves
// a broker, its tests and a load generator.
//
// Decoded text and bytes alias the frame's body and are valid as long as it is;
// decoding a PUBLISH allocates nothing once its Properties have grown. The
// package keeps no connection state: topic aliases, windows and packet ids in
// use are the caller's business. Nothing here starts a goroutine, and nothing is
// safe for concurrent use of the same value.
//
// Test with bytes: append a packet, read it back, compare.
package mqttwire

import "fmt"

// Version is the protocol level that CONNECT names.
type Version byte

// The versions. There is no version 1 or 2 on the wire.
const (
	Version31  Version = 3
	Version311 Version = 4
	Version5   Version = 5
)

// PacketType is the high half of a packet's first byte.
type PacketType byte

// The packet types.
const (
	Connect PacketType = iota + 1
	Connack
	Publish
	Puback
	Pubrec
	Pubrel
	Pubcomp
	Subscribe
	Suback
	Unsubscribe
	Unsuback
	Pingreq
	Pingresp
	Disconnect
	Auth
)

// Whole packets that never vary.
const (
	PingreqPacket  = "\xC0\x00"
	PingrespPacket = "\xD0\x00"
)

// MaxRemaining is the largest body that the standard can express.
const MaxRemaining = 268_435_455

// Error is a fault of the peer. Reason is what a version 5 peer is told.
type Error struct {
	Reason  ReasonCode
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Message) }

// Refuse builds the error for a peer that broke a rule.
func Refuse(reason ReasonCode, message string) *Error { return &Error{reason, message} }

func malformed(message string) error { return Refuse(MalformedPacket, message) }

func violation(message string) error { return Refuse(ProtocolError, message) }
