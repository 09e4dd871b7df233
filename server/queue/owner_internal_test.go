package queue

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// TestOperations_Owner lets root replace the files of somebody else, who has them
// afterwards, too.
func TestOperations_Owner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const owner = 12345
	_, backup := backedUp(t)
	own := func(path string) {
		t.Helper()
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	for name, operate := range map[string]func(path string) error{
		"Compact": func(path string) error {
			_, err := queuefile.Compact(t.Context(), sqlite.Disk{}, path)
			return err
		},
		"Repair": func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			clear(content[:100]) // the header: what can be read is put into another file
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return err
			}
			_, err = queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
			return err
		},
		"Restore": func(path string) error {
			_, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, true, Renew)
			return err
		},
		"RestoreWhereNothingWas": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			_, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, false, Renew)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "queue.db")
			content, err := os.ReadFile(backup)
			if err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			own(folder)
			own(path)
			if err := operate(path); err != nil {
				t.Fatal(err)
			}
			for _, name := range append(leftBeside(t, path), ".") {
				info, err := os.Stat(filepath.Join(folder, name))
				if err != nil {
					t.Fatal(err)
				}
				if stat := info.Sys().(*syscall.Stat_t); stat.Uid != owner || stat.Gid != owner {
					t.Errorf("%s belongs to %d:%d", name, stat.Uid, stat.Gid)
				}
			}
		})
	}
}
