package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// The counters of a removed sink are damaged. It is deleted all the same, what is
// given up is counted from the rows, and nothing of the file is kept for it.
func TestQueue_DeleteSink_DamagedCounters(t *testing.T) {
	for name, statement := range map[string]string{
		"TooMany": "UPDATE sink SET owed = owed + 1000",
		"TooFew":  "UPDATE sink SET owed = owed - 3, dead = dead - 1",
	} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			inFile(t, path, statement)
			q, stop := run(t, Settings{Path: path})
			defer func() { stop() }()
			ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
			defer cancel()
			specs := []SinkSpec{{Name: "sink-2", Kind: "test"}}
			if _, err := q.EnsureSinks(ctx, specs); err != nil {
				t.Fatal(err)
			}
			for _, only := range []bool{true, false} { // three wait, and one is dead
				if count, err := q.DeleteSink(ctx, 1, edge.Deletion{Actor: "ann", Discard: true, ValidateOnly: only}); err != nil || count != 4 {
					t.Fatalf("deleted %d, %v; want 4", count, err)
				}
			}
			if _, pinned := q.registry.all()[0].pinned(); pinned {
				t.Error("the file is kept for a deleted sink")
			}
			expectDiscarded(t, q, 4)
			stop()
			// Its counters may be damaged once more.
			inFile(t, path, "UPDATE sink SET owed = owed + 1000 WHERE id = 1")
			q, stop = run(t, Settings{Path: path})
			if err := q.expireAll(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := q.DeleteSink(ctx, 1, edge.Deletion{Actor: "ann", Discard: true}); err != nil {
				t.Error(err)
			}
			expectDiscarded(t, q, 4)
		})
	}
}

// A deleted sink has nothing to lose any more: its row is not saved again, as are those
// of others that nothing becomes of.
func TestQueue_DeleteSink_RowIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _, _ := onDisk(t, Settings{MaxBytes: 8 << 20})
		names := []SinkSpec{{Name: "sink-1", Kind: "test"}, {Name: "sink-2", Kind: "test"}, {Name: "sink-3", Kind: "test"}, {Name: "sink-4", Kind: "test"}}
		for _, specs := range [][]SinkSpec{names, names[:2]} {
			if _, err := q.EnsureSinks(t.Context(), specs); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := q.DeleteSink(t.Context(), 3, edge.Deletion{Actor: "ann", Discard: true}); err != nil {
			t.Fatal(err)
		}
		before, next := rowsCount(t, q), 0
		for range 4 {
			for written := int64(0); written < q.bounds.walSoft; written += 4000 {
				accepted(t, q, owedTo(random(next, 1), 1))
				next++
			}
			<-time.After(2 * saveInterval)
		}
		after := rowsCount(t, q)
		for sink, moves := range map[edge.SinkID]bool{1: true, 2: true, 3: false, 4: true} {
			if after[sink] > before[sink] != moves {
				t.Errorf("the row of sink %d counted up to %d, and counts up to %d after %d more; want it saved: %v", sink, before[sink], after[sink], next, moves)
			}
		}
	})
}

// expectDiscarded compares the loss report of the first sink, and the figures that
// are kept of it, with what was given up; the ledger has to balance.
func expectDiscarded(t *testing.T, q *Queue, want int64) {
	t.Helper()
	lost := int64(0)
	for _, row := range lossRows(t, q) {
		lost += row.Count
	}
	stats := q.Stats()
	if len(stats.Ended) == 0 || !stats.Ended[0].Deleted || lost != want || stats.Ended[0].LostByReason[edge.LossDiscarded][edge.LossOperator] != want {
		t.Errorf("%d losses are reported, sinks that have ended %+v; want %d", lost, stats.Ended, want)
	}
	if recount, err := q.Recount(t.Context()); err != nil || !recount.Balanced() {
		t.Errorf("recount: %+v, %v", recount.Mismatches, err)
	}
}
