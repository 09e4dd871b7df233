package queue

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// orphaned returns the path of a queue that was killed, with six records, and
// whose file is as a test leaves it beside its WAL.
func orphaned(t *testing.T, spoil func(path string) error) (path string) {
	t.Helper()
	q, stop := run(t, Settings{Path: t.TempDir() + "/queue.db"})
	defer stop()
	for i := range 3 {
		accepted(t, q, large(2*i, 2))
	}
	path = crashed(t, q)
	if err := spoil(path); err != nil {
		t.Fatal(err)
	}
	return path
}

var orphans = map[string]func(path string) error{
	"Empty": func(path string) error { return os.Truncate(path, 0) }, // what a copy or an fsck that broke off leaves
	"Gone":  os.Remove,
}

// TestOpen_WALAlone starts on a WAL whose database is empty or gone: everything that
// lies in the WAL is served.
func TestOpen_WALAlone(t *testing.T) {
	for name, spoil := range orphans {
		t.Run(name, func(t *testing.T) {
			path := orphaned(t, spoil)
			q, stop := run(t, Settings{Path: path})
			defer stop()
			if got := PositionsOf(leaseAll(t, q, q.registry.all()[0].id)); !slices.Equal(got, []edge.Position{1, 2, 3, 4, 5, 6}) {
				t.Errorf("leased %v, want all six", got)
			}
			if q.ledger.read().Salvaged != 1 || q.Head() < 1<<20 {
				t.Errorf("ledger %+v, head %d: want a salvaged file that goes on far above", q.ledger.read(), q.Head())
			}
			if kept := path + ".damaged-spent-1"; !isThere(t, kept) || !isThere(t, kept+"-wal") {
				t.Errorf("there are %v, want the old file and its WAL kept", leftBeside(t, path))
			}
		})
	}
}

// TestOperations_WALAlone looks at such files, and repairs them.
func TestOperations_WALAlone(t *testing.T) {
	for name, spoil := range orphans {
		t.Run(name, func(t *testing.T) {
			path := orphaned(t, spoil)
			before := leftBeside(t, path)
			found, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
			if err != nil || found.Structural != 1 || found.WALBytes == 0 {
				t.Errorf("verified %+v, %v", found, err)
			}
			if _, err := queuefile.BackupFile(t.Context(), sqlite.Disk{}, path, t.TempDir()+"/copy.db"); !queuefile.IsDamage(err) {
				t.Errorf("backed up with %v", err)
			}
			if _, err := queuefile.Compact(t.Context(), sqlite.Disk{}, path); !isDamaged(err) {
				t.Errorf("compacted with %v", err)
			}
			if _, err := queuefile.Restore(t.Context(), sqlite.Disk{}, stopped(t), path, false, Renew); !errors.Is(err, queuefile.ErrExists) {
				t.Errorf("restored with %v", err)
			}
			for _, apply := range []bool{false, true} {
				if diff := cmp.Diff(before, leftBeside(t, path)); diff != "" {
					t.Error(diff)
				}
				done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, apply)
				if err != nil || done.Records != 6 || done.Lost != 0 || !done.Complete {
					t.Errorf("repaired %+v, %v", done, err)
				}
			}
			if found, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); err != nil || found.Found > 0 || found.Records != 6 {
				t.Errorf("verified %+v, %v", found, err)
			}
		})
	}
}

func isDamaged(err error) bool {
	_, damaged := errors.AsType[*queuefile.DamagedError](err)
	return damaged
}
