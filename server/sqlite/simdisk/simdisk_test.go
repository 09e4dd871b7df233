package simdisk_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

const path = "/data/notes.db"

var schema = sqlite.NewMigrations(fstest.MapFS{"0001_notes.sql": {Data: []byte("CREATE TABLE note(id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")}}, "*.sql")

// newDisk makes a disk that goes with the test.
func newDisk(t *testing.T, settings simdisk.Settings) *simdisk.Disk {
	t.Helper()
	disk := simdisk.New(settings)
	t.Cleanup(func() {
		disk.Kill()
		if err := disk.Bury(); err != nil {
			t.Log(err) // what is left behind fails as it should
		}
		disk.Close()
	})
	return disk
}

func open(t *testing.T, disk *simdisk.Disk) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: schema, Disk: disk.Port()})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func insert(t *testing.T, db *sqlite.DB, bytes int) error {
	return db.Write(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Exec("INSERT INTO note(body) VALUES(zeroblob(?))", int64(bytes))
	})
}

func count(t *testing.T, db *sqlite.DB) (rows int) {
	t.Helper()
	err := db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT count(*) FROM note", func(row sqlite.Row) { rows = int(row.Int(0)) })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func code(err error) int {
	if failure, ok := errors.AsType[*sqlite.Error](err); ok {
		return failure.Code
	}
	return 0
}

func write(t *testing.T, disk *simdisk.Disk, name, text string) sqlite.File {
	t.Helper()
	file, err := disk.Port().Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, text); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDisk_Cut shows what a database and a file lose and keep.
func TestDisk_Cut(t *testing.T) {
	t.Run("KeepsWhatIsCommitted", func(t *testing.T) {
		for _, survives := range simdisk.Survivals() {
			disk := newDisk(t, simdisk.Settings{Seed: 1})
			db := open(t, disk)
			for range 20 {
				if err := insert(t, db, 3000); err != nil {
					t.Fatal(err)
				}
			}
			disk.Cut(survives)
			if err := insert(t, db, 1); err == nil {
				t.Error("a process without power wrote")
			}
			if rows := count(t, open(t, disk)); rows != 20 {
				t.Errorf("%s survives: %d rows, want 20", survives, rows)
			}
		}
	})

	t.Run("LosesWhatIsNotSynced", func(t *testing.T) {
		disk := newDisk(t, simdisk.Settings{})
		kept := write(t, disk, "/data/kept", "kept")
		if err := errors.Join(kept.Sync(), disk.Port().SyncFolder("/data")); err != nil {
			t.Fatal(err)
		}
		write(t, disk, "/data/kept", "lost")
		if err := write(t, disk, "/data/nameless", "content").Sync(); err != nil {
			t.Fatal(err)
		}
		disk.Cut(simdisk.Nothing)
		if diff := cmp.Diff([]string{"/data/kept"}, disk.Names()); diff != "" {
			t.Error(diff)
		}
		if content, err := disk.Content("/data/kept"); err != nil || string(content) != "kept" {
			t.Errorf("%q, %v", content, err)
		}
	})

	t.Run("ARenameCountsWhenItsFolderIsSynced", func(t *testing.T) {
		for _, synced := range []bool{false, true} {
			disk := newDisk(t, simdisk.Settings{Files: map[string][]byte{"/data/a": []byte("old")}})
			if err := write(t, disk, "/data/b", "new").Sync(); err != nil {
				t.Fatal(err)
			}
			rename, want := disk.Port().Files.Rename, "old"
			if synced {
				rename, want = disk.Port().Rename, "new"
			}
			if err := rename("/data/b", "/data/a"); err != nil {
				t.Fatal(err)
			}
			disk.Cut(simdisk.Nothing)
			if content, err := disk.Content("/data/a"); err != nil || string(content) != want {
				t.Errorf("folder synced: %v: got %q, %v", synced, content, err)
			}
		}
	})
}

