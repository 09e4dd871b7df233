package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
)

// TestDB_InPlace takes each file away from under an open database. What was
// committed since is in the database file in the end, as long as that has its name.
func TestDB_InPlace(t *testing.T) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		t.Run("Removed"+suffix, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "notes.db")
			db := open(t, sqlite.Settings{Path: path, Migrations: notes})
			if err := db.InPlace(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path + suffix); err != nil {
				t.Fatal(err)
			}
			expectTakenAway(t, db, path+suffix)
			if err := os.WriteFile(path+suffix, []byte("of somebody else"), 0o600); err != nil {
				t.Fatal(err)
			}
			expectTakenAway(t, db, path+suffix)
			if err := errors.Join(db.Write(t.Context(), insert("late")), db.Close()); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(path + suffix); err != nil || string(text) != "of somebody else" {
				t.Errorf("the file that stands there now holds %q, %v", text, err)
			}
			if suffix == "" {
				return
			}
			if err := os.Remove(path + suffix); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"first", "late"}, texts(t, open(t, sqlite.Settings{Path: path, Migrations: notes}))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func expectTakenAway(t *testing.T, db *sqlite.DB, path string) {
	t.Helper()
	taken, ok := errors.AsType[*sqlite.TakenAwayError](db.InPlace())
	if !ok || taken.Path != path {
		t.Errorf("got %v, want that %s was taken away", db.InPlace(), path)
	}
}

// TestOpen_InUseWithoutWAL opens a database whose WAL was removed from under another
// process: two WALs of one database would destroy it.
func TestOpen_InUseWithoutWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.db")
	first := open(t, sqlite.Settings{Path: path, Migrations: notes})
	if err := errors.Join(first.Write(t.Context(), insert("second")), os.Remove(path+"-wal"), os.Remove(path+"-shm")); err != nil {
		t.Fatal(err)
	}
	settings := sqlite.Settings{Path: path, Migrations: notes}
	for name, open := range map[string]func() (*sqlite.DB, error){
		"Open":         func() (*sqlite.DB, error) { return sqlite.Open(t.Context(), settings) },
		"OpenReadOnly": func() (*sqlite.DB, error) { return sqlite.OpenReadOnly(t.Context(), settings) },
	} {
		db, err := open()
		if _, ok := errors.AsType[*sqlite.InUseError](err); !ok {
			t.Errorf("%s: got %v, want an InUseError", name, err)
		}
		if err == nil {
			_ = db.Close()
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first", "second"}, texts(t, open(t, settings))); diff != "" {
		t.Error(diff)
	}
}
