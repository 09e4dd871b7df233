package queue

import (
	"context"
	"testing"

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
