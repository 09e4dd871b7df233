package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/sqlite"
)

// BenchmarkOpen shows what a start costs after a process that did not close.
func BenchmarkOpen(b *testing.B) {
	for name, size := range map[string]int64{"NoWAL": 0, "WAL=16MiB": 16 << 20, "WAL=64MiB": 64 << 20} {
		b.Run(name, func(b *testing.B) {
			settings := sqlite.Settings{Path: filepath.Join(b.TempDir(), "notes.db"), Migrations: notes}
			content := walOf(b, settings, size)
			for b.Loop() {
				b.StopTimer()
				if err := os.WriteFile(settings.Path+"-wal", content, 0o600); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				db, err := sqlite.Open(b.Context(), settings)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// walOf fills a WAL and returns it, with the database as it was before.
func walOf(b *testing.B, settings sqlite.Settings, size int64) []byte {
	b.Helper()
	db, err := sqlite.Open(b.Context(), settings)
	if err != nil {
		b.Fatal(err)
	}
	var content []byte
	for int64(len(content)) < size {
		err := db.Write(b.Context(), func(conn *sqlite.Conn) error {
			return conn.Exec("INSERT INTO note(text, body) VALUES('large', zeroblob(1000000))")
		})
		if err != nil {
			b.Fatal(err)
		}
		if content, err = os.ReadFile(settings.Path + "-wal"); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return content
}
