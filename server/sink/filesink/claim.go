package filesink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is locked by whoever writes to the folder.
const lockFile = ".lock"

var errClaimed = errors.New("another sink or gateway writes to this folder, maybe under another name: give each file sink a folder of its own")

// claim keeps others off the folder. Two that write to one file, each at the end
// that it remembers, would write over what the other has delivered; and a folder has
// as many names as there are links to it. A claim goes with the process, however
// that ends.
func (f *files) claim() error {
	if f.claimed != nil && leadsTo(filepath.Join(f.dir, lockFile), f.claimed) {
		return nil
	}
	if err := f.release(); err != nil {
		return err
	}
	f.clean = false // somebody else may have written meanwhile
	if err := f.makeDir(f.dir); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(f.dir, lockFile), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	switch err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errClaimed
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		f.log.Warn("the file system of a file sink has no locks: nothing but its configuration keeps others off the folder", "dir", f.dir, "error", err)
		err = nil
	case err == nil && !leadsTo(lock.Name(), lock):
		err = errTakenAway
	}
	if err != nil {
		return fmt.Errorf("claim %s: %w", f.dir, errors.Join(err, lock.Close()))
	}
	f.claimed = lock
	return nil
}

// release lets others have the folder, and closes the file in it.
func (f *files) release() error {
	err := f.close()
	if f.claimed != nil {
		err = errors.Join(err, f.claimed.Close())
		f.claimed = nil
	}
	return err
}

// leadsTo reports whether a path leads to an open file.
func leadsTo(path string, opened *os.File) bool {
	held, err := opened.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(path)
	return err == nil && os.SameFile(held, found)
}
