package edgetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"combotto.io/gateway/server/edge"
)

// settling is how long the suite watches a queue that has to stay silent. It is
// virtual time.
const settling = 100 * time.Millisecond

// TestLeaser is the contract of [edge.Leaser].
func TestLeaser(t *testing.T, build Build) {
	run := suite(t, build)
	run("HandsOutInOrder", handsOutInOrder)
	run("HandsOutWhatWasAppended", handsOutWhatWasAppended)
	run("KeepsToLimit", keepsToLimit)
	run("WaitsForRecords", waitsForRecords)
	run("EndsWithContext", endsWithContext)
	run("ReleasedComeAgainInOrder", releasedComeAgain)
	run("ReleaseWakesLease", releaseWakesLease)
	run("ReleasedTooLateStaysSettled", releasedTooLate)
	run("UnknownSinkIsRefused", unknownSinkIsRefused)
	run("SettledNeverComeAgain", settledNeverComeAgain)
	run("UndecidedStayLeased", undecidedStayLeased)
	run("LeasesAtMostMaxLeased", leasesAtMostMaxLeased)
	run("SinksAreIndependent", sinksAreIndependent)
	t.Run("Begins", func(t *testing.T) { testBegin(t, build) })
	t.Run("Seals", func(t *testing.T) { testSeals(t, build) })
	run("LosesNothingWhileAppending", losesNothingWhileAppending)
}

func handsOutInOrder(t *testing.T, build Build) {
	queue := build(t, 1)
	for range 3 {
		// Several commits, so that the order holds across them.
		Append(t, queue, anonymous(Entries(40, 3, 1))...)
	}
	var last edge.Position
	for range 120 {
		delivery := lease(t, queue, 1, 1)[0]
		if delivery.Record.Position <= last {
			t.Fatalf("position %d follows %d", delivery.Record.Position, last)
		}
		last = delivery.Record.Position
	}
	expectNothingDue(t, queue, 1)
}

func handsOutWhatWasAppended(t *testing.T, build Build) {
	queue := build(t, 1)
	record := edge.Record{
		Device: "dev-1", Source: edge.SourceHTTP, Encoding: edge.EncodingProtobuf,
		Identity:    edge.Identity{MessageID: "m-1", BootID: "b-1", Sequence: edge.MaxSequence, HasSequence: true, Explicit: true},
		ReceivedAt:  time.Now().UTC().Truncate(time.Microsecond),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Verified:    true,
		Payload:     []byte("\x00\x01\xff anything"),
	}
	receipt := Append(t, queue, edge.Entry{Record: record, Owed: []edge.SinkID{1}})[0]
	want := edge.Delivery{Record: record, Kind: edge.Live}
	want.Record.Correlation, want.Record.Position = receipt.Correlation, receipt.Correlation.Position()
	// Explicit only decides about conflicts at the door; it need not be stored.
	ignored := cmpopts.IgnoreFields(edge.Identity{}, "Explicit")
	if diff := cmp.Diff(want, lease(t, queue, 1, 1)[0], ignored); diff != "" {
		t.Error(diff)
	}
}

func keepsToLimit(t *testing.T, build Build) {
	queue := build(t, 1)
	entries := Entries(10, 1, 1)
	for i := range entries {
		entries[i].Record.Payload = make([]byte, 1000)
	}
	Append(t, queue, entries...)
	for _, limit := range []edge.LeaseLimit{{Records: 3, Bytes: 1 << 20}, {Records: 10, Bytes: 2500}, {Records: 10, Bytes: 1}} {
		deliveries, err := queue.Lease(t.Context(), 1, limit)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, delivery := range deliveries {
			size += len(delivery.Record.Payload)
		}
		if len(deliveries) == 0 || len(deliveries) > limit.Records || len(deliveries) > 1 && size > limit.Bytes {
			t.Errorf("limit %+v: %d deliveries of %d bytes", limit, len(deliveries), size)
		}
	}
}

func waitsForRecords(t *testing.T, build Build) {
	queue := build(t, 1)
	leased := make(chan []edge.Delivery, 1)
	go func() {
		deliveries, err := queue.Lease(t.Context(), 1, edge.LeaseLimit{Records: 10, Bytes: 1 << 20})
		if err != nil {
			t.Errorf("Lease: %v", err)
		}
		leased <- deliveries
	}()
	Append(t, queue, Entries(1, 1, 1)...)
	select {
	case deliveries := <-leased:
		if len(deliveries) != 1 {
			t.Errorf("leased %d deliveries, want 1", len(deliveries))
		}
	case <-time.After(Patience):
		t.Fatal("Lease did not notice the new record")
	}
}

func endsWithContext(t *testing.T, build Build) {
	queue := build(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), settling)
	defer cancel()
	deliveries, err := queue.Lease(ctx, 1, edge.LeaseLimit{Records: 1, Bytes: 1})
	if len(deliveries) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %d deliveries and error %v, want the context's error", len(deliveries), err)
	}
}

func releasedComeAgain(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(9, 2, 1)...)
	first := leaseAll(t, queue, 1, 9)
	queue.Release(1, slices.Concat(first[6:8], first[2:4]))
	if diff := cmp.Diff(slices.Concat(first[2:4], first[6:8]), leaseAll(t, queue, 1, 4)); diff != "" {
		t.Error(diff)
	}
}

// releaseWakesLease waits for deliveries that another lane's stop gives back.
func releaseWakesLease(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(1, 1, 1)...)
	first := leaseAll(t, queue, 1, 1)
	leased := make(chan []edge.Delivery, 1)
	go func() {
		deliveries, err := queue.Lease(t.Context(), 1, edge.LeaseLimit{Records: 10, Bytes: 1 << 20})
		if err != nil {
			t.Errorf("Lease: %v", err)
		}
		leased <- deliveries
	}()
	queue.Release(1, first)
	select {
	case again := <-leased:
		if diff := cmp.Diff(first, again); diff != "" {
			t.Error(diff)
		}
	case <-time.After(Patience):
		t.Fatal("Lease did not notice what was released")
	}
}

