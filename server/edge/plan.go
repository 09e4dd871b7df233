package edge

import "time"

// Plan is the desired state that ingest and dispatch work by. It is immutable:
// a change makes a new plan, and records that are stored already keep the sinks
// that the old one named for them.
type Plan struct {
	Sinks []PlannedSink

	owed []SinkID
}

// NewPlan builds a plan in which every record is owed to every sink.
func NewPlan(sinks []PlannedSink) *Plan {
	plan := &Plan{Sinks: sinks}
	for _, sink := range sinks {
		plan.owed = append(plan.owed, sink.ID)
	}
	return plan
}

// Route returns the sinks that a record is owed to. The slice is shared and
// read-only.
func (p *Plan) Route(*Record) []SinkID { return p.owed }

// PlannedSink is one destination as the operator wants it. Whoever plans sets
// every field; nobody further on knows defaults.
type PlannedSink struct {
	ID          SinkID
	Name        string // [ValidSinkName]
	Kind        string // file, http, ...
	Concurrency int    // slots of the lane, at least 1
	Batch       BatchLimit
	Timeout     time.Duration // of one attempt
	// Sealed is true when what the sink sends is named after the members of its
	// batch, or when no more than one batch of each slot may come again after a
	// crash: the lane then seals each batch before its first attempt.
	Sealed bool
}

// BatchLimit says when a batch is closed: by count, by bytes, or when its first
// record has waited for Linger.
type BatchLimit struct {
	Records int // at least 1
	Bytes   int // of payload; a larger record travels alone
	Linger  time.Duration
}

// Start says where a new sink begins.
type Start struct {
	Oldest bool      // everything that is still stored
	At     time.Time // records received at this time or later; zero, with Oldest false, is now
}
