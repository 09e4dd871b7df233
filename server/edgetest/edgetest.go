// Package edgetest is what tests put in the place of real components: fakes
// that obey the contracts of package edge, and one suite per contract that the
// fake and the real component both have to pass. A fake that drifts from its
// contract fails the same suite as the component that it stands for.
//
// Fakes keep everything in memory, without a bound, and are safe for concurrent
// use. They start no goroutine and take the time from package time, so that
// they work inside a testing/synctest bubble.
//
// A suite is a function that takes the test and a constructor:
//
//	func TestQueue_Contract(t *testing.T) {
//		edgetest.TestLeaser(t, func(t *testing.T, sinks ...edge.SinkID) edgetest.AppendLeaser {
//			return openQueue(t, sinks...)
//		})
//	}
package edgetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
)

// Patience is how long a suite waits for something that is bound to happen.
const Patience = 10 * time.Second

// AppendLeaser is a queue as its neighbours see it.
type AppendLeaser interface {
	edge.Appender
	edge.Leaser
}

// Build returns an empty queue that is running, with the given sinks. It
// releases the queue with t.Cleanup. It is called inside a testing/synctest
// bubble, which ends only when everything that was started in it has ended.
type Build func(t *testing.T, sinks ...edge.SinkID) AppendLeaser

// suite returns what runs the tests of a suite: each in a bubble of its own, so
// that a queue which has to stay silent is watched in virtual time.
func suite(t *testing.T, build Build) func(name string, test func(t *testing.T, build Build)) {
	return func(name string, test func(t *testing.T, build Build)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, build) }) })
	}
}

// Record returns the n-th record of a device, as ingest stamps it: with its own
// identity and a payload that says which one it is.
func Record(device edge.DeviceID, n int) edge.Record {
	return edge.Record{
		Device:     device,
		Source:     edge.SourceMQTT,
		Encoding:   edge.EncodingJSON,
		Identity:   edge.Identity{BootID: "boot-1", Sequence: uint64(n), HasSequence: true},
		ReceivedAt: time.Now().UTC().Truncate(time.Microsecond),
		Payload:    fmt.Appendf(nil, `{"schema_version":1,"metrics":{"n":%d},"boot_id":"boot-1","sequence":%d}`, n, n),
	}
}

// Entries returns count entries, spread over devices dev-0, dev-1 and so on in
// turn, and owed to the sinks. Each device counts from 0.
func Entries(count, devices int, sinks ...edge.SinkID) []edge.Entry {
	entries := make([]edge.Entry, count)
	for i := range entries {
		device := edge.DeviceID(fmt.Sprintf("dev-%d", i%devices))
		entries[i] = edge.Entry{Record: Record(device, i/devices), Owed: sinks}
	}
	return entries
}

// Append makes entries durable and returns their receipts. Replier and Token of
// the entries are overwritten.
func Append(t *testing.T, queue edge.Appender, entries ...edge.Entry) []edge.Receipt {
	t.Helper()
	replies := NewReplies()
	for i := range entries {
		entries[i].Replier, entries[i].Token = replies, uint64(i)
	}
	if err := queue.Append(t.Context(), entries...); err != nil {
		t.Fatalf("Append: %v", err)
	}
	receipts := make([]edge.Receipt, len(entries))
	for _, reply := range replies.Wait(t, len(entries)) {
		if reply.Err != nil {
			t.Fatalf("answer %d: %v", reply.Token, reply.Err)
		}
		receipts[reply.Token] = reply.Receipt
	}
	return receipts
}

// Reply is one answer of a queue.
type Reply struct {
	Token   uint64
	Receipt edge.Receipt
	Err     error
}

// Replies is an [edge.Replier] that remembers the answers.
type Replies struct {
	mu        sync.Mutex
	unflushed []Reply
	flushed   []Reply
	changed   chan struct{} // closed and replaced at each flush
}

// NewReplies returns a replier without answers.
func NewReplies() *Replies { return &Replies{changed: make(chan struct{})} }

// Reply implements [edge.Replier].
func (r *Replies) Reply(token uint64, receipt edge.Receipt, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unflushed = append(r.unflushed, Reply{Token: token, Receipt: receipt, Err: err})
	return len(r.unflushed) == 1
}

// Flush implements [edge.Replier].
func (r *Replies) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed = append(r.flushed, r.unflushed...)
	r.unflushed = nil
	close(r.changed)
	r.changed = make(chan struct{})
}

// Flushed returns the answers that were flushed so far, in order of arrival.
func (r *Replies) Flushed() []Reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flushed
}

// Wait returns the answers that were flushed, in order of arrival, as soon as
// there are at least count.
func (r *Replies) Wait(t *testing.T, count int) []Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		r.mu.Lock()
		flushed, changed := r.flushed, r.changed
		r.mu.Unlock()
		if len(flushed) >= count {
			return flushed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("got %d answers, want %d", len(flushed), count)
		}
	}
}
