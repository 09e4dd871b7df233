package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestConn_Configure asks every connection of a database once more how it is set,
// long after it was opened.
func TestConn_Configure(t *testing.T) {
	db, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "a.db"), Migrations: NewMigrations(fstest.MapFS{}, "*.sql")})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(conn *Conn) map[string]any {
		found := map[string]any{}
		for _, name := range []string{"journal_mode", "synchronous", "wal_autocheckpoint", "page_size", "auto_vacuum", "mmap_size", "query_only"} {
			if _, err := conn.One("PRAGMA "+name, func(row Row) { found[name] = row[0] }); err != nil {
				t.Fatal(err)
			}
		}
		return found
	}
	want := map[string]any{
		"journal_mode": "wal", "synchronous": int64(2), "wal_autocheckpoint": int64(0), "page_size": int64(4096),
		"auto_vacuum": int64(0), "mmap_size": int64(0), "query_only": int64(0),
	}
	check := func(conn *Conn) error {
		if diff := cmp.Diff(want, ask(conn)); diff != "" {
			t.Error(diff)
		}
		return nil
	}
	if err := db.Write(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	if err := check(db.checkpointer); err != nil {
		t.Fatal(err)
	}
	want["query_only"] = int64(1)
	if err := db.Read(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConn_Apply(t *testing.T) {
	db, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "a.db"), Migrations: NewMigrations(fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE a(b)")}}, "*.sql")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// SQLite ignores this change in silence, because the file has pages already.
	if err := db.checkpointer.apply(pragma{"page_size", "8192", "8192"}); err == nil {
		t.Error("a setting that SQLite ignored went unnoticed")
	}
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"3.51.3": true, "3.51.4": true, "3.54.1": true, "4.0": true,
		"3.51.2": false, "3.50.9": false, "3.51": false, "2.99.99": false, "": false,
	} {
		if got := atLeast(version, versionMin); got != want {
			t.Errorf("atLeast(%q) = %v, want %v", version, got, want)
		}
	}
}

// TestOpenWriter_WAL tells the writer that the WAL holds more than SQLite has found:
// what there is must be left as it is.
func TestOpenWriter_WAL(t *testing.T) {
	crashed := filepath.Join(t.TempDir(), "a.db")
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := Open(t.Context(), Settings{Path: crashed, Migrations: NewMigrations(fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE a(b)")}}, "*.sql")})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(conn *Conn) error { return conn.Exec("INSERT INTO a VALUES(zeroblob(9000))") }); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(crashed + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	frames := int64(len(before)-walHeaderBytes) / walFrameBytes
	_, err = openWriter(Disk{}, path, frames+1)
	if failure, ok := errors.AsType[*Error](err); !ok || !failure.IsCorrupt() {
		t.Errorf("got %v, want a file that is read wrongly", err)
	}
	after, err := os.ReadFile(path + "-wal")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the WAL has changed from %d to %d bytes, %v", len(before), len(after), err)
	}
	writer, err := openWriter(Disk{}, path, frames)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.close(); err != nil {
		t.Error(err)
	}
}
