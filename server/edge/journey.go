package edge

import "time"

// State is where one record stands with one sink. It is derived, never stored
// per record.
//
//	Enqueued -> InFlight -> Acked
//	                     -> Dead  (requeue leads back to Enqueued)
//	Enqueued -> Held | Discarded | Expired, by policy
type State uint8

// The states.
const (
	Enqueued State = iota + 1
	InFlight
	Acked
	Dead
	Held
	Discarded
	Expired
)

func (s State) String() string {
	switch s {
	case Enqueued:
		return "enqueued"
	case InFlight:
		return "in_flight"
	case Acked:
		return "acked"
	case Dead:
		return "dead"
	case Held:
		return "held"
	case Discarded:
		return "discarded"
	case Expired:
		return "expired"
	}
	return "unknown"
}

// Journey is everything that is known of one record.
type Journey struct {
	Record      Record
	Frame       Position  // first position of the frame that holds it: its commit, or several that were merged since
	Records     int       // of that frame
	CommittedAt time.Time // gateway time of the frame's newest record
	Sinks       []Stage   // one per sink that it is owed to, in order of sink id
}

// Stage is a record's way to one sink.
type Stage struct {
	Sink     SinkID
	State    State
	Attempts []Attempt // oldest first; those of the last 24 hours, or for life when Dead
}

// DeadLetter is a delivery that will not be tried again by itself, kept with
// everything needed to understand it and to send it once more.
type DeadLetter struct {
	Sink     SinkID // Ingress for a message refused at the door
	Record   Record
	Reason   string // a Reason for Ingress, else one of DeathReasons
	Status   string // the receiver's word, or the field that was refused
	Excerpt  string // of the reply, or the refusal's message
	Attempts int
	FirstAt  time.Time // first failed attempt
	LastAt   time.Time // last failed attempt
	Requeued bool      // waits to be delivered again
	History  []Attempt // the last attempts, oldest first
}

// DeadLetterKey names a dead letter.
type DeadLetterKey struct {
	Sink     SinkID
	Position Position // for Ingress: a number of its own, not a position of the queue
}

// DeadLetterFilter selects dead letters; zero fields select everything.
type DeadLetterFilter struct {
	Sinks  []SinkID
	Reason string
	Device DeviceID
	Since  time.Time // LastAt at or after
	Until  time.Time // LastAt before
}
