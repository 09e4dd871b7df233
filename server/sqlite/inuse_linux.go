package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const (
	ofdGetLock = 36  // F_OFD_GETLK, which package syscall does not name
	userByte   = 128 // of the WAL index: every process that has it open holds this lock
)

// inUse reports whether some process has the WAL index of a database open.
func inUse(path string) (bool, error) {
	file, err := os.OpenFile(path+"-shm", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: userByte, Len: 1}
	if err := syscall.FcntlFlock(file.Fd(), ofdGetLock, &lock); err != nil {
		return false, errors.Join(fmt.Errorf("look for other users of %s: %w", path, err), file.Close())
	}
	return lock.Type != syscall.F_UNLCK, file.Close()
}
