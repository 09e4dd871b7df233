package queue

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// holed is what the holes of a file have cost one sink: what is due, and what the
// loss report says.
type holed struct {
	Due, Lost   int64
	First, Last edge.Position // of the loss
}

// halved returns the path of a queue that was killed: twenty frames of one record,
// owed to whom set says. Sink 1 has the first fifteen; the row of sink 2, which is
// away, was never saved.
func halved(t *testing.T, set func(position int) []edge.SinkID) string {
	t.Helper()
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	for i := range 20 {
		accepted(t, q, owedTo(large(i, 1), set(i+1)...))
		if i == 14 {
			deliver(t, q, 15)
			if err := q.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return crashed(t, q)
}

func bothSinks(int) []edge.SinkID { return []edge.SinkID{1, 2} }

// takeOut removes frames as damage does, of which nothing is left in free space.
func takeOut(t *testing.T, path, which string) {
	t.Helper()
	inFile(t, path, "UPDATE frame SET body = zeroblob(length(body)) WHERE "+which)
	inFile(t, path, "DELETE FROM frame WHERE "+which)
}

// TestSalvage_Holes makes a new file of one in which messages are in no frame any
// more. Each sink loses those that it may have been owed, also where its row, saved
// before, does not count them, and no others.
func TestSalvage_Holes(t *testing.T) {
	for name, test := range map[string]struct {
		set   func(position int) []edge.SinkID
		spoil func(t *testing.T, path string)
		want  map[edge.SinkID]holed
	}{
		"CountedByOne": {bothSinks, func(t *testing.T, path string) { takeOut(t, path, "id IN (5, 12)") }, map[edge.SinkID]holed{
			1: {Due: 5}, 2: {Due: 18, Lost: 2, First: 5, Last: 12},
		}},
		"CountedByNone": {bothSinks, func(t *testing.T, path string) { takeOut(t, path, "id BETWEEN 17 AND 18") }, map[edge.SinkID]holed{
			1: {Due: 3, Lost: 2, First: 17, Last: 18}, 2: {Due: 18, Lost: 2, First: 17, Last: 18},
		}},
		"SetIsKnown": {
			func(int) []edge.SinkID { return []edge.SinkID{1} },
			func(t *testing.T, path string) { damageIn(t, path, 17) },
			map[edge.SinkID]holed{1: {Due: 4, Lost: 1, First: 17, Last: 17}, 2: {}},
		},
		"LastIsDamaged": {bothSinks, func(t *testing.T, path string) { damageIn(t, path, 20) }, map[edge.SinkID]holed{
			1: {Due: 4, Lost: 1, First: 20, Last: 20}, 2: {Due: 19, Lost: 1, First: 20, Last: 20},
		}},
		"FrontIsGone": {bothSinks, func(t *testing.T, path string) { takeOut(t, path, "id <= 3") }, map[edge.SinkID]holed{
			1: {Due: 5}, 2: {Due: 17, Lost: 3, First: 1, Last: 3},
		}},
		"KnownLast": {bothSinks, func(t *testing.T, path string) { takeOut(t, path, "id > 14") }, map[edge.SinkID]holed{
			1: {}, 2: {Due: 14, Lost: 1, First: 15, Last: 15}, // what came later is not known to anybody
		}},
		"ElsewhereByDamage": {bothSinks, func(t *testing.T, path string) { inFile(t, path, "UPDATE frame SET id = 1 << 40 WHERE id = 9") }, map[edge.SinkID]holed{
			1: {Due: 5}, 2: {Due: 19, Lost: 1, First: 9, Last: 9},
		}},
		"CountersUnsure": {bothSinks, func(t *testing.T, path string) {
			takeOut(t, path, "id = 12")
			inFile(t, path, "UPDATE sink SET owed = 77 WHERE id = 2")
		}, map[edge.SinkID]holed{1: {Due: 5}, 2: {Due: 19, Lost: 1, First: 12, Last: 12}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := halved(t, test.set)
			test.spoil(t, path)
			if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, path); err != nil {
				t.Fatal(err)
			}
			expectHoled(t, path, test.want)
		})
	}
}

// expectHoled starts on a file, and looks at what every sink gets and has lost.
func expectHoled(t *testing.T, path string, want map[edge.SinkID]holed) {
	t.Helper()
	q, stop := run(t, Settings{Path: path})
	defer stop()
	if _, err := q.EnsureSinks(t.Context(), flipSpecs); err != nil {
		t.Fatal(err)
	}
	got := map[edge.SinkID]holed{}
	for _, sink := range []edge.SinkID{1, 2} {
		account := q.registry.all()[sink-1]
		got[sink] = holed{Due: int64(len(leaseAll(t, q, account.id)))}
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, loss := range losses {
		known := got[loss.Sink]
		if known.Lost > 0 || loss.Kind != edge.LossQuarantined {
			t.Errorf("also lost: %+v", loss)
		}
		known.Lost, known.First, known.Last = loss.Count, loss.First, loss.Last
		got[loss.Sink] = known
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	recount, err := q.Recount(t.Context())
	if err != nil || !recount.Balanced() {
		t.Errorf("recount: %+v, %v", recount, err)
	}
}

// TestSalvage_Holes_SavedByCheckpoints makes a new file of one whose second sink has
// decided nothing, so that only checkpoints have saved its row. It loses what it was owed
// where the holes are, and not all that they may have held.
func TestSalvage_Holes_SavedByCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, stored := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: 8 << 20}), 0
		store := func() {
			stored++
			sinks := []edge.SinkID{1, 2}
			accepted(t, q, owedTo(random(stored, 1), sinks[:2-stored%2]...))
		}
		for range 2 {
			for written := int64(0); written < q.bounds.walSoft; written += 4000 {
				store()
			}
			<-time.After(2 * saveInterval)
			store() // nothing is saved without a commit
		}
		if counted := rowsCount(t, q)[2]; counted < 8 {
			t.Fatalf("the row of sink 2 counts up to %d of %d", counted, stored)
		}
		path := crashed(t, q)
		takeOut(t, path, "id BETWEEN 5 AND 7")
		if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, path); err != nil {
			t.Fatal(err)
		}
		expectHoled(t, path, map[edge.SinkID]holed{
			1: {Due: int64(stored) - 3, Lost: 3, First: 5, Last: 7}, 2: {Due: int64(stored)/2 - 1, Lost: 1, First: 5, Last: 7},
		})
	})
}

