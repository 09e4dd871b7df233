package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

const onDisk = "/data/notes.db"

// newDisk makes a disk that goes with the test.
func newDisk(t testing.TB, settings simdisk.Settings) *simdisk.Disk {
	t.Helper()
	disk := simdisk.New(settings)
	t.Cleanup(func() { bury(disk); disk.Close() })
	return disk
}

// bury gives back the memory of a process that is over. Its connections fail to
// close in order, as they must.
func bury(disk *simdisk.Disk) {
	disk.Kill()
	_ = disk.Bury()
}

// openOn opens the notes on a disk.
func openOn(t testing.TB, disk sqlite.Disk) (*sqlite.DB, error) {
	return sqlite.Open(t.Context(), sqlite.Settings{Path: onDisk, Migrations: notes, Disk: disk})
}

// mustOpenOn opens the notes on a disk that works.
func mustOpenOn(t testing.TB, disk *simdisk.Disk) *sqlite.DB {
	t.Helper()
	db, err := openOn(t, disk.Port())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// unclean writes notes and kills the process, the last time after a sync failed.
// It returns what was committed.
func unclean(t *testing.T, disk *simdisk.Disk) []string {
	t.Helper()
	db := mustOpenOn(t, disk)
	committed := []string{"first"}
	for i := range 4 {
		text := fmt.Sprintf("note %d", i)
		err := db.Write(t.Context(), func(conn *sqlite.Conn) error {
			return conn.Exec("INSERT INTO note(text, body) VALUES(?, zeroblob(?))", text, int64(3000*i))
		})
		if err != nil {
			t.Fatal(err)
		}
		committed = append(committed, text)
	}
	disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "-wal", Times: 1, Err: syscall.EIO})
	if err := db.Write(t.Context(), insert("ghost")); err == nil {
		t.Fatal("a commit succeeded whose sync failed")
	}
	disk.Heal()
	bury(disk)
	return committed
}

// TestOpen_DurabilityUnknown restarts after a failed sync and cuts the power:
// what the restarted process could read must still be there.
func TestOpen_DurabilityUnknown(t *testing.T) {
	lost := func(t *testing.T, seed uint64, mutate func(*simdisk.Disk) sqlite.Disk) (ghost, lost bool) {
		disk := newDisk(t, simdisk.Settings{Seed: seed})
		committed := unclean(t, disk)
		db, err := openOn(t, mutate(disk))
		if err != nil {
			t.Fatal(err)
		}
		before := texts(t, db)
		if diff := cmp.Diff(committed, before[:min(len(committed), len(before))]); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
		disk.Heal()
		disk.Cut(simdisk.AnySurvival)
		return len(before) > len(committed), len(texts(t, mustOpenOn(t, disk))) < len(before)
	}

	for name, test := range map[string]struct {
		mutate func(*simdisk.Disk) sqlite.Disk
		loses  bool
	}{
		"NothingThatWasRead": {func(disk *simdisk.Disk) sqlite.Disk { return disk.Port() }, false},
		"MutantNoRewrite": {func(disk *simdisk.Disk) sqlite.Disk {
			port := disk.Port()
			port.Files = noWAL{port.Files}
			return port
		}, true},
		"MutantFolderNotSynced": {func(disk *simdisk.Disk) sqlite.Disk {
			disk.Inject(simdisk.Fault{Calls: simdisk.SyncFolder, Lie: true})
			return disk.Port()
		}, true},
		"MutantContentNotSynced": {func(disk *simdisk.Disk) sqlite.Disk {
			disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "-wal.new", Lie: true})
			return disk.Port()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ghosts, losses := 0, 0
			for seed := range uint64(50) {
				ghost, lost := lost(t, seed, test.mutate)
				if ghost {
					ghosts++
				}
				if lost {
					losses++
				}
			}
			if ghosts == 0 || (losses > 0) != test.loses {
				t.Errorf("%d of 50 starts read a commit whose sync had failed, %d lost it; want losses: %v", ghosts, losses, test.loses)
			}
		})
	}
}

// noWAL hides the WAL from everybody but SQLite: nothing is written anew.
type noWAL struct{ sqlite.Files }

func (f noWAL) Stat(path string) (sqlite.Stat, error) {
	if strings.HasSuffix(path, "-wal") {
		return sqlite.Stat{}, fs.ErrNotExist
	}
	return f.Files.Stat(path)
}

// TestOpen_PowerCut cuts the power at every moment of a start after a failed sync.
func TestOpen_PowerCut(t *testing.T) {
	for seed := range uint64(5) {
		disk := newDisk(t, simdisk.Settings{Seed: seed})
		committed := unclean(t, disk)
		disk.Record()
		mustOpenOn(t, disk)
		replay := disk.History().Replay(seed)
		for more := true; more; more = replay.Next() {
			for _, survives := range simdisk.Survivals() {
				state := newDisk(t, simdisk.Settings{Files: replay.Crash(survives)})
				found := texts(t, mustOpenOn(t, state))
				if len(found) > len(committed) {
					found = found[:len(committed)]
				}
				if diff := cmp.Diff(committed, found); diff != "" {
					t.Fatalf("seed %d, after %d changes, %s survives: %s", seed, replay.Now(), survives, diff)
				}
				bury(state)
			}
		}
	}
}

