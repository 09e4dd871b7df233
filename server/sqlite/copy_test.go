package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

func TestDB_Copy(t *testing.T) {
	t.Run("IsAsTheDatabaseWas", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "notes.db")
		db := open(t, sqlite.Settings{Path: path, Migrations: notes})
		if err := os.WriteFile(path+".copy", []byte("what was there before"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Write(t.Context(), insert("second")), db.Copy(t.Context(), path+".copy"), db.Write(t.Context(), insert("third"))); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"first", "second"}, texts(t, open(t, sqlite.Settings{Path: path + ".copy", Migrations: notes}))); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("IsNotBegunWithoutRoom", func(t *testing.T) {
		disk := simdisk.New(simdisk.Settings{Capacity: 1 << 20})
		t.Cleanup(disk.Close)
		db := open(t, sqlite.Settings{Path: "/data/notes.db", Migrations: notes, Disk: disk.Port()})
		err := db.Copy(t.Context(), "/data/notes.copy")
		if refusal, ok := errors.AsType[*sqlite.RoomError](err); !ok || refusal.Needs <= refusal.Free || sqlite.Hint(err) == "" {
			t.Errorf("got %v, hint %q", err, sqlite.Hint(err))
		}
		if diff := cmp.Diff([]string{"/data/notes.db", "/data/notes.db-running", "/data/notes.db-wal"}, disk.Names()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOpen_Copies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.db")
	first := "CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT; INSERT INTO note VALUES(1, 'first');"
	steps := []string{first, "ALTER TABLE note ADD COLUMN body BLOB;", "ALTER TABLE note ADD COLUMN size INTEGER;"}
	for upTo, want := range [][]string{nil, {"notes.db.schema-1"}, {"notes.db.schema-2"}} {
		db, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: migrations(steps[:upTo+1]...)})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		var copies []string
		found, err := filepath.Glob(path + ".*")
		for _, name := range found {
			copies = append(copies, filepath.Base(name))
		}
		if diff := cmp.Diff(want, copies); diff != "" || err != nil {
			t.Errorf("after %d migrations: %s, %v", upTo+1, diff, err)
		}
	}
	restored := open(t, sqlite.Settings{Path: sqlite.SchemaCopy(path, 2), Migrations: migrations(steps[:2]...)})
	if diff := cmp.Diff([]string{"first"}, texts(t, restored)); diff != "" {
		t.Error(diff)
	}
}
