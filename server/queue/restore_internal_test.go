package queue

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// backedUp returns a running queue and a copy of it: six records, the first and
// third of them delivered, the second dead.
func backedUp(t *testing.T) (q *Queue, backup string) {
	t.Helper()
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	t.Cleanup(stop)
	for i := range 3 {
		accepted(t, q, large(2*i, 2))
	}
	leased := decideThree(t, q)
	q.Release(1, leased[3:])
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, large(6, 1)) // not counted yet in any row
	backup = filepath.Join(t.TempDir(), "backup.db")
	if err := q.db.Copy(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	return q, backup
}

// The gateway that a backup was made of goes on, and so does the restored one. No
// id is given by both, and everything that was stored before is there.
func TestRestore(t *testing.T) {
	original, backup := backedUp(t)
	given := map[edge.CorrelationID]bool{}
	note := func(entries []edge.Entry, q *Queue) {
		for _, reply := range answers(t, q, entries) {
			if reply.Err != nil || given[reply.Receipt.Correlation] {
				t.Errorf("%+v: an id that was given before, or none", reply)
			}
			given[reply.Receipt.Correlation] = true
		}
	}
	note(large(100, 20), original)
	path := filepath.Join(t.TempDir(), "data", "queue.db")
	restored, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, false, Renew)
	if err != nil {
		t.Fatal(err)
	}
	if restored.Found != 0 || restored.Records != 7 || restored.DeadLetters != 1 || restored.Kept != "" || restored.Path != path {
		t.Errorf("got %+v", restored)
	}
	q, stop := run(t, Settings{Path: path})
	defer stop()
	if diff := cmp.Diff([]edge.Position{4, 5, 6, 7}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
	note(large(200, 20), q)
	if got := leaseAll(t, q, 1); len(got) != 20 || got[0].Record.Position < 1<<39 || got[0].Record.Correlation.Log() == original.logs.Current {
		t.Errorf("leased %v", PositionsOf(got))
	}
	reply := answers(t, q, large(5, 1))[0] // its device has not heard the answer
	if journey, err := q.Journey(t.Context(), reply.Receipt.Correlation); err != nil || !reply.Receipt.Duplicate || journey.Record.Position != 6 {
		t.Errorf("got %+v, %v; want a duplicate of what the backup holds", reply, err)
	}
	if letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 10); err != nil || len(letters) != 1 {
		t.Errorf("dead letters %v, %v", letters, err)
	}
	expectBalance(t, q, 27)
	if stats := q.Stats(); stats.Accepted != 27 {
		t.Errorf("accepted %d, want 27", stats.Accepted)
	}
	if reach := q.window.reach(q.clock.now()); reach > time.Minute {
		t.Errorf("the window claims to know the last %v", reach)
	}
}

// What waits behind the positions that are skipped expires, and is removed, like
// anything else.
func TestRestore_Expires(t *testing.T) {
	_, backup := backedUp(t)
	path := filepath.Join(t.TempDir(), "queue.db")
	if _, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, false, Renew); err != nil {
		t.Fatal(err)
	}
	q, stop := run(t, Settings{Path: path})
	defer stop()
	accepted(t, q, large(50, 3))
	account := q.registry.all()[0]
	if err := q.giveUp(t.Context(), account, q.Head()+1, queuefile.LossReason{Kind: edge.LossExpired, Reason: edge.LossTTL}); err != nil {
		t.Fatal(err)
	}
	expectBalance(t, q, 10)
	if sink := q.Stats().Sinks[0]; sink.Expired != 7 || sink.Pending != 0 {
		t.Errorf("got %+v, want 7 expired", sink)
	}
}

// A program to which somebody has gone back restores the copy that was made before
// the migration, over a file that it cannot read. No position is used twice.
func TestRestore_OverNewerSchema(t *testing.T) {
	original, copied := backedUp(t)
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := original.db.Copy(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	migrated(t, path)
	if _, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard()); !queuefile.IsNewer(err) {
		t.Fatalf("got %v, want a newer file", err)
	}
	done, err := queuefile.Restore(t.Context(), sqlite.Disk{}, copied, path, true, Renew)
	if err != nil {
		t.Fatal(err)
	}
	if !isThere(t, done.Kept) {
		t.Errorf("what the newer program has stored is not kept: %q", done.Kept)
	}
	q, stop := run(t, Settings{Path: path})
	defer stop()
	accepted(t, q, large(50, 1))
	if got := PositionsOf(leaseAll(t, q, 1)); len(got) != 5 || got[4] < 1<<39 {
		t.Errorf("leased %v, want four from before and one far above", got)
	}
}

// migrated does to a file what a newer program would.
func migrated(t *testing.T, path string) {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		return errors.Join(conn.Exec("CREATE TABLE later(id INTEGER PRIMARY KEY)"), conn.Exec("PRAGMA user_version = 99"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRestore_Refused(t *testing.T) {
	_, backup := backedUp(t)
	t.Run("NotEmpty", func(t *testing.T) {
		path := stopped(t)
		before := filesOf(t, path)
		if done, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, false, Renew); !errors.Is(err, queuefile.ErrExists) {
			t.Errorf("got %+v, %v", done, err)
		}
		if diff := cmp.Diff(before, filesOf(t, path)); diff != "" {
			t.Error(diff)
		}
		done, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, true, Renew)
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(done.Kept); err != nil || string(kept) != before["queue.db"] {
			t.Errorf("%s is not the old queue: %v", done.Kept, err)
		}
	})
	t.Run("Damaged", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		damaged := filepath.Join(t.TempDir(), "backup.db")
		content, err := os.ReadFile(backup)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(damaged, content, 0o600); err != nil {
			t.Fatal(err)
		}
		damageIn(t, damaged, 3)
		done, err := queuefile.Restore(t.Context(), sqlite.Disk{}, damaged, path, false, Renew)
		if failure, ok := errors.AsType[*queuefile.DamagedError](err); !ok || failure.Verification.Found != 1 {
			t.Errorf("got %+v, %v; want a damaged backup", done, err)
		}
		if isThere(t, path) {
			t.Error("it was restored")
		}
	})
	t.Run("NoBackup", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		if done, err := queuefile.Restore(t.Context(), sqlite.Disk{}, path+".none", path, false, Renew); !errors.Is(err, fs.ErrNotExist) || isThere(t, path) {
			t.Errorf("got %+v, %v", done, err)
		}
	})
	t.Run("TooOften", func(t *testing.T) {
		path := stopped(t)
		db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
			var ledger queuefile.StoredLedger
			if _, err := conn.One(queuefile.SelectLedger, func(row sqlite.Row) { ledger = queuefile.ReadLedger(row) }); err != nil {
				return err
			}
			ledger.Counted, ledger.ReplayFrom = 1<<48-1, 1
			return ledger.Save(conn, false)
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if done, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, true, Renew); err == nil {
			t.Errorf("got %+v, and no position is left", done)
		}
	})
}