// TestSalvage_Holes_Explained makes a new file of one that has holes for reasons:
// nobody loses anything by them again.
func TestSalvage_Holes_Explained(t *testing.T) {
	path := halved(t, bothSinks)
	damageIn(t, path, 17)
	for range 3 { // found by the lanes of the first start, and a hole for each later one
		expectHoled(t, path, map[edge.SinkID]holed{
			1: {Due: 4, Lost: 1, First: 17, Last: 17}, 2: {Due: 19, Lost: 1, First: 17, Last: 17},
		})
		if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpen_ReplayMeetsAHole starts on a file that has lost frames which no row of a
// sink counts yet. To count the others only would hide the loss from every later look.
func TestOpen_ReplayMeetsAHole(t *testing.T) {
	path := halved(t, bothSinks)
	takeOut(t, path, "id BETWEEN 17 AND 18")
	expectHoled(t, path, map[edge.SinkID]holed{
		1: {Due: 3, Lost: 2, First: 17, Last: 18}, 2: {Due: 18, Lost: 2, First: 17, Last: 18},
	})
}

// TestSalvage_Holes_SinksLost makes a new file of one whose rows of sinks are gone, and
// messages, too. Which sinks have lost them nobody knows, so it stands under _ingress.
func TestSalvage_Holes_SinksLost(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  holed
	}{
		"InTheMiddle": {func(t *testing.T, path string) { takeOut(t, path, "id IN (5, 17)") }, holed{Due: 18, Lost: 2, First: 5, Last: 17}},
		"InFront":     {func(t *testing.T, path string) { takeOut(t, path, "id < 4") }, holed{Due: 17, Lost: 3, First: 1, Last: 3}},
		"Nothing":     {func(*testing.T, string) {}, holed{Due: 20}},
		"LedgerToo": {func(t *testing.T, path string) {
			takeOut(t, path, "id < 4")
			inFile(t, path, "DELETE FROM ledger")
		}, holed{Due: 17, Lost: 1, First: 1, Last: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			damaged := halved(t, bothSinks)
			test.spoil(t, damaged)
			inFile(t, damaged, "DELETE FROM sink")
			path := withoutFree(t, damaged)
			if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, path); err != nil {
				t.Fatal(err)
			}
			q, stop := run(t, Settings{Path: path})
			defer stop()
			got := holed{Due: int64(len(leaseAll(t, q, q.registry.all()[0].id)))}
			losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, loss := range losses {
				if loss.Sink != edge.Ingress || len(losses) > 1 {
					t.Errorf("lost: %+v", loss)
				}
				got.Lost, got.First, got.Last = loss.Count, loss.First, loss.Last
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// withoutFree copies a file without what lies in free space.
func withoutFree(t *testing.T, path string) (copied string) {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	copied = filepath.Join(t.TempDir(), "queue.db")
	if err := errors.Join(db.Copy(t.Context(), copied), db.Close()); err != nil {
		t.Fatal(err)
	}
	return copied
}
