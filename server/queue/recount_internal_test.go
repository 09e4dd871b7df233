package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// pieceRecords of random make a frame of more than 256 KiB, which is a piece of a
// recount.
const pieceRecords = 1 + 256<<10/4000

// TestQueue_Recount_LargeFrames counts frames that are a piece each: the last one
// ends it, and one that is damaged is damaged once.
func TestQueue_Recount_LargeFrames(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	for i := range 3 {
		accepted(t, q, random(i*pieceRecords, pieceRecords))
	}
	recount := func() queuefile.Recount {
		ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
		defer cancel()
		found, err := q.Recount(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := recount(); !found.Balanced() || found.Stored != 3*pieceRecords {
		t.Errorf("got %+v, want %d messages stored", found, 3*pieceRecords)
	}
	damage(t, q, 1+pieceRecords)
	if found := recount(); found.Damaged != 1 || found.Stored != 2*pieceRecords {
		t.Errorf("got %+v, want one of three frames damaged", found)
	}
}

// TestRecountFile removes frames between the snapshot of the counters, with the
// first frame, and the reading of the others, as retention does.
func TestRecountFile(t *testing.T) {
	for name, test := range map[string]struct {
		remove string
		whole  bool
		moved  bool
	}{
		"Nothing":      {"DELETE FROM frame WHERE id > 1000", true, false},
		"WhatIsDone":   {fmt.Sprint("DELETE FROM frame WHERE id <= ", 2*pieceRecords), false, false},
		"WhatIsWaited": {fmt.Sprint("DELETE FROM frame WHERE id <= ", 3*pieceRecords), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q := twoSinks(t, Settings{Path: path})
			for i := range 4 {
				accepted(t, q, owedTo(random(i*pieceRecords, pieceRecords), 1, 2))
			}
			for sink := range edge.SinkID(2) {
				if err := q.Settle(t.Context(), sink+1, edge.Settlement{Acked: leaseAll(t, q, sink+1)[:2*pieceRecords]}); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.save(t.Context(), saveSome); err != nil {
				t.Fatal(err)
			}
			looks, moved := 0, false
			recount, err := queuefile.CountFile(t.Context(), func(ctx context.Context, look func(*sqlite.Conn) error) error {
				if looks++; looks == 2 {
					if err := q.db.Write(ctx, func(conn *sqlite.Conn) error { return conn.Exec(test.remove) }); err != nil {
						return err
					}
				}
				err := q.db.Read(ctx, look)
				moved = moved || errors.Is(err, queuefile.ErrMoved)
				return err
			}, q.decoder)
			if test.moved {
				if !moved { // it began anew, and what is gone is missing now
					t.Errorf("a recount did not notice that records are gone which a sink waits for: %+v", recount)
				}
				return
			}
			if err != nil || !recount.Balanced() || recount.Whole != test.whole {
				t.Errorf("%+v, %v; want it balanced, and whole: %v", recount, err, test.whole)
			}
		})
	}
}

// The counters of a sink are damaged. Once everything it was owed is decided it waits
// for nothing, and says so; what came before stays known to be wrong.
func TestQueue_Drained_DamagedCounters(t *testing.T) {
	for name, statement := range map[string]string{
		"TooMany": "UPDATE sink SET owed = owed + 1000",
		"TooFew":  "UPDATE sink SET owed = owed - 2, delivered = delivered + 1",
	} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			inFile(t, path, statement)
			q, stop := run(t, Settings{Path: path})
			settleAll(t, q, 3)
			expectPending := func(want int64) {
				t.Helper()
				if leased := leaseAll(t, q, 1); len(leased) != 0 { // as a lane asks for more
					t.Fatalf("%d more were leased", len(leased))
				}
				if sink := q.Stats().Sinks[0]; sink.Pending != want || !q.registry.all()[0].isUnsure() {
					t.Errorf("got %+v, want %d pending, and counters that are known to be wrong", sink, want)
				}
			}
			expectPending(0)
			accepted(t, q, large(6, 2))
			if sink := q.Stats().Sinks[0]; sink.Pending != 2 {
				t.Errorf("got %+v, want what came since", sink)
			}
			settleAll(t, q, 2)
			expectPending(0)
			stop()
			q, stop = run(t, Settings{Path: path})
			defer stop()
			expectPending(0)
		})
	}
}
