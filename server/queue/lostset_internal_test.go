package queue

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// TestRepair_LostSet loses the row that says which sinks records are owed to. All that
// were served while they came get them: neither a sink that came later, nor one that
// had been removed by then and would keep them for nobody.
func TestRepair_LostSet(t *testing.T) {
	for name, test := range map[string]struct {
		damage string // to the file besides the set's row
		kept   bool
	}{
		"Mended":   {"UPDATE ledger SET counts_checksum = counts_checksum", false},
		"Salvaged": {"UPDATE frame SET body = zeroblob(length(body)) WHERE id = 7", true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			begin := func(names ...string) (*Queue, func()) {
				var specs []SinkSpec
				for _, name := range names {
					specs = append(specs, SinkSpec{Name: name, Kind: "test"})
				}
				q, cancel, done := Begin(t, Settings{Path: path}, observe.NewDiscard(), specs...)
				return q, func() {
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			}
			q, stop := begin("steady", "removed", "other")
			accepted(t, q, owedTo(large(0, 2), 1))       // the set that is lost
			accepted(t, q, owedTo(large(2, 1), 1, 2, 3)) // and one that is not
			stop()
			q, stop = begin("steady", "other", "newer")
			accepted(t, q, owedTo(large(3, 1), 1, 4))
			accepted(t, q, owedTo(large(4, 2), 1))
			accepted(t, q, owedTo(large(6, 1), 4))
			stop()

			inFile(t, path, "UPDATE owed SET checksum = checksum + 1 WHERE sinks = '1'")
			inFile(t, path, test.damage)
			done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
			if err != nil || done.SetsLost != 1 || test.kept != (done.Kept != "") {
				t.Fatalf("got %+v, %v", done, err)
			}
			q, stop = begin("steady", "other", "newer")
			defer stop()
			got := map[string]int64{}
			for _, sink := range q.Stats().Sinks {
				got[sink.Name] = sink.Pending
			}
			want := map[string]int64{"steady": 6, "removed": 1, "other": 3, "newer": 2} // the other one was done with the first two
			if test.kept {
				want["newer"] = 1
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]edge.Position{3, 5, 6}, PositionsOf(leaseAll(t, q, 3))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSalvage_LostSets loses all rows that say which sinks records are owed to, and two
// frames. One sink was away for a while. What it then gets although it was not owed it
// does not hide what it misses.
func TestSalvage_LostSets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	stored := 0
	session := func(specs []SinkSpec, owed ...edge.SinkID) {
		q, cancel, done := Begin(t, Settings{Path: path}, observe.NewDiscard(), specs...)
		for range 10 {
			accepted(t, q, owedTo(large(stored, 4), owed...))
			stored += 4
		}
		if stored == 40 {
			deliver(t, q, 4)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	session(flipSpecs, 1, 2)
	session(flipSpecs[:1], 1)
	session(flipSpecs, 1, 2)
	for name, test := range map[string]struct {
		gone, sets string
		want       map[edge.SinkID]holed
	}{
		"SetsAreThere": {"id IN (5, 9)", "id = 0", map[edge.SinkID]holed{1: {Due: 108, Lost: 8, First: 5, Last: 12}, 2: {Due: 72, Lost: 8, First: 5, Last: 12}}},
		"SetsAreLost":  {"id IN (5, 9)", "id > 0", map[edge.SinkID]holed{1: {Due: 108, Lost: 8, First: 5, Last: 12}, 2: {Due: 112, Lost: 8, First: 5, Last: 12}}},
		// What was stored while it was away counts as well: nobody knows better.
		"OfAllTimes":  {"id IN (5, 49)", "id > 0", map[edge.SinkID]holed{1: {Due: 108, Lost: 8, First: 5, Last: 52}, 2: {Due: 112, Lost: 8, First: 5, Last: 52}}},
		"FrontIsGone": {"id <= 37", "id > 0", map[edge.SinkID]holed{1: {Due: 80, Lost: 36, First: 5, Last: 120}, 2: {Due: 80, Lost: 40, First: 1, Last: 120}}},
		"NothingGone": {"id = 0", "id > 0", map[edge.SinkID]holed{1: {Due: 116}, 2: {Due: 120}}},
	} {
		t.Run(name, func(t *testing.T) {
			copied := Crashed(t, path)
			takeOut(t, copied, test.gone)
			inFile(t, copied, "UPDATE owed SET checksum = checksum + 1 WHERE "+test.sets)
			if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, copied); err != nil {
				t.Fatal(err)
			}
			if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, copied); err != nil || v.Found > 0 {
				t.Errorf("verify: %+v, %v", v.Problems, err)
			}
			expectHoled(t, copied, test.want)
		})
	}
}
