//go:build unix

package sqlite_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"combotto.io/gateway/server/sqlite"
)

// TestOpen_Special meets what is no file, under every name that belongs to a database. A
// pipe that is opened like a file makes whoever does that wait for ever.
func TestOpen_Special(t *testing.T) {
	made := map[string]func(path string) error{
		"Pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"Folder": func(path string) error { return os.Mkdir(path, 0o700) },
	}
	for kind, make := range made {
		for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
			t.Run(kind+suffix, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "notes.db")
				if suffix != "" {
					if err := open(t, sqlite.Settings{Path: path, Migrations: notes}).Close(); err != nil {
						t.Fatal(err)
					}
				}
				if err := make(path + suffix); err != nil {
					t.Fatal(err)
				}
				for name, open := range map[string]func() (io.Closer, error){
					"Open": func() (io.Closer, error) {
						return sqlite.Open(t.Context(), sqlite.Settings{Path: path, Migrations: notes})
					},
					"OpenReadOnly": func() (io.Closer, error) {
						return sqlite.OpenReadOnly(t.Context(), sqlite.Settings{Path: path, Migrations: notes})
					},
					"OpenImage": func() (io.Closer, error) { return sqlite.OpenImage(sqlite.Disk{}, path) },
					"Disk.Open": func() (io.Closer, error) { return sqlite.Disk{}.Open(path+suffix, os.O_RDONLY) },
				} {
					file, err := open()
					if err == nil {
						_ = file.Close()
					}
					if special, ok := errors.AsType[*sqlite.SpecialError](err); !ok || special.Path != path+suffix || sqlite.Hint(err) == "" {
						t.Errorf("%s: %v, want a SpecialError with a hint", name, err)
					}
				}
			})
		}
	}
}
