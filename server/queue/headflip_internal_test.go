package queue

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// atRest fills a queue with two sinks, and stops it in an orderly way.
func atRest(t *testing.T, fill func(q *Queue)) *flipped {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, cancel, done := Begin(t, Settings{Path: path}, observe.NewDiscard(), flipSpecs...)
	fill(q)
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newUnknown()
	f.know(t, q)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.files = map[string][]byte{"": content}
	return f
}

// firstPages returns where in the file the first page of each table and index begins.
func firstPages(t *testing.T, path string) map[string]int {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	offsets := map[string]int{}
	err = db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0", func(row sqlite.Row) error {
			offsets[row.Text(0)] = int(row.Int(1)-1) * sqlite.PageBytes
			return nil
		})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return offsets
}

// TestOpen_LostSets loses rows that say which sinks records are owed to, also where
// what a start reads does not name them. Every sink gets what it was owed: that and
// no more where the rows are only hidden, and all that it may have been owed where
// they are gone. Verify says so before.
func TestOpen_LostSets(t *testing.T) {
	const countAt, sets = 4, 3 // of the rows, in the head of a page
	f := atRest(t, func(q *Queue) {
		for i, sinks := range [][]edge.SinkID{{1, 2}, {1}, {2}, {2}, {1}, {1, 2}} {
			accepted(t, q, owedTo(large(i, 1), sinks...))
		}
	})
	rows := func(count byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			at := firstPages(t, path)["owed"] + countAt
			rewrite(t, path, func(b []byte) []byte {
				if b[at] != sets {
					t.Fatalf("the page has %d rows", b[at])
				}
				b[at] = count
				return b
			})
		}
	}
	without := func(statement string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { inFile(t, path, statement) }
	}
	exactly := [][]edge.Position{{1, 2, 5, 6}, {1, 3, 4, 6}}
	for name, test := range map[string]struct {
		damage func(t *testing.T, path string)
		want   [][]edge.Position // of each sink
	}{
		"AllHidden":  {rows(0), exactly},
		"TwoHidden":  {rows(1), exactly},
		"LastHidden": {rows(2), exactly},
		"TooMany":    {rows(7), exactly},
		"AllGone":    {without("DELETE FROM owed"), [][]edge.Position{{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}}},
		"LastGone":   {without("DELETE FROM owed WHERE id = 3"), [][]edge.Position{{1, 2, 3, 4, 5, 6}, {1, 3, 4, 6}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			if err := os.WriteFile(path, f.files[""], 0o600); err != nil {
				t.Fatal(err)
			}
			test.damage(t, path)
			if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); err != nil || v.Structural == 0 {
				t.Errorf("verify: %+v, %v", v, err)
			}
			got := map[edge.SinkID]map[edge.Position]bool{1: {}, 2: {}}
			if outcome, err := f.starts(t, path, got); err != nil || outcome != "salvaged" {
				t.Fatalf("%s, %v", outcome, err)
			}
			for i, want := range test.want {
				if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got[edge.SinkID(i+1)]))); diff != "" {
					t.Errorf("sink %d: %s", i+1, diff)
				}
			}
			if len(f.reported) > 0 {
				t.Errorf("%v are reported as lost", f.reported)
			}
		})
	}
}
