package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// What a transaction is about to save is not saved yet: whoever asks while it is
// under way waits for its end.
func TestQueue_flush(t *testing.T) { synctest.Test(t, flushUnderWay) }

func flushUnderWay(t *testing.T) {
	const slow = time.Hour
	q, _, disk := onDisk(t, Settings{})
	accepted(t, q, large(0, 1))
	disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "-wal", Times: 1, Delay: slow})
	began := time.Now()
	deliver(t, q, 1)
	<-time.After(2 * saveInterval)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := q.flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v after %v; want nothing saved while it is under way", err, time.Since(began))
	}
	if err := q.flush(t.Context()); err != nil || time.Since(began) < slow {
		t.Errorf("after its end: %v, after %v", err, time.Since(began))
	}
}

// TestQueue_savesOldRows lets records come that nothing becomes of. With the rounds of
// the WAL every sink's row comes to count them: of few sinks at once, of many in turn,
// and never many in one round.
func TestQueue_savesOldRows(t *testing.T) {
	for name, test := range map[string]struct{ sinks, rounds int }{
		"Few": {sinks: 3, rounds: 2}, "Many": {sinks: 2*oldRowsMax + 1, rounds: 4},
	} {
		bubble(t, name, func(t *testing.T) {
			q, _, _ := onDisk(t, Settings{MaxBytes: 8 << 20})
			var specs []SinkSpec
			for n := range test.sinks {
				specs = append(specs, SinkSpec{Name: fmt.Sprint("sink-", n+1), Kind: "test"})
			}
			if _, err := q.EnsureSinks(t.Context(), specs); err != nil {
				t.Fatal(err)
			}
			before, next := rowsCount(t, q), 0
			for round := range test.rounds {
				for written := int64(0); written < q.bounds.walSoft; written += 4000 {
					accepted(t, q, owedTo(random(next, 1), 1))
					next++
				}
				<-time.After(2 * saveInterval)
				accepted(t, q, owedTo(random(next, 1), 1)) // nothing is saved without a commit
				next++
				rows, saved := rowsCount(t, q), 0
				for sink, counted := range rows {
					if counted > before[sink] {
						saved++
					}
				}
				if saved == 0 || saved > oldRowsMax {
					t.Errorf("round %d has saved %d rows of %d", round, saved, len(rows))
				}
				before = rows
			}
			for sink, counted := range before {
				if counted == 0 {
					t.Errorf("the row of sink %d counts nothing, after %d records", sink, next)
				}
			}
		})
	}
}

// rowsCount returns up to where the row of each sink counts.
func rowsCount(t *testing.T, q *Queue) map[edge.SinkID]edge.Position {
	t.Helper()
	counted := map[edge.SinkID]edge.Position{}
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectSinks, func(row sqlite.Row) error {
			stored := queuefile.ReadSink(row)
			counted[stored.ID] = stored.Counted
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return counted
}