// TestDisk_Kill shows that the next process reads the page cache and meets no
// lock of the one that died.
func TestDisk_Kill(t *testing.T) {
	disk := newDisk(t, simdisk.Settings{})
	db := open(t, disk)
	err := db.Write(t.Context(), func(conn *sqlite.Conn) error {
		disk.Kill() // while the lock of the writer is held
		return conn.Exec("INSERT INTO note(body) VALUES(x'00')")
	})
	if err == nil {
		t.Error("a dead process wrote")
	}
	next := open(t, disk)
	if err := insert(t, next, 1); err != nil {
		t.Fatal(err)
	}
	if err := disk.Bury(); err != nil {
		t.Log(err)
	}
	if rows := count(t, next); rows != 1 {
		t.Errorf("%d rows, want 1", rows)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// TestDisk_Inject shows the codes that SQLite reports on a real disk.
func TestDisk_Inject(t *testing.T) {
	for name, test := range map[string]struct {
		fault simdisk.Fault
		code  int
	}{
		"AWriteFails":            {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO}, 778},
		"AWriteIsShort":          {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO, Short: true}, 778},
		"AWriteIsOverTheQuota":   {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EDQUOT}, 778},
		"AWriteFindsNoRoom":      {simdisk.Fault{Calls: simdisk.Write, Err: syscall.ENOSPC, Short: true}, 13},
		"ASyncFails":             {simdisk.Fault{Calls: simdisk.Sync, Path: "-wal", Err: syscall.EIO}, 1034},
		"TheSecondSyncFailsOnly": {simdisk.Fault{Calls: simdisk.Sync, Path: "-wal", Err: syscall.EIO, Skip: 1, Times: 1}, 0},
		"ADelayIsNoFailure":      {simdisk.Fault{Calls: simdisk.Sync, Delay: time.Microsecond}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk(t, simdisk.Settings{})
			db := open(t, disk)
			disk.Inject(test.fault)
			if err := insert(t, db, 5000); code(err) != test.code {
				t.Errorf("got %v, want code %d", err, test.code)
			}
			if fired := disk.Fired(); (len(fired) > 0) != (test.fault.Skip == 0) {
				t.Errorf("fired: %v", fired)
			}
			disk.Heal()
			if err := insert(t, db, 5000); err != nil {
				t.Error(err)
			}
		})
	}

	t.Run("AFlippedBitIsReadOnce", func(t *testing.T) {
		disk := newDisk(t, simdisk.Settings{Files: map[string][]byte{"/data/zeros": make([]byte, 8)}})
		disk.Inject(simdisk.Fault{Calls: simdisk.Read, Flip: true, Times: 1})
		for i := range 2 {
			file, err := disk.Port().Open("/data/zeros", os.O_RDONLY)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(file)
			flipped := string(content) != string(make([]byte, 8))
			if err != nil || flipped != (i == 0) {
				t.Errorf("read %d: %x, %v", i, content, err)
			}
		}
	})

	t.Run("ThePowerGoesWithACall", func(t *testing.T) {
		disk := newDisk(t, simdisk.Settings{Seed: 3})
		db := open(t, disk)
		disk.Inject(simdisk.Fault{Calls: simdisk.Write, Skip: 5, Times: 1, Cut: true})
		committed := 0
		for insert(t, db, 100) == nil {
			committed++
		}
		if rows := count(t, open(t, disk)); rows != committed {
			t.Errorf("%d rows, %d were committed", rows, committed)
		}
		want := map[string]int{"write with power cut": 1, "power cut": 1}
		fired := disk.Fired()
		delete(fired, "power cut with unsynced writes")
		if diff := cmp.Diff(want, fired); diff != "" {
			t.Error(diff)
		}
	})
}

