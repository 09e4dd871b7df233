package sqlite_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// TestDB_Gone removes the WAL of a database that was not closed, and nothing else.
func TestDB_Gone(t *testing.T) {
	killed := func(t *testing.T, suffixes ...string) sqlite.Settings {
		t.Helper()
		from := sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes}
		open(t, from)
		to := sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes}
		for _, suffix := range suffixes {
			content, err := os.ReadFile(from.Path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to.Path+suffix, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return to
	}
	expect := func(t *testing.T, settings sqlite.Settings, want bool, then func(db *sqlite.DB)) {
		t.Helper()
		if before, err := sqlite.IsGone(sqlite.Disk{}, settings.Path); before != want || err != nil {
			t.Errorf("before the start it is gone: %v, %v, want %v", before, err, want)
		}
		db, err := sqlite.Open(t.Context(), settings)
		if err != nil {
			t.Fatal(err)
		}
		if db.Gone() != want {
			t.Errorf("a start finds it gone: %v, want %v", db.Gone(), want)
		}
		then(db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	nothing := func(*sqlite.DB) {}

	t.Run("WithItsWAL", func(t *testing.T) { expect(t, killed(t, "", "-wal", "-running"), false, nothing) })
	t.Run("WithoutAMark", func(t *testing.T) { expect(t, killed(t, ""), false, nothing) })
	t.Run("DatabaseToo", func(t *testing.T) { expect(t, killed(t, "-running"), true, nothing) })
	t.Run("UntilItIsAccepted", func(t *testing.T) {
		settings := killed(t, "", "-running")
		expect(t, settings, true, nothing)
		expect(t, settings, true, func(db *sqlite.DB) {
			if err := db.AcceptGone(); err != nil {
				t.Error(err)
			}
		})
		expect(t, settings, false, nothing)
	})
	t.Run("ByWord", func(t *testing.T) {
		settings := sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes}
		if err := sqlite.MarkGone(sqlite.Disk{}, settings.Path); err != nil {
			t.Fatal(err)
		}
		expect(t, settings, true, nothing)
	})
}

// TestDB_Gone_NoFalseAlarm cuts the power at every moment of two lives that end in
// order, and of the start that follows each cut: none misses a WAL.
func TestDB_Gone_NoFalseAlarm(t *testing.T) {
	lives := func(disk *simdisk.Disk, times int) {
		for range times {
			db := mustOpenOn(t, disk)
			if db.Gone() {
				t.Fatal("nobody has removed anything")
			}
			if err := db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec("INSERT INTO note(text) VALUES('more')") }); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	states := 0
	eachState := func(disk *simdisk.Disk, survivals []simdisk.Survival, look func(files map[string][]byte)) {
		replay := disk.History().Replay(1)
		for more := true; more; more = replay.Next() {
			for _, survives := range survivals {
				states++
				files := replay.Crash(survives)
				state := simdisk.New(simdisk.Settings{Files: files})
				gone, err := sqlite.IsGone(state.Port(), onDisk)
				state.Close()
				if gone || err != nil {
					t.Fatalf("%v: after %d changes, %s survives: a WAL is missed, there are %v", err, replay.Now(), survives, slices.Sorted(maps.Keys(files)))
				}
				look(files)
			}
		}
	}
	disk := newDisk(t, simdisk.Settings{})
	disk.Record()
	lives(disk, 2)
	eachState(disk, simdisk.Survivals()[:3], func(files map[string][]byte) {
		again := newDisk(t, simdisk.Settings{Files: files})
		again.Record()
		lives(again, 1)
		eachState(again, simdisk.Survivals()[:2], func(map[string][]byte) {})
	})
	t.Logf("%d states", states)
}

// TestDB_Gone_HeaderAlone begins with what a sync that failed can leave of a WAL. The
// next commit writes its header anew; when that is cut off, too, there must be something
// behind it, or the WAL would look emptied.
func TestDB_Gone_HeaderAlone(t *testing.T) {
	const header, frame = 32, 24 + sqlite.PageBytes
	disk := newDisk(t, simdisk.Settings{})
	db := mustOpenOn(t, disk)
	if _, err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, suffix := range []string{"", "-wal", sqlite.RunningSuffix} {
		content, err := disk.Content(onDisk + suffix)
		if err != nil {
			t.Fatal(err)
		}
		files[onDisk+suffix] = content
	}
	files[onDisk+"-wal"] = files[onDisk+"-wal"][:header]
	again := newDisk(t, simdisk.Settings{Files: files})
	if db := mustOpenOn(t, again); db.Gone() {
		t.Error("nobody has removed anything")
	}
	if wal, err := again.Content(onDisk + "-wal"); len(wal) < header+frame || err != nil {
		t.Errorf("the WAL has %d bytes, %v; want a transaction", len(wal), err)
	}
}
