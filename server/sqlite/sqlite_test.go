package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
)

// notes is a schema of two steps.
var notes = migrations(
	"CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT; INSERT INTO note VALUES(1, 'first');",
	"ALTER TABLE note ADD COLUMN body BLOB;",
)

func migrations(texts ...string) *sqlite.Migrations {
	files := fstest.MapFS{}
	for i, text := range texts {
		files[fmt.Sprintf("%04d_step.sql", i+1)] = &fstest.MapFile{Data: []byte(text)}
	}
	return sqlite.NewMigrations(files, "*.sql")
}

func open(t *testing.T, settings sqlite.Settings) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func texts(t *testing.T, db *sqlite.DB) []string {
	t.Helper()
	var found []string
	err := db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query("SELECT text FROM note ORDER BY id", func(row sqlite.Row) error {
			found = append(found, row.Text(0))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func insert(text string) func(*sqlite.Conn) error {
	return func(conn *sqlite.Conn) error { return conn.Exec("INSERT INTO note(text) VALUES(?)", text) }
}

func TestOpen(t *testing.T) {
	t.Run("OnlyTheOwnerMayRead", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "data")
		path := filepath.Join(folder, "notes ?#%.db") // a name that a careless DSN would cut
		db := open(t, sqlite.Settings{Path: path, Migrations: notes})
		if err := db.Write(t.Context(), insert("second")); err != nil {
			t.Fatal(err)
		}
		modes := map[string]fs.FileMode{}
		for _, name := range []string{folder, path, path + "-wal", path + "-shm"} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			modes[filepath.Base(name)] = info.Mode().Perm()
		}
		want := map[string]fs.FileMode{"data": 0o700, "notes ?#%.db": 0o600, "notes ?#%.db-wal": 0o600, "notes ?#%.db-shm": 0o600}
		if diff := cmp.Diff(want, modes); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("MigratesOnlyOnce", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "notes.db")
		for range 2 {
			db, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: notes})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"first"}, texts(t, db)); diff != "" {
				t.Error(diff)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})

	t.Run("RefusesANewerSchema", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "notes.db")
		db, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: notes})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: migrations("SELECT 1")})
		refusal, ok := errors.AsType[*sqlite.SchemaError](err)
		if !ok {
			t.Fatalf("got %v, want a SchemaError", err)
		}
		if diff := cmp.Diff(&sqlite.SchemaError{Path: path, Version: 2, Known: 1}, refusal); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("AFailedMigrationLeavesTheVersionBefore", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "notes.db")
		broken := migrations("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT);", "INSERT INTO note VALUES(1, 'half'); NONSENSE;")
		if _, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: broken}); err == nil {
			t.Fatal("a broken migration was accepted")
		}
		db := open(t, sqlite.Settings{Path: path, Migrations: migrations("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT);", "SELECT 1")})
		if diff := cmp.Diff([]string(nil), texts(t, db)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDB_Write(t *testing.T) {
	t.Run("AnErrorLeavesNothing", func(t *testing.T) {
		db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
		cause := errors.New("changed my mind")
		err := db.Write(t.Context(), func(conn *sqlite.Conn) error {
			return errors.Join(insert("second")(conn), cause)
		})
		if !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
		if diff := cmp.Diff([]string{"first"}, texts(t, db)); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("AFullDatabaseStaysUsable", func(t *testing.T) {
		db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
		err := db.Write(t.Context(), func(conn *sqlite.Conn) error {
			if err := conn.Exec("PRAGMA max_page_count=8"); err != nil {
				return err
			}
			return conn.Exec("INSERT INTO note(text, body) VALUES('big', zeroblob(100000))")
		})
		if !sqlite.IsFull(err) {
			t.Fatalf("got %v, want a full database", err)
		}
		if err := db.Write(t.Context(), insert("small")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"first", "small"}, texts(t, db)); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("WaitsForTheOtherWriterNoLongerThanAsked", func(t *testing.T) {
		db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
		err := db.Write(t.Context(), func(*sqlite.Conn) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return db.Write(ctx, insert("never"))
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}

func TestDB_Read(t *testing.T) {
	t.Run("CannotWrite", func(t *testing.T) {
		db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
		if err := db.Read(t.Context(), insert("second")); err == nil {
			t.Error("a reader wrote")
		}
		if diff := cmp.Diff([]string{"first"}, texts(t, db)); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("SeesOneSnapshot", func(t *testing.T) {
		db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
		count := func(conn *sqlite.Conn) (n int64, err error) {
			_, err = conn.One("SELECT count(*) FROM note", func(row sqlite.Row) { n = row.Int(0) })
			return n, err
		}
		var before, after int64
		err := db.Read(t.Context(), func(conn *sqlite.Conn) (err error) {
			if before, err = count(conn); err != nil {
				return err
			}
			if err := db.Write(t.Context(), insert("second")); err != nil {
				return err
			}
			after, err = count(conn)
			return err
		})
		if err != nil || before != 1 || after != 1 {
			t.Errorf("counted %d, then %d, %v; want 1 both times", before, after, err)
		}
	})
}

func TestDB_Close(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
	if err != nil {
		t.Fatal(err)
	}
	reading, done := make(chan struct{}), make(chan error)
	release := make(chan struct{})
	go func() {
		done <- db.Read(t.Context(), func(*sqlite.Conn) error {
			close(reading)
			<-release
			return nil
		})
	}()
	<-reading
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	close(release)
	if err := errors.Join(<-done, <-closed); err != nil {
		t.Error(err)
	}
	for _, use := range []func(context.Context, func(*sqlite.Conn) error) error{db.Read, db.Write} {
		if err := use(context.Background(), insert("late")); !errors.Is(err, sqlite.ErrClosed) {
			t.Errorf("got %v, want %v", err, sqlite.ErrClosed)
		}
	}
}

func TestDB_Checkpoint(t *testing.T) {
	db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
	if err := db.Write(t.Context(), insert("second")); err != nil {
		t.Fatal(err)
	}
	size, err := db.WALBytes()
	if err != nil || size == 0 {
		t.Fatalf("the WAL has %d bytes, %v; want some", size, err)
	}

	var held sqlite.WAL
	err = db.Read(t.Context(), func(conn *sqlite.Conn) error {
		// The snapshot is taken by the first statement.
		if _, err := conn.One("SELECT count(*) FROM note", func(sqlite.Row) {}); err != nil {
			return err
		}
		if err := db.Write(t.Context(), insert("third")); err != nil {
			return err
		}
		held, err = db.Checkpoint()
		return err
	})
	if err != nil || held.Left == 0 {
		t.Errorf("%+v, %v: a checkpoint moved what a reader does not see yet", held, err)
	}
	free, err := db.Checkpoint()
	if err != nil || free.Left != 0 || free.Bytes == 0 {
		t.Errorf("%+v, %v: want everything moved once the reader is gone", free, err)
	}
}

func TestDB_BoundWAL(t *testing.T) {
	const bound = 64 << 10
	db := open(t, sqlite.Settings{Path: filepath.Join(t.TempDir(), "notes.db"), Migrations: notes})
	if err := db.BoundWAL(t.Context(), bound); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 8*bound)
	for range 2 { // the second time it is written from its beginning
		if err := db.Write(t.Context(), insert(text)); err != nil {
			t.Fatal(err)
		}
		if wal, err := db.Checkpoint(); err != nil || wal.Left > 0 {
			t.Fatalf("%+v, %v", wal, err)
		}
	}
	if err := db.Write(t.Context(), insert("short")); err != nil {
		t.Fatal(err)
	}
	if size, err := db.WALBytes(); err != nil || size > bound {
		t.Errorf("the WAL has %d bytes, %v; want at most %d", size, err, bound)
	}
}