// TestDisk_FailedSync shows why a failed sync must not be tried again: the second
// one succeeds, everything can be read, and the next power cut takes it away.
func TestDisk_FailedSync(t *testing.T) {
	disk := newDisk(t, simdisk.Settings{Seed: 5})
	file := write(t, disk, "/data/file", "content")
	if err := disk.Port().SyncFolder("/data"); err != nil {
		t.Fatal(err)
	}
	disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Err: syscall.EIO, Times: 1})
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	if err := file.Sync(); err != nil {
		t.Error(err)
	}
	if content, err := disk.Content("/data/file"); err != nil || string(content) != "content" {
		t.Errorf("in the page cache: %q, %v", content, err)
	}
	disk.Cut(simdisk.Everything)
	if content, err := disk.Content("/data/file"); err != nil || string(content) == "content" {
		t.Errorf("on the disk: %q, %v; want it lost", content, err)
	}
}

// TestDisk_Capacity fills a disk, with a reserve beside the database.
func TestDisk_Capacity(t *testing.T) {
	disk := newDisk(t, simdisk.Settings{Capacity: 256 << 10})
	port := disk.Port()
	reserve, err := port.Open("/data/reserve", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := reserve.Allocate(1 << 20); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if err := reserve.Allocate(64 << 10); err != nil {
		t.Fatal(err)
	}
	db := open(t, disk)
	stored := 0
	for err = insert(t, db, 10000); err == nil; err = insert(t, db, 10000) {
		stored++
	}
	if !sqlite.IsFull(err) {
		t.Errorf("got %v, want a full disk", err)
	}
	stat, err := port.Stat("/data")
	if err != nil || stat.Free >= 64<<10 || stat.Capacity != 256<<10 {
		t.Errorf("%+v, %v", stat, err)
	}
	if err := reserve.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := insert(t, db, 10000); err != nil {
		t.Errorf("with the reserve released: %v", err)
	}
	if rows := count(t, db); rows != stored+1 {
		t.Errorf("%d rows, want %d", rows, stored+1)
	}
	if _, err := port.Size("/data/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestDisk_Time waits for a lock and for a slow disk in virtual time.
func TestDisk_Time(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t, simdisk.Settings{})
		db := open(t, disk)
		disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Delay: time.Hour})
		began := time.Now()
		if err := insert(t, db, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Hour {
			t.Errorf("a sync of an hour took %v", took)
		}
		text := ""
		err := db.Read(t.Context(), func(conn *sqlite.Conn) error {
			_, err := conn.One("SELECT datetime('now')", func(row sqlite.Row) { text = row.Text(0) })
			return err
		})
		if want := time.Now().UTC().Format(time.DateTime); err != nil || text != want {
			t.Errorf("SQLite reads %q, %v; want %q", text, err, want)
		}
	})
}

// TestHistory replays a workload and opens every state that a power cut could
// have left.
func TestHistory(t *testing.T) {
	disk := newDisk(t, simdisk.Settings{Seed: 7})
	db := open(t, disk)
	disk.Record()
	var committed []int // rows by time
	for range 5 {
		if err := insert(t, db, 2000); err != nil {
			t.Fatal(err)
		}
		committed = append(committed, disk.Now())
	}
	if _, err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	replay := disk.History().Replay(1)
	unsynced := 0
	for replay.Next() {
		unsynced = max(unsynced, replay.Unsynced())
		for _, survives := range simdisk.Survivals() {
			state := newDisk(t, simdisk.Settings{Files: replay.Crash(survives)})
			least := 0
			for least < len(committed) && committed[least] <= replay.Now() {
				least++
			}
			if rows := count(t, open(t, state)); rows < least || rows > least+1 {
				t.Fatalf("after %d changes, %s survives: %d rows, want %d", replay.Now(), survives, rows, least)
			}
		}
	}
	if replay.Now() != disk.Now() || unsynced == 0 {
		t.Errorf("replayed %d of %d changes, at most %d not synced", replay.Now(), disk.Now(), unsynced)
	}
}
