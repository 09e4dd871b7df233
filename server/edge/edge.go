// Package edge is the vocabulary of the gateway: the words that every other
// package uses to talk about devices and their records, and the contracts that
// a record crosses on its way.
//
//	device -> door -> ingest -> queue -> dispatch -> sink -> world
//	               Appender        Leaser        Sink
//
// A message is what a device sends. A record is a message that ingest has
// stamped. A delivery is the duty to bring one record to one sink. A record
// crosses each contract once and never comes back: ingest can only append,
// dispatch can only lease and settle, and a sink makes one attempt.
//
// The package imports the standard library only, starts no goroutine and keeps
// no state. Values are safe to share once they are built; slices and maps in
// them belong to whoever built them and are read-only for everybody else.
package edge

// GatewayID names one gateway in every record and topic. [ValidGatewayID].
type GatewayID string

// DeviceID names one device. [ValidDeviceID].
type DeviceID string

// SinkID names a sink for ever: an id is never used twice and survives a
// change of the sink's name.
type SinkID uint32

// Ingress is the id under which messages that were refused at the door are
// kept among the dead letters. It is no destination: nothing is owed to it.
const Ingress SinkID = 0

// IngressName is how [Ingress] is shown to people.
const IngressName = "_ingress"

// Position is the place of a record in the queue, 1 for the first. Later
// records have larger positions. Positions need not be dense.
type Position int64

// Source is the kind of door that a message came through.
type Source uint8

// The doors.
const (
	SourceUnknown Source = iota
	SourceMQTT
	SourceBridge
	SourceHTTP
	SourceRPC
)

// Sources lists every door in the order of the constants.
var Sources = [...]Source{SourceMQTT, SourceBridge, SourceHTTP, SourceRPC}

func (s Source) String() string {
	switch s {
	case SourceMQTT:
		return "mqtt"
	case SourceBridge:
		return "bridge"
	case SourceHTTP:
		return "http"
	case SourceRPC:
		return "rpc"
	}
	return "unknown"
}

// Encoding is how the bytes of a payload are to be read.
type Encoding uint8

// The encodings. EncodingAuto is decided by the first byte: '{' is JSON.
const (
	EncodingAuto Encoding = iota
	EncodingJSON
	EncodingProtobuf
)

func (e Encoding) String() string {
	switch e {
	case EncodingJSON:
		return "json"
	case EncodingProtobuf:
		return "protobuf"
	}
	return "auto"
}
