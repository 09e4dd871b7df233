package queue

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// TestQueue_HiddenAtTheCursor hides the oldest frame, where a cursor is. No lane can
// tell that from what retention has removed. The ledger can, and a repair finds the
// frame again, or says that it is lost.
func TestQueue_HiddenAtTheCursor(t *testing.T) {
	const records = 7 // in one leaf, which no other table fills as far
	for name, test := range map[string]struct {
		hide func(t *testing.T, path string)
		want []edge.Position // after the repair
		lost int64
	}{
		"Hidden": {hideFirst, []edge.Position{1, 2, 3, 4, 5, 6, 7}, 0},
		"Gone": {func(t *testing.T, path string) {
			inFile(t, path, "UPDATE frame SET body = zeroblob(length(body)) WHERE id = 1") // nor in free space
			inFile(t, path, "DELETE FROM frame WHERE id = 1")
		}, []edge.Position{2, 3, 4, 5, 6, 7}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q, stop := run(t, Settings{Path: path})
			for i := range records {
				accepted(t, q, []edge.Entry{{Record: edgetest.Record("dev", i), Owed: []edge.SinkID{1}}})
			}
			stop()
			test.hide(t, path)
			q, stop = run(t, Settings{Path: path})
			recount, err := q.Recount(t.Context())
			if err != nil || !slices.Contains(recount.Mismatches, edge.LedgerMismatch{Account: "sink-1", Field: "pending_count", Counted: records, Recounted: records - 1}) {
				t.Errorf("the ledger balances: %+v, %v", recount, err)
			}
			stop()
			done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
			if err != nil || done.Found.Found == 0 || done.Lost != test.lost {
				t.Errorf("got %+v, %v", done, err)
			}
			q, stop = run(t, Settings{Path: path})
			defer stop()
			if diff := cmp.Diff(test.want, PositionsOf(leaseAll(t, q, 1))); diff != "" {
				t.Error(diff)
			}
			expectBalance(t, q, int64(len(test.want)))
		})
	}
}

// hideFirst takes the first of seven rows out of the list of the page that holds
// them, and leaves its bytes.
func hideFirst(t *testing.T, path string) {
	const leaf, cells, header, rows = 13, 3, 8, 7
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
