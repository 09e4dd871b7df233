package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const (
	ofdGetLock  = 36         // F_OFD_GETLK, which package syscall does not name
	userByte    = 128        // of the WAL index: every process that has it open holds this lock
	sharedFirst = 0x40000002 // of the database: whoever works with its WAL holds a lock within these bytes
	sharedBytes = 510
)

// inUse reports whether some process works with a database. Its locks are on the
// index of the WAL, and on the database itself, which tells also of a process whose
// WAL somebody has removed.
func inUse(path string) (bool, error) {
	for _, lock := range []struct {
		path         string
		start, bytes int64
	}{
		{path, sharedFirst, sharedBytes},
		{path + "-shm", userByte, 1},
	} {
		used, err := locked(lock.path, lock.start, lock.bytes)
		if used || err != nil {
			return used, err
		}
	}
	return false, nil
}

// locked reports whether anybody has locked any of these bytes of a file.
func locked(path string, start, bytes int64) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|openNow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: start, Len: bytes}
	if err := syscall.FcntlFlock(file.Fd(), ofdGetLock, &lock); err != nil {
		return false, errors.Join(fmt.Errorf("look for other users of %s: %w", path, err), file.Close())
	}
	return lock.Type != syscall.F_UNLCK, file.Close()
}
