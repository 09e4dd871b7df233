package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"combotto.io/gateway/server/sqlite"
)

// TestOpenDataDir_Owner lets root take a folder of somebody else: a lock that only
// root can open would keep the gateway from starting.
func TestOpenDataDir_Owner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const owner = 12345
	path := t.TempDir()
	if err := os.Chown(path, owner, owner); err != nil {
		t.Fatal(err)
	}
	folder, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := folder.lock.Stat()
	if err := errors.Join(err, folder.close()); err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != owner || stat.Gid != owner {
		t.Errorf("the lock belongs to %d:%d", stat.Uid, stat.Gid)
	}
	// A name that leads elsewhere too is not given to whoever may have put it there.
	lock := filepath.Join(path, lockFile)
	if err := errors.Join(os.Chown(lock, 0, 0), os.Link(lock, filepath.Join(t.TempDir(), "other"))); err != nil {
		t.Fatal(err)
	}
	if folder, err := openDataDir(path); err == nil {
		t.Errorf("a lock with two names was given away: %v", folder.close())
	}
}

// TestDataDir_inPlace takes the lock away from the process that holds it.
func TestDataDir_inPlace(t *testing.T) {
	folder, err := openDataDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.close() }()
	if err := folder.inPlace(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(folder.path, lockFile)
	for _, take := range []func() error{
		func() error { return os.Remove(lock) },
		func() error { return os.WriteFile(lock, nil, 0o600) },
	} {
		if err := take(); err != nil {
			t.Fatal(err)
		}
		taken, ok := errors.AsType[*sqlite.TakenAwayError](folder.inPlace())
		if !ok || taken.Path != lock {
			t.Errorf("got %v", taken)
		}
	}
}
