package edge

import "context"

// Submission is one message as a door hands it to ingest.
type Submission struct {
	// Record has Device, Source, Encoding, ReceivedAt and Payload set by the door,
	// TraceParent when the sender gave one, and Identity when the sender named
	// the message outside its payload (Idempotency-Key, request_id). Ingest fills
	// in the rest.
	Record Record
	// Telemetry is what the payload says. It is nil exactly when Fault says why
	// the payload cannot be read. Ingest is done with it when Offer returns.
	Telemetry *Telemetry
	Fault     error
	// KeepRefused is set by a door that cannot tell its sender of a refusal (MQTT
	// 3.1.1, QoS 0): a message that can never be valid is then kept as a dead
	// letter of [Ingress] and acknowledged.
	KeepRefused bool
	Replier     Replier // as in [Entry]
	Token       uint64  // as in [Entry]
}

// Submitter takes messages from a door.
type Submitter interface {
	// Offer checks what the submission means, stamps it and hands it to the
	// queue. With a nil error the answer arrives through the Replier, after the
	// commit. With an error, always an [Error] or ctx's, the message is refused
	// and no answer will come.
	//
	// Offer blocks only as [Appender] does. It is safe for concurrent use, and it
	// keeps neither the submission nor its telemetry: doors use them again.
	Offer(ctx context.Context, submission *Submission) error
}
