package queue

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// TestQueue_Backup copies a queue while records are appended. What was answered
// before the backup began is in it, and the copy starts.
func TestQueue_Backup(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	for i := range 20 {
		accepted(t, q, large(10*i, 10))
	}
	to := filepath.Join(t.TempDir(), "backup.db")
	var done edge.Backup
	var err error
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		done, err = q.Backup(t.Context(), to)
	}()
	for i, more := 20, true; more; i++ {
		accepted(t, q, large(10*i, 10))
		select {
		case <-finished:
			more = false
		default:
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || done.Path != to || done.Records < 200 || done.Bytes != info.Size() || info.Mode().Perm() != 0o600 {
		t.Errorf("got %+v, %v, %v", done, info, err)
	}
	if names := leftBeside(t, to); len(names) != 1 {
		t.Errorf("%v is left beside the backup", names)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	if _, err := queuefile.Restore(t.Context(), sqlite.Disk{}, to, path, false, Renew); err != nil {
		t.Fatal(err)
	}
	restored, end := run(t, Settings{Path: path})
	defer end()
	if got := int64(len(leaseAll(t, restored, 1))); got != done.Records {
		t.Errorf("leased %d of %d", got, done.Records)
	}
	expectBalance(t, restored, done.Records)
}

func TestQueue_Backup_Refused(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	accepted(t, q, large(0, 10))
	folder := t.TempDir()
	taken := filepath.Join(folder, "taken.db")
	if err := os.WriteFile(taken, []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(to string, want edge.Code) {
		t.Helper()
		_, err := q.Backup(t.Context(), to)
		if failure, ok := errors.AsType[*edge.Error](err); !ok || failure.Code != want || failure.Hint == "" {
			t.Errorf("%s: got %v, want %v, with a hint", to, err, want)
		}
	}
	refused("backup.db", edge.Invalid)
	refused(q.settings.Path+".salvaged", edge.Invalid)
	alias := filepath.Join(folder, "alias") // a start would take the backup for the rest of a compaction
	if err := os.Symlink(filepath.Dir(q.settings.Path), alias); err != nil {
		t.Fatal(err)
	}
	refused(filepath.Join(alias, "queue.db.compacted"), edge.Invalid)
	refused(filepath.Join(alias, "QUEUE.DB.compacted"), edge.Invalid)
	refused(filepath.Join(folder, "none", "backup.db"), edge.Invalid)
	refused(taken, edge.Precondition)
	to := filepath.Join(folder, "backup.db")
	q.backups.making.Lock()
	refused(to, edge.Precondition)
	q.backups.making.Unlock()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if done, err := q.Backup(cancelled, to); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: got %+v, %v", done, err)
	}
	damage(t, q, 1)
	refused(to, edge.Precondition)
	stop()
	refused(to, edge.Stopping)
	if names := leftBeside(t, to); !slices.Equal(names, []string{"alias", "taken.db"}) {
		t.Errorf("%v is left", names)
	}
	if content, err := os.ReadFile(taken); err != nil || string(content) != "something" {
		t.Errorf("a file that was there is %q now, %v", content, err)
	}
}

// A copy of a stopped queue gets none of the names either under which a start takes
// a file for its own, whatever the folder is called.
func TestBackupFile_Refused(t *testing.T) {
	_, path := backedUp(t)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(filepath.Dir(path), alias); err != nil {
		t.Fatal(err)
	}
	own := filepath.Base(path)
	for _, to := range []string{path + "-wal", path + ".building", filepath.Join(alias, own+".compacted"), filepath.Join(alias, ".", own+".restored")} {
		if _, err := queuefile.BackupFile(t.Context(), sqlite.Disk{}, path, to); !errors.Is(err, queuefile.ErrOwnName) {
			t.Errorf("%s: got %v", to, err)
		}
		if isThere(t, to) {
			t.Errorf("%s was made", to)
		}
	}
	beside := filepath.Join(alias, "copy.db")
	if _, err := queuefile.BackupFile(t.Context(), sqlite.Disk{}, path, beside); err != nil {
		t.Errorf("another name in the same folder: %v", err)
	}
}

// What a backup is written to does not answer, as a network mount may do. The log says
// so while it lasts; afterwards the backup has been given up, and the next one is made.
func TestQueue_Backup_Stuck(t *testing.T) { synctest.Test(t, backupStuckAtTarget) }

func backupStuckAtTarget(t *testing.T) {
	const stuck = time.Hour
	disk := simulated(t, 0)
	observer, log := observe.NewDiscard(), make(lines, 100)
	observer.Log = slog.New(slog.NewTextHandler(log, nil))
	settings := simulatedSettings(disk)
	q, cancel, done := Begin(t, settings, observer, SinkSpec{Name: "sink-1", Kind: "test"})
	accepted(t, q, large(0, 10))
	to := filepath.Join(filepath.Dir(settings.Path), "copies", "backup.db")
	if file, err := settings.Disk.Open(to+"-before", os.O_RDWR|os.O_CREATE); err != nil || file.Close() != nil {
		t.Fatal(err)
	}
	disk.Inject(simdisk.Fault{Calls: simdisk.Write, Path: "backup.db.building", Times: 1, Delay: stuck})
	began, ended := time.Now(), make(chan error)
	ctx, giveUp := context.WithTimeout(t.Context(), time.Second)
	defer giveUp()
	go func() {
		_, err := q.Backup(ctx, to)
		ended <- err
	}()
	said := <-log
	for !strings.Contains(said, "does not answer") {
		said = <-log
	}
	if after := time.Since(began); after != time.Second+backupStuck || !strings.Contains(said, to) {
		t.Errorf("after %v: %s", after, said)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) < stuck {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if _, err := q.Backup(t.Context(), to); err != nil {
		t.Errorf("the next one: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// lines is what was logged, line by line.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// A backup gives way before the WAL, which grows while it is made, takes room that
// records need.
func TestQueue_Backup_GivesWay(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: 16 << 20})
	defer stop()
	accepted(t, q, large(0, 10))
	if allowed := q.backupAllowance(); allowed < 4<<20 || allowed > 8<<20 {
		t.Errorf("the WAL may take %d bytes of 16 MiB", allowed)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	q.bounds.walHard = -100 << 20 // as if it had grown
	q.watchBackup(ctx, cancel)
	failure, ok := errors.AsType[*edge.Error](backupError(ctx, ctx.Err()))
	if !ok || failure.Code != edge.Precondition || failure.Hint == "" {
		t.Errorf("got %v", failure)
	}
}