// releasedTooLate releases everything that was leased, though some of it is
// settled by now.
func releasedTooLate(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(4, 1, 1)...)
	leased := leaseAll(t, queue, 1, 4)
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(leased, edge.Delivered), Acked: leased[:2]})
	queue.Release(1, leased)
	if diff := cmp.Diff(leased[2:], leaseAll(t, queue, 1, 2)); diff != "" {
		t.Error(diff)
	}
}

func unknownSinkIsRefused(t *testing.T, build Build) {
	queue := build(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if deliveries, err := queue.Lease(ctx, 99, edge.LeaseLimit{Records: 1, Bytes: 1}); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v; want an error at once", deliveries, err)
	}
}

func settledNeverComeAgain(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(6, 1, 1)...)
	leased := leaseAll(t, queue, 1, 6)
	settle(t, queue, 1, edge.Settlement{
		Attempt: attempt(leased[1:4], edge.Delivered),
		Acked:   []edge.Delivery{leased[1], leased[3]},
		Dead:    []edge.Death{{Delivery: leased[2], Reason: edge.DeathRejected, Status: "422", Excerpt: "no"}},
	})
	queue.Release(1, []edge.Delivery{leased[0], leased[4], leased[5]})
	if diff := cmp.Diff([]edge.Delivery{leased[0], leased[4], leased[5]}, leaseAll(t, queue, 1, 3)); diff != "" {
		t.Error(diff)
	}
}

func undecidedStayLeased(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(3, 1, 1)...)
	leased := leaseAll(t, queue, 1, 3)
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(leased, edge.Unavailable)})
	expectNothingDue(t, queue, 1)
	queue.Release(1, leased)
	if diff := cmp.Diff(leased, leaseAll(t, queue, 1, 3)); diff != "" {
		t.Error(diff)
	}
}

func leasesAtMostMaxLeased(t *testing.T, build Build) {
	queue := build(t, 1)
	for range 2 {
		Append(t, queue, anonymous(Entries(edge.MaxLeased*3/4, 5, 1))...)
	}
	leased := leaseAll(t, queue, 1, edge.MaxLeased)
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(leased[:3], edge.Delivered), Acked: leased[:3]})
	if got := len(leaseAll(t, queue, 1, 3)); got != 3 {
		t.Errorf("leased %d deliveries after 3 were settled", got)
	}
}

func sinksAreIndependent(t *testing.T, build Build) {
	queue := build(t, 1, 2)
	entries := Entries(6, 1, 1, 2)
	entries[0].Owed, entries[5].Owed = []edge.SinkID{2}, []edge.SinkID{1}
	Append(t, queue, entries...)
	first := leaseAll(t, queue, 1, 5)
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(first, edge.Delivered), Acked: first})
	second := leaseAll(t, queue, 2, 5)
	for i := range first {
		if first[i].Record.Identity.Sequence != uint64(i+1) || second[i].Record.Identity.Sequence != uint64(i) {
			t.Errorf("delivery %d: sequences %d and %d, want %d and %d", i,
				first[i].Record.Identity.Sequence, second[i].Record.Identity.Sequence, i+1, i)
		}
	}
}

func losesNothingWhileAppending(t *testing.T, build Build) {
	queue := build(t, 1)
	const count = 3000
	go func() {
		for chunk := range slices.Chunk(Entries(count, 7, 1), 13) {
			if err := queue.Append(t.Context(), chunk...); err != nil {
				t.Errorf("Append: %v", err)
			}
		}
	}()
	seen := make(map[edge.Position]bool)
	for round := 0; len(seen) < count; round++ {
		leased := lease(t, queue, 1, 100)
		kept := leased
		if round%3 == 0 {
			kept = leased[:len(leased)/2]
			queue.Release(1, leased[len(kept):])
		}
		for _, delivery := range kept {
			if seen[delivery.Record.Position] {
				t.Fatalf("position %d came twice", delivery.Record.Position)
			}
			seen[delivery.Record.Position] = true
		}
		if len(kept) > 0 {
			settle(t, queue, 1, edge.Settlement{Attempt: attempt(kept, edge.Delivered), Acked: kept})
		}
	}
	expectNothingDue(t, queue, 1)
}

// anonymous takes away the identities, so that equal records are stored again.
func anonymous(entries []edge.Entry) []edge.Entry {
	for i := range entries {
		entries[i].Record.Identity = edge.Identity{}
	}
	return entries
}

func expectNothingDue(t *testing.T, leaser edge.Leaser, sink edge.SinkID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settling)
	defer cancel()
	if deliveries, err := leaser.Lease(ctx, sink, edge.LeaseLimit{Records: 1, Bytes: 1}); err == nil {
		t.Fatalf("sink %d: leased %+v, want nothing due", sink, deliveries)
	}
}

func settle(t *testing.T, leaser edge.Leaser, sink edge.SinkID, settlement edge.Settlement) {
	t.Helper()
	if err := leaser.Settle(t.Context(), sink, settlement); err != nil {
		t.Fatalf("Settle: %v", err)
	}
}

func attempt(batch []edge.Delivery, class edge.Class) edge.Attempt {
	return edge.Attempt{
		Number: 1, First: batch[0].Record.Position, Last: batch[len(batch)-1].Record.Position, Records: len(batch),
		Slots: 1, StartedAt: time.Now(), EndedAt: time.Now(), Class: class, Status: class.String(),
	}
}
