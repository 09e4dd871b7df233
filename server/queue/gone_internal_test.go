package queue

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// killedWithout returns the path of a queue that was killed with six records in its
// WAL, half of them in its file as well, and of which files were removed since.
func killedWithout(t *testing.T, suffixes ...string) string {
	t.Helper()
	q, stop := run(t, Settings{Path: t.TempDir() + "/queue.db"})
	defer stop()
	accepted(t, q, large(0, 3))
	if _, err := q.db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, large(3, 3))
	path := crashed(t, q)
	if err := os.WriteFile(path+sqlite.RunningSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range suffixes {
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestOpen_Removed starts where somebody has removed files after a kill. No position,
// and so no name of a batch and no correlation id, is given twice.
func TestOpen_Removed(t *testing.T) {
	for name, test := range map[string]struct {
		removed  []string
		known    bool
		want     []edge.Position // leased after the start
		above    bool
		salvaged int64 // which raises the alarm
	}{
		"Nothing":              {nil, true, []edge.Position{1, 2, 3, 4, 5, 6}, false, 0},
		"WAL":                  {[]string{"-wal"}, true, []edge.Position{1, 2, 3}, true, 1},
		"Everything":           {[]string{"-wal", "", sqlite.RunningSuffix}, true, nil, true, 1},
		"EverythingButTheMark": {[]string{"-wal", ""}, false, nil, true, 1},
		"NeverThere":           {[]string{"-wal", "", sqlite.RunningSuffix}, false, nil, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			settings := Settings{Path: killedWithout(t, test.removed...), Known: test.known}
			q, stop := run(t, settings)
			sink := q.registry.all()[0].id
			if got := PositionsOf(leaseAll(t, q, sink)); !slices.Equal(got, test.want) {
				t.Errorf("leased %v, want %v", got, test.want)
			}
			head, salvaged := q.Head(), q.ledger.read().Salvaged
			if above := head > 1<<39; above != test.above || salvaged != test.salvaged {
				t.Errorf("head %d, %d salvaged, want above %v and %d", head, salvaged, test.above, test.salvaged)
			}
			accepted(t, q, owedTo(large(20, 2), sink))
			if recount, err := q.Recount(t.Context()); err != nil || !recount.Balanced() {
				t.Errorf("recount: %+v, %v", recount, err)
			}
			stop()
			if found, err := queuefile.Verify(t.Context(), sqlite.Disk{}, settings.Path); err != nil || found.Found > 0 || len(found.Notes) > 0 {
				t.Errorf("verified %+v, %v", found, err)
			}
			q, stop = run(t, settings)
			defer stop()
			if q.Head() != head+2 {
				t.Errorf("a second start goes on behind %d, want %d", q.Head(), head+2)
			}
		})
	}
}

// TestOpen_RemovedAgain is a start that ended before it could do anything about it.
func TestOpen_RemovedAgain(t *testing.T) {
	path := killedWithout(t, "-wal")
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	killed := Crashed(t, path)
	mark, err := os.ReadFile(path + sqlite.RunningSuffix)
	if err != nil || os.WriteFile(killed+sqlite.RunningSuffix, mark, 0o600) != nil || db.Close() != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, killed} {
		q, stop := run(t, Settings{Path: path})
		if q.Head() < 1<<39 {
			t.Errorf("the next start goes on at %d", q.Head())
		}
		stop()
	}
}

// TestOperations_Removed looks at such a file, and does not make it look whole.
func TestOperations_Removed(t *testing.T) {
	path := killedWithout(t, "-wal")
	found, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
	if err != nil || len(found.Notes) != 1 {
		t.Errorf("verified %+v, %v", found, err)
	}
	before := leftBeside(t, path)
	if _, err := queuefile.Compact(t.Context(), sqlite.Disk{}, path); err == nil {
		t.Error("compacted")
	}
	if diff := cmp.Diff(before, leftBeside(t, path)); diff != "" {
		t.Error(diff)
	}
	if _, err := queuefile.Restore(t.Context(), sqlite.Disk{}, stopped(t), path, true, Renew); err != nil {
		t.Fatal(err)
	}
	if gone, err := sqlite.IsGone(sqlite.Disk{}, path); gone || err != nil {
		t.Errorf("what was restored is gone: %v, %v", gone, err)
	}
}
