package edgetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
)

// Script decides what becomes of one call of a [Sink]; call counts from 0 in
// the order in which the calls began.
type Script func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome

// Call is one attempt that a [Sink] saw.
type Call struct {
	Batch     []edge.Delivery
	StartedAt time.Time
	EndedAt   time.Time
	Outcome   edge.Outcome
}

// Sink is an [edge.Sink] that does as its script says and remembers it.
type Sink struct {
	script Script

	mu       sync.Mutex
	started  int
	calls    []Call // in the order in which they ended
	accepted []edge.Delivery
	busy     map[edge.DeviceID]bool // devices of the calls under way
	overlap  bool
	closed   bool
}

// NewSink returns a sink that follows script; nil delivers everything.
func NewSink(script Script) *Sink {
	if script == nil {
		script = Sequence()
	}
	return &Sink{script: script, busy: make(map[edge.DeviceID]bool)}
}

// Deliver implements [edge.Sink].
func (s *Sink) Deliver(ctx context.Context, batch []edge.Delivery) edge.Outcome {
	call := Call{Batch: slices.Clone(batch), StartedAt: time.Now()}
	outcome := s.script(ctx, s.begin(call.Batch), call.Batch)
	call.EndedAt, call.Outcome = time.Now(), outcome
	s.end(call)
	return outcome
}

func (s *Sink) begin(batch []edge.Delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, delivery := range batch {
		s.overlap = s.overlap || s.busy[delivery.Record.Device]
	}
	for _, delivery := range batch {
		s.busy[delivery.Record.Device] = true
	}
	s.started++
	return s.started - 1
}

func (s *Sink) end(call Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	for i, delivery := range call.Batch {
		delete(s.busy, delivery.Record.Device)
		refused := slices.ContainsFunc(call.Outcome.Refused, func(r edge.Refused) bool { return r.Index == i })
		if call.Outcome.Class == edge.Delivered && !refused {
			s.accepted = append(s.accepted, delivery)
		}
	}
}

// Close implements [edge.Sink].
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Closed reports whether Close was called.
func (s *Sink) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Calls returns the attempts that have ended, in that order.
func (s *Sink) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Accepted returns the deliveries that the sink took, in the order in which it
// took them.
func (s *Sink) Accepted() []edge.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Overlapped reports whether two calls ever carried the same device at the same
// time, which no lane may do.
func (s *Sink) Overlapped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overlap
}

// Sequence gives each call its outcome, in order; later calls deliver.
func Sequence(outcomes ...edge.Outcome) Script {
	return func(_ context.Context, call int, _ []edge.Delivery) edge.Outcome {
		if call < len(outcomes) {
			return outcomes[call]
		}
		return edge.Outcome{Class: edge.Delivered, Status: "204"}
	}
}

// Always gives every call the same outcome.
func Always(outcome edge.Outcome) Script {
	return func(context.Context, int, []edge.Delivery) edge.Outcome { return outcome }
}

// Hold makes each call wait until it can receive from release, and follow then
// afterwards. A call whose context ends first is Unavailable.
func Hold(release <-chan struct{}, then Script) Script {
	return func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome {
		select {
		case <-release:
			return then(ctx, call, batch)
		case <-ctx.Done():
			return edge.Outcome{Class: edge.Unavailable, Status: "timeout"}
		}
	}
}

// RejectBatches refuses every batch that holds a poisonous record, as a whole.
func RejectBatches(poison func(edge.Record) bool) Script {
	return func(_ context.Context, _ int, batch []edge.Delivery) edge.Outcome {
		for _, delivery := range batch {
			if poison(delivery.Record) {
				return edge.Outcome{Class: edge.Rejected, Status: "422", Excerpt: "poison"}
			}
		}
		return edge.Outcome{Class: edge.Delivered, Status: "204"}
	}
}

// RefuseRecords takes every batch without its poisonous records.
func RefuseRecords(poison func(edge.Record) bool) Script {
	return func(_ context.Context, _ int, batch []edge.Delivery) edge.Outcome {
		outcome := edge.Outcome{Class: edge.Delivered, Status: "207"}
		for i, delivery := range batch {
			if poison(delivery.Record) {
				outcome.Refused = append(outcome.Refused, edge.Refused{Index: i, Status: "422", Excerpt: "poison"})
			}
		}
		return outcome
	}
}
