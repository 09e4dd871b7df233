package edge

import "time"

// Record is a message that ingest has stamped. The payload is opaque to queue
// and dispatch: it is stored as received, and what a sink sends is computed
// from payload and stamps by package wire.
type Record struct {
	Position    Position      // 0 until it is appended
	Correlation CorrelationID // zero until it is appended
	Device      DeviceID
	Source      Source
	Encoding    Encoding // JSON or protobuf, never auto
	Identity    Identity
	ReceivedAt  time.Time // gateway's wall clock, UTC, microseconds
	TraceParent string    // W3C traceparent; empty when nobody traces it
	Verified    bool      // a signature was checked
	Revision    int       // above 0 after an operator's edit
	Payload     []byte    // exactly as received
}

// Identity tells one message of a device from another, so that a message that
// is sent twice is stored once. MessageID wins over BootID and Sequence; a
// sequence alone identifies nothing. The zero value means that the device gave
// its message no identity.
type Identity struct {
	MessageID string
	BootID    string // with Sequence
	Sequence  uint64 // at most MaxSequence
	// HasSequence is true for a message that carries a sequence, with or without
	// a boot id.
	HasSequence bool
	// Explicit is true when the caller named the message with an Idempotency-Key
	// or a request_id: another payload under the same name is then refused rather
	// than stored as a conflict.
	Explicit bool
}

// Identifies reports whether the identity is enough to recognise a repetition.
func (i Identity) Identifies() bool {
	return i.MessageID != "" || i.BootID != "" && i.HasSequence
}
