package queue

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const hiddenRecords = 7 // in one leaf, which no other table fills as far

// sevenFrames returns the path of a queue that was closed, with seven frames of one
// record each, all of which wait.
func sevenFrames(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	defer stop()
	for i := range hiddenRecords {
		accepted(t, q, []edge.Entry{{Record: edgetest.Record("dev", i), Owed: []edge.SinkID{1}}})
	}
	return path
}

// TestOpen_HiddenAtTheCursor hides the oldest frame, where a cursor is. A start finds
// it again, or reports that it is lost, and comes to it once.
func TestOpen_HiddenAtTheCursor(t *testing.T) {
	for name, test := range map[string]struct {
		hide func(t *testing.T, path string)
		want []edge.Position
		lost []lossRow
	}{
		"Hidden": {hideFirst, []edge.Position{1, 2, 3, 4, 5, 6, 7}, nil},
		"Gone":   {erase, []edge.Position{2, 3, 4, 5, 6, 7}, []lossRow{{1, 3, 1, 7, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := sevenFrames(t)
			test.hide(t, path)
			v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
			isGap := func(p queuefile.Problem) bool { return p.Kind == queuefile.ProblemGap && p.Sink == "sink-1" }
			if err != nil || !slices.ContainsFunc(v.Problems, isGap) {
				t.Errorf("verify: %+v, %v", v, err)
			}
			q, stop := run(t, Settings{Path: path})
			if diff := cmp.Diff(test.want, PositionsOf(leaseAll(t, q, 1))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.lost, lossRows(t, q)); diff != "" {
				t.Error(diff)
			}
			expectBalance(t, q, int64(len(test.want)))
			stop()
			q, stop = run(t, Settings{Path: path})
			defer stop()
			if stats := q.Stats(); stats.Salvaged != 1 || stats.Quarantined != int64(hiddenRecords-len(test.want)) {
				t.Errorf("salvaged %d, quarantined %d", stats.Salvaged, stats.Quarantined)
			}
		})
	}
}

func erase(t *testing.T, path string) {
	for _, statement := range eraseFirst {
		inFile(t, path, statement)
	}
}

// eraseFirst removes the oldest frame, and leaves nothing of it in free space.
var eraseFirst = []string{"UPDATE frame SET body = zeroblob(length(body)) WHERE id = 1", "DELETE FROM frame WHERE id = 1"}

// TestQueue_HiddenAtTheCursor hides the oldest frame while the queue runs. The lane
// that comes to it ends the process, which says what to do, and the next start looks
// at everything.
func TestQueue_HiddenAtTheCursor(t *testing.T) {
	path := sevenFrames(t)
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- q.Run(context.Background()) }()
	for _, statement := range eraseFirst {
		if err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec(statement) }); err != nil {
			t.Fatal(err)
		}
	}
	leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 3, Bytes: 1 << 30})
	if !errors.Is(err, queuefile.ErrRow) {
		t.Errorf("leased %v, %v; want an error that says what is missing", PositionsOf(leased), err)
	}
	fatal, ended := errors.AsType[*FatalError](<-done)
	if !ended || !strings.Contains(fatal.Error(), "docs/runbooks/damaged-queue.md") || !isThere(t, path+".suspect") {
		t.Fatalf("Run ends with %v", fatal)
	}
	if err := q.db.Close(); err != nil { // the process is gone
		t.Fatal(err)
	}
	q, stop := run(t, Settings{Path: path})
	defer stop()
	if got := leaseAll(t, q, 1); len(got) != hiddenRecords-1 {
		t.Errorf("leased %v", PositionsOf(got))
	}
	if diff := cmp.Diff([]lossRow{{1, 3, 1, 7, 1}}, lossRows(t, q)); diff != "" {
		t.Error(diff)
	}
}

// TestOpen_HiddenBeforeReplay hides the frame that a start reads first, of which no
// counter knows yet.
func TestOpen_HiddenBeforeReplay(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	accepted(t, q, large(0, 1))
	settleAll(t, q, 1)
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, owedTo(large(1, 1)))
	accepted(t, q, owedTo(large(2, 1)))
	path := crashed(t, q)
	inFile(t, path, "DELETE FROM frame WHERE id < 3")
	started, stop := run(t, Settings{Path: path})
	defer stop()
	if stats := started.Stats(); stats.Salvaged != 1 || stats.Quarantined == 0 || stats.Accepted != 3 {
		t.Errorf("salvaged %d, quarantined %d of %d", stats.Salvaged, stats.Quarantined, stats.Accepted)
	}
}

// TestOpen_RemovedInFront crashes when the saved cursor of a sink that waited for
// nothing lies in front of what retention has left, and a record has come for it since.
// Nothing is missing, also where its counters cannot say so.
func TestOpen_RemovedInFront(t *testing.T) {
	bubble(t, "SureCounters", func(t *testing.T) { removedInFront(t, func(*testing.T, string) {}) })
	bubble(t, "UnsureCounters", func(t *testing.T) { removedInFront(t, spoilCounters) })
	bubble(t, "MendedCounters", func(t *testing.T) {
		removedInFront(t, func(t *testing.T, path string) {
			spoilCounters(t, path)
			done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
			if err != nil || done.Before.Found == 0 || done.Kept != "" || done.Lost != 0 {
				t.Errorf("repair: %+v, %v; want it mended in place", done, err)
			}
		})
	})
}

func spoilCounters(t *testing.T, path string) {
	inFile(t, path, "UPDATE sink SET counts_checksum = 1 WHERE id = 1")
}

func removedInFront(t *testing.T, change func(t *testing.T, path string)) {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db"), RetentionDelivered: time.Nanosecond})
	for i := range 5 {
		accepted(t, q, owedTo(large(i, 1), 2))
	}
	leased := leaseAll(t, q, 2)
	if err := q.Settle(t.Context(), 2, edge.Settlement{Acked: leased}); err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * maintenanceInterval)
	accepted(t, q, owedTo(large(5, 1), 1))
	path := crashed(t, q)
	change(t, path)
	started, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	kept, err := queuefile.KeptFiles(sqlite.Disk{}, path)
	if stats := started.Stats(); err != nil || len(kept) != 0 || stats.Oldest != 6 || stats.Quarantined != 0 {
		t.Errorf("the oldest record is %d, %d are in quarantine, and the file has replaced %v, %v", stats.Oldest, stats.Quarantined, kept, err)
	}
	if diff := cmp.Diff([]edge.Position{6}, PositionsOf(leaseAll(t, started, 1))); diff != "" {
		t.Error(diff)
	}
}

// hideFirst takes the first of seven rows out of the list of the page that holds
// them, and leaves its bytes.
func hideFirst(t *testing.T, path string) {
	const leaf, cells, header, rows = 13, 3, 8, hiddenRecords
	hidden := 0
	rewrite(t, path, func(b []byte) []byte {
		for at := sqlite.PageBytes; at < len(b); at += sqlite.PageBytes {
			page := b[at : at+sqlite.PageBytes]
			if page[0] == leaf && page[cells] == 0 && page[cells+1] == rows {
				copy(page[header:], page[header+2:header+2*rows])
				page[cells+1]--
				hidden++
			}
		}
		return b
	})
	if hidden != 1 {
		t.Fatalf("%d pages have %d rows", hidden, rows)
	}
}