// TestOpen_Faults lets every single call of a start fail.
func TestOpen_Faults(t *testing.T) {
	for _, failure := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		failed := 0
		for nth := 0; ; nth++ {
			disk := newDisk(t, simdisk.Settings{Seed: uint64(nth)})
			committed := unclean(t, disk)
			before := len(disk.Fired())
			disk.Inject(simdisk.Fault{Calls: simdisk.AnyCall, Skip: nth, Times: 1, Err: failure, Short: true})
			if _, err := openOn(t, disk.Port()); err != nil {
				failed++
			}
			struck := len(disk.Fired()) > before
			disk.Heal()
			disk.Cut(simdisk.AnySurvival)
			if diff := cmp.Diff(committed, texts(t, mustOpenOn(t, disk))[:len(committed)]); diff != "" {
				t.Fatalf("call %d fails with %v: %s", nth, failure, diff)
			}
			if !struck {
				break
			}
		}
		if failed == 0 {
			t.Errorf("no start failed with %v", failure)
		}
	}
}

// TestOpen_FlippedRead lets every single read of a start return one wrong bit. What
// was committed must be there for the next start, whatever becomes of this one.
func TestOpen_FlippedRead(t *testing.T) {
	failed := 0
	for nth, struck := 0, true; struck; nth++ {
		for seed := range uint64(3) {
			disk := newDisk(t, simdisk.Settings{Seed: 1000*seed + uint64(nth)})
			committed := unclean(t, disk)
			before := len(disk.Fired())
			disk.Inject(simdisk.Fault{Calls: simdisk.Read, Skip: nth, Times: 1, Flip: true})
			if _, err := openOn(t, disk.Port()); err != nil {
				failed++
			}
			struck = len(disk.Fired()) > before
			disk.Heal()
			bury(disk)
			found := texts(t, mustOpenOn(t, disk))
			if diff := cmp.Diff(committed, found[:min(len(committed), len(found))]); diff != "" {
				t.Fatalf("a bit of read %d is wrong: %s", nth, diff)
			}
			bury(disk)
		}
	}
	if failed == 0 {
		t.Error("no start failed")
	}
}

// TestOpen_FullDisk starts without room for a second WAL.
func TestOpen_FullDisk(t *testing.T) {
	disk := newDisk(t, simdisk.Settings{Seed: 2, Capacity: 1 << 20})
	committed := unclean(t, disk)
	disk.SetCapacity(disk.UsedBytes())
	before := texts(t, mustOpenOn(t, disk))
	disk.Cut(simdisk.Nothing)
	if diff := cmp.Diff(before, texts(t, mustOpenOn(t, disk))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(committed, before[:len(committed)]); diff != "" {
		t.Error(diff)
	}
}

func TestOpen_InUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.db")
	first := open(t, sqlite.Settings{Path: path, Migrations: notes})
	_, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: notes})
	refusal, ok := errors.AsType[*sqlite.InUseError](err)
	if !ok {
		t.Fatalf("got %v, want an InUseError", err)
	}
	if diff := cmp.Diff(&sqlite.InUseError{Path: path}, refusal); diff != "" {
		t.Error(diff)
	}
	if err := first.Write(t.Context(), insert("second")); err != nil {
		t.Error(err)
	}
}

// TestOpen_WALWithoutDatabase finds a WAL beside a file that was cut off to nothing,
// or that is gone. SQLite removes such a WAL, whoever opens the file.
func TestOpen_WALWithoutDatabase(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"Empty": func(path string) error { return os.Truncate(path, 0) },
		"Gone":  os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "notes.db")
			running := open(t, sqlite.Settings{Path: path, Migrations: notes})
			wal, err := os.ReadFile(path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			killed := filepath.Join(t.TempDir(), "notes.db")
			if err := errors.Join(running.Close(), os.WriteFile(killed, make([]byte, sqlite.PageBytes), 0o600), spoil(killed), os.WriteFile(killed+"-wal", wal, 0o600)); err != nil {
				t.Fatal(err)
			}
			for _, open := range []func(context.Context, sqlite.Settings) (*sqlite.DB, error){sqlite.Open, sqlite.OpenReadOnly} {
				db, err := open(t.Context(), sqlite.Settings{Path: killed, Migrations: notes})
				if failure, ok := errors.AsType[*sqlite.Error](err); !ok || !failure.IsCorrupt() {
					t.Errorf("opened with %v, want damage", err)
				}
				if err == nil {
					_ = db.Close()
				}
			}
			left, err := os.ReadFile(killed + "-wal")
			if err != nil || !bytes.Equal(left, wal) {
				t.Errorf("the WAL has %d bytes and %v, want the %d that were committed", len(left), err, len(wal))
			}
		})
	}
}

// TestOpen_Link meets a database whose WAL lies beside another name of it.
func TestOpen_Link(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.db")
	running := open(t, sqlite.Settings{Path: path, Migrations: notes})
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "notes.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	for name, open := range map[string]func() (io.Closer, error){
		"Open": func() (io.Closer, error) {
			return sqlite.Open(t.Context(), sqlite.Settings{Path: link, Migrations: notes})
		},
		"OpenReadOnly": func() (io.Closer, error) {
			return sqlite.OpenReadOnly(t.Context(), sqlite.Settings{Path: link, Migrations: notes})
		},
		"OpenImage": func() (io.Closer, error) { return sqlite.OpenImage(sqlite.Disk{}, link) },
	} {
		file, err := open()
		if err == nil {
			_ = file.Close()
		}
		if _, ok := errors.AsType[*sqlite.LinkError](err); !ok || sqlite.Hint(err) == "" {
			t.Errorf("%s: %v, want a LinkError with a hint", name, err)
		}
	}
	folder := filepath.Join(t.TempDir(), "linked")
	if err := os.Symlink(filepath.Dir(path), folder); err != nil {
		t.Fatal(err)
	}
	open(t, sqlite.Settings{Path: filepath.Join(folder, "notes.db"), Migrations: notes})
}
