package queue

import (
	"context"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// resumeLimit is how soon records are taken again once there is room.
const resumeLimit = 5 * time.Second

// filled is a queue on a volume, with what it has acknowledged.
type filled struct {
	*Queue
	stop   func()
	cancel context.CancelFunc
	done   <-chan error
	next   int // number of the next message
	stored map[edge.Position]bool
}

// openOn opens and runs a queue on a volume, with one sink.
func openOn(t *testing.T, settings Settings) *filled {
	t.Helper()
	q, cancel, done := begin(t, settings)
	f := &filled{Queue: q, cancel: cancel, done: done, stored: map[edge.Position]bool{}}
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { f.stop() })
	return f
}

// append appends messages and returns how many were refused. Only want of room
// is a reason.
func (f *filled) append(t *testing.T, count int) (refused int) {
	t.Helper()
	entries := random(f.next, count)
	replies := edgetest.NewReplies()
	for i := range entries {
		entries[i].Replier, entries[i].Token = replies, uint64(i)
	}
	f.next += count
	if err := f.Append(t.Context(), entries...); err != nil {
		if failure := edge.AsError(err); failure.Code != edge.Full {
			t.Fatal(err)
		}
		return count
	}
	for _, reply := range replies.Wait(t, count) {
		switch failure := edge.AsError(reply.Err); {
		case failure == nil:
			f.stored[reply.Receipt.Correlation.Position()] = true
		case failure.Code == edge.Full:
			refused++
		default:
			t.Fatal(reply.Err)
		}
	}
	return refused
}

// fill appends until the queue refuses, and for a while longer.
func (f *filled) fill(t *testing.T) {
	t.Helper()
	for refusals := 0; refusals < 20; {
		if f.append(t, 20) > 0 {
			refusals++
		}
		if len(f.stored) > 100_000 {
			t.Fatal("the volume does not fill up")
		}
	}
	f.intake.waitUntil(t, false)
}

// drain delivers everything that was acknowledged and is not delivered yet.
func (f *filled) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	defer cancel()
	for len(f.stored) > 0 {
		leased, err := f.Lease(ctx, 1, edge.LeaseLimit{Records: 100, Bytes: 1 << 20})
		if err != nil {
			t.Fatalf("%d acknowledged records are not delivered: %v", len(f.stored), err)
		}
		for _, delivery := range leased {
			delete(f.stored, delivery.Record.Position)
		}
		if err := f.Settle(ctx, 1, edge.Settlement{Attempt: edge.Attempt{
			First: leased[0].Record.Position, Last: leased[len(leased)-1].Record.Position, Records: len(leased), Slots: 1,
			EndedAt: time.Now(), Class: edge.Delivered, Status: "204",
		}, Acked: leased}); err != nil {
			t.Fatal(err)
		}
	}
}

// resumes waits until records are taken again.
func (f *filled) resumes(t *testing.T) {
	t.Helper()
	began := time.Now()
	f.intake.waitUntil(t, true)
	if took := time.Since(began); took > resumeLimit {
		t.Errorf("records are taken again after %v, want %v", took, resumeLimit)
	}
	if refused := f.append(t, 20); refused > 0 {
		t.Errorf("%d of 20 records were refused after that", refused)
	}
}

// balanced compares the ledger with the file.
func (f *filled) balanced(t *testing.T) {
	t.Helper()
	if recount, err := f.Recount(t.Context()); err != nil || !recount.Balanced() {
		t.Errorf("the ledger does not balance: %+v, %v", recount, err)
	}
}
