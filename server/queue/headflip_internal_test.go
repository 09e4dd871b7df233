package queue

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
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

// headPlace is a byte of a file that is at rest, and what it belongs to.
type headPlace struct {
	name string
	at   int
}

// headPlaces lists the first eight bytes of the first page of each table and index,
// which say where its rows are, and what the file says of its pages and versions.
func headPlaces(t *testing.T, content []byte) (places []headPlace) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	const bytesOfHead, header, schema = 8, 16, 100
	first := firstPages(t, path)
	first["the header"], first["sqlite_schema"] = header, schema
	for _, name := range slices.Sorted(maps.Keys(first)) {
		for n := range bytesOfHead {
			places = append(places, headPlace{name, first[name] + n})
		}
	}
	return places
}

// TestOpen_HeadFlips is TestOpen_Flips for a file at rest and the bits that lead to
// everything else, where one bit can hide a whole table: some of them, and all when
// -flips is raised. What waits is little, for one sink of two. None of it was hit.
func TestOpen_HeadFlips(t *testing.T) {
	f := atRest(t, func(q *Queue) {
		for commit := range 12 {
			entries := large(2*commit, 1+commit%2)
			for i := range entries {
				entries[i].Owed = [][]edge.SinkID{{1, 2}, {2}, {1, 2}, {1}}[(commit+i)%4]
				entries[i].Record.Payload = entries[i].Record.Payload[:100*commit+50]
			}
			accepted(t, q, entries)
		}
		if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: decideThree(t, q)[3:]}); err != nil {
			t.Fatal(err)
		}
		refusal := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "metrics", "too many")
		answers(t, q, []edge.Entry{{Record: edgetest.Record("dev-1", 99), Refusal: refusal}})
	})
	f.ranges = nil
	if len(f.waiting[1]) > 0 || len(f.waiting[2]) == 0 {
		t.Fatalf("%d and %d wait", len(f.waiting[1]), len(f.waiting[2]))
	}
	places := headPlaces(t, f.files[""])
	bits := len(places) * 8
	random := rand.New(rand.NewPCG(*flipSeed, 0))
	chosen := random.Perm(bits)
	if *flips <= flipsDefault {
		chosen = chosen[:min(bits, *flips)]
	}
	t.Logf("%d of %d bits, seed %d; %d messages, %d wait", len(chosen), bits, *flipSeed, len(f.payloads), len(f.waiting[2]))
	outcomes, folder := map[string]int{}, t.TempDir()
	for _, n := range chosen {
		place, bit := places[n/8], n%8
		outcome, err := f.serve(t, filepath.Join(folder, fmt.Sprint(n)), "", place.at, bit)
		if err != nil {
			t.Errorf("bit %d of byte %d, %s: %v", bit, place.at%sqlite.PageBytes, place.name, err)
		}
		outcomes[outcome]++
	}
	t.Logf("%v; %d reported as lost and not missing", outcomes, f.tooMany)
}
