package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Settle(t *testing.T) {
	t.Run("HolesSurviveACrash", settleHolesSurviveACrash)
	t.Run("IsDurableSoonWithoutAnAppend", settleIsDurableSoonWithoutAnAppend)
	t.Run("RefusesWhatIsNotLeased", settleRefusesWhatIsNotLeased)
	t.Run("SinksAreSettledApart", settleSinksAreSettledApart)
}

func settleHolesSurviveACrash(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(20, 3, 1)...)
	leased := q.lease(t, 1, 20)
	var acked, open []edge.Delivery
	for i, delivery := range leased {
		if i%3 == 1 || i > 15 {
			open = append(open, delivery)
			continue
		}
		acked = append(acked, delivery)
	}
	q.ack(t, 1, acked)
	q.recount(t) // saved by now
	want := q.sink(1)
	want.InFlight = 0
	q = start(t, queue.Settings{Path: q.crash(t)}, 1)
	if diff := cmp.Diff(want, q.sink(1)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(queue.PositionsOf(open), queue.PositionsOf(q.lease(t, 1, len(open)))); diff != "" {
		t.Error(diff)
	}
	q.idle(t, 1)
}

func settleIsDurableSoonWithoutAnAppend(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(5, 1, 1)...)
	q.ack(t, 1, q.lease(t, 1, 5))
	// What is on disk is all that another queue on a copy of the files sees.
	// The contract says 50 ms; a loaded machine gets a hundred times that.
	deadline := time.Now().Add(5 * time.Second)
	for {
		other := start(t, queue.Settings{Path: q.crash(t)}, 1)
		delivered := other.sink(1).Delivered
		other.close(t)
		if delivered == 5 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 5 deliveries are saved", delivered)
		}
	}
}

func settleRefusesWhatIsNotLeased(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(4, 1, 1)...)
	leased := q.lease(t, 1, 3)
	q.ack(t, 1, leased[:1])
	before := q.sink(1)
	foreign := edge.Delivery{Record: edge.Record{Position: 4}}
	for name, acked := range map[string][]edge.Delivery{
		"twice in one": {leased[1], leased[1]}, "settled before": {leased[0]}, "never leased": {leased[1], foreign},
	} {
		if err := q.Settle(t.Context(), 1, edge.Settlement{Attempt: attempt(acked, edge.Delivered), Acked: acked}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if diff := cmp.Diff(before, q.sink(1)); diff != "" {
		t.Errorf("a refused settlement changed something: %s", diff)
	}
	if err := q.Settle(t.Context(), 9, edge.Settlement{}); code(err) != edge.NotFound {
		t.Errorf("unknown sink: %v, want NotFound", err)
	}
}

func settleSinksAreSettledApart(t *testing.T) {
	q := start(t, queue.Settings{}, 2)
	entries := edgetest.Entries(9, 1, 1, 2)
	entries[4].Owed = []edge.SinkID{2}
	entries[5].Owed = nil
	edgetest.Append(t, q, entries...)
	q.ack(t, 1, q.lease(t, 1, 7))
	got := []edge.SinkStats{q.sink(1), q.sink(2)}
	want := []edge.SinkStats{
		{ID: 1, Name: "sink-1", Kind: "test", Owed: 7, Delivered: 7, Cursor: 10, DeadByReason: map[string]int64{}, DeadEverByReason: map[string]int64{}},
		{ID: 2, Name: "sink-2", Kind: "test", Owed: 8, Pending: 8, Cursor: 1, DeadByReason: map[string]int64{}, DeadEverByReason: map[string]int64{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := q.Stats(); got.Accepted != 9 || got.Unrouted != 1 {
		t.Errorf("accepted %d, unrouted %d; want 9 and 1", got.Accepted, got.Unrouted)
	}
}

func TestQueue_Lease(t *testing.T) {
	t.Run("AtTheBoundOfRangesTheOldestHolesComeFirst", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		for range 3 {
			entries := edgetest.Entries(4000, 1, 1)
			for i := range entries {
				entries[i].Record.Identity = edge.Identity{}
			}
			edgetest.Append(t, q, entries...)
		}
		// Every second record is settled, as fast as the lane may lease.
		var holes []edge.Delivery
		for len(holes) < 4097 {
			leased := q.lease(t, 1, 2)
			q.ack(t, 1, leased[1:])
			holes = append(holes, leased[0])
			if len(holes) == 4096 {
				break
			}
		}
		q.idle(t, 1)
		q.ack(t, 1, holes[:1])
		if got := len(q.lease(t, 1, 1)); got != 1 {
			t.Errorf("leased %d after the oldest hole was filled", got)
		}
		q.recount(t)
	})

	t.Run("UnknownSink", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		if _, err := q.Lease(t.Context(), 2, everything); code(err) != edge.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
	})

	t.Run("EndsWithTheQueue", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		edgetest.Append(t, q, edgetest.Entries(1, 1)...) // it runs
		ended := make(chan error)
		go func() {
			_, err := q.Lease(context.Background(), 1, everything)
			ended <- err
		}()
		q.close(t)
		if err := <-ended; code(err) != edge.Stopping {
			t.Errorf("got %v, want Stopping", err)
		}
	})
}

func TestQueue_Read(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	for i := range 3 {
		entries := edgetest.Entries(10, 1)
		for j := range entries {
			entries[j].Record = edgetest.Record("dev", 10*i+j)
		}
		edgetest.Append(t, q, entries...)
	}
	var sequences []uint64
	after := edge.Position(4)
	for len(sequences) < 26 {
		records, next, err := q.Read(t.Context(), after, 7)
		if err != nil || len(records) > 7 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		for _, record := range records {
			sequences = append(sequences, record.Identity.Sequence)
		}
		after = next
	}
	for i, sequence := range sequences {
		if sequence != uint64(i+4) {
			t.Fatalf("record %d has sequence %d, want %d", i, sequence, i+4)
		}
	}
	if after != q.Head() {
		t.Errorf("read up to %d, the head is %d", after, q.Head())
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, next, err := q.Read(ctx, after, 1); !errors.Is(err, context.DeadlineExceeded) || next != after {
		t.Errorf("next %d, %v; want to wait", next, err)
	}
	arrived := make(chan edge.Record)
	go func() {
		records, _, err := q.Read(t.Context(), after, 1)
		if err != nil {
			t.Error(err)
		}
		arrived <- records[0]
	}()
	edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", 30)})
	if record := <-arrived; record.Identity.Sequence != 30 {
		t.Errorf("got sequence %d, want 30", record.Identity.Sequence)
	}
}
