package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// Probe finds out why a write has failed, which SQLite does not say, by writing
// another file beside the database. It returns nil when that works.
func (db *DB) Probe() error {
	path := db.path + "-probe"
	file, err := db.disk.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	size, err := db.disk.Size(db.path)
	if err == nil {
		err = file.Truncate(size + PageBytes) // a hole: it only asks whether a file may be as long
	}
	if err == nil {
		_, err = file.Write(make([]byte, 16*PageBytes))
	}
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if removed := db.disk.files().Remove(path); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}

// IsLimit reports whether err, of [DB.Probe], says that somebody has limited what
// may be written. As with a full disk, the rest of it works.
func IsLimit(err error) bool {
	return errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.ENOSPC)
}

// IsWrite reports whether err says that a write was refused. No sync has failed
// then, so that nothing that was written before is in doubt.
func IsWrite(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	return ok && failure.Code == sqlite3.SQLITE_IOERR_WRITE
}

// Hint tells an operator what to check after an error of this package; empty when
// there is nothing to say.
func Hint(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: dmesg says why, fsck repairs it, mount -o remount,rw makes it writable"
	case errors.Is(err, syscall.EDQUOT):
		return "a disk quota is used up: raise it (quota -v), or lower queue.max_bytes below it"
	case errors.Is(err, syscall.EFBIG):
		return "a file may not become longer: look at ulimit -f and at the file system, or lower queue.max_bytes"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full: df says which, and docs/runbooks/disk-full.md what to do"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "the files belong to somebody else: chown them to the gateway's user"
	case errors.Is(err, syscall.EIO):
		return diskHint
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return ""
	}
	switch failure.Code & 0xFF {
	case sqlite3.SQLITE_IOERR:
		return diskHint
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return "a read may have failed: look at dmesg and start again; if it stays, stop the gateway and run gatewayctl queue verify"
	}
	return ""
}

const diskHint = "the disk reports errors: look at dmesg and smartctl; starting again is safe, see docs/runbooks/disk-errors.md"
