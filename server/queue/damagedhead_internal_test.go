package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// waitingForTwo is a queue at rest, in which messages wait for two sinks.
func waitingForTwo(t *testing.T) *flipped {
	t.Helper()
	return atRest(t, func(q *Queue) { accepted(t, q, owedTo(large(0, 5), 1, 2)) })
}

// TestOpen_Heads changes what leads to the tables that a start needs. Each start serves
// everything, verify says what is wrong, and a repair before the start mends it too.
func TestOpen_Heads(t *testing.T) {
	const writeVersion, cells = 18, 4 // in the header of the file, and in the head of a page
	f := waitingForTwo(t)
	flip := func(table string, at int, mask byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			first := firstPages(t, path)[table] // 0 for the header of the file
			rewrite(t, path, func(b []byte) []byte { b[first+at] ^= mask; return b })
		}
	}
	for name, test := range map[string]struct {
		damage func(t *testing.T, path string)
		detail string
	}{
		"WriteVersion":   {flip("", writeVersion, 1<<2), "versions of the format are 6 and 2"},
		"LedgerRows":     {flip("ledger", cells, 1<<1), "more than one row"},
		"LedgerNoRow":    {flip("ledger", cells, 1<<0), "ledger: there is no row"},
		"SinkRowHidden":  {flip("sink", cells, 1<<1), "Fragmentation"},
		"SinksHidden":    {flip("sink", cells, 1<<1|1<<0), "Fragmentation"},
		"SinkRows":       {flip("sink", cells, 1<<3), "malformed"},
		"NameHidden":     {flip("sqlite_autoindex_sink_1", cells, 1<<1), "sqlite_autoindex_sink_1"},
		"SinkRowDeleted": {func(t *testing.T, path string) { inFile(t, path, "DELETE FROM sink WHERE id = 2") }, "sink 2 of 2 has no row"},
	} {
		for _, repaired := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "/Repaired", false: "/Started"}[repaired], func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "queue.db")
				if err := os.WriteFile(path, f.files[""], 0o600); err != nil {
					t.Fatal(err)
				}
				test.damage(t, path)
				if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); err != nil || v.Structural == 0 || !strings.Contains(fmt.Sprint(v.Problems), test.detail) {
					t.Errorf("verify: %+v, %v; want %q", v.Problems, err, test.detail)
				}
				if repaired {
					if _, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true); err != nil {
						t.Fatal(err)
					}
				}
				for _, waiting := range []int{5, 0} { // the second start has nothing to mend
					got := map[edge.SinkID]map[edge.Position]bool{1: {}, 2: {}}
					outcome, err := f.life(t, path, got)
					if outcome != "salvaged" || err != nil || len(f.reported) > 0 {
						t.Fatalf("%s, %v; %v are reported as lost", outcome, err, f.reported)
					}
					for sink := range got {
						if n := countBelow(got[sink], 6); n != waiting {
							t.Errorf("sink %d got %d, want %d", sink, n, waiting)
						}
					}
				}
				if salvaged := salvagedFiles(t, path); salvaged != 1 {
					t.Errorf("salvaged %d times", salvaged)
				}
			})
		}
	}
}

func countBelow(positions map[edge.Position]bool, end edge.Position) (count int) {
	for position := range positions {
		if position < end {
			count++
		}
	}
	return count
}

func salvagedFiles(t *testing.T, path string) int64 {
	t.Helper()
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	salvaged := q.ledger.read().Salvaged
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return salvaged
}

// TestOpen_HeaderInWAL damages the header in the database while the WAL holds a newer
// one: that is what SQLite reads, so nothing has to be done about it.
func TestOpen_HeaderInWAL(t *testing.T) {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	accepted(t, q, owedTo(large(0, 5), 1, 2))
	if _, err := q.db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, owedTo(large(5, 50), 1, 2)) // the file grows, which page 1 says
	path := crashed(t, q)
	rewrite(t, path, func(b []byte) []byte { b[18] ^= 4; return b })
	if salvaged := salvagedFiles(t, path); salvaged != 0 {
		t.Errorf("salvaged %d times", salvaged)
	}
	if content, err := os.ReadFile(path); err != nil || content[18] != 2 {
		t.Errorf("the header says %d after the start, %v", content[18], err)
	}
}

// TestQueue_EnsureSinksMarksDamage: a name is stored that no start
// has read. Nothing runs yet that would mark the file, and the next start looks at it.
func TestQueue_EnsureSinksMarksDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	err = q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		hidden := queuefile.StoredSink{ID: 7, Name: "sink-1", Kind: "test"}
		return hidden.Insert(conn)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = q.EnsureSinks(t.Context(), flipSpecs)
	if !errors.Is(err, queuefile.ErrRow) || !strings.Contains(err.Error(), "docs/runbooks/damaged-queue.md") || !isThere(t, path+".suspect") {
		t.Errorf("got %v; want a mark for the next start, and what to do", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
