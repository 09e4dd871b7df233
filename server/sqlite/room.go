package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// noRoom is why a file system takes nothing more without being broken. SQLite
// has a code of its own for the first only.
var noRoom = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EFBIG}

const probeSuffix = "-probe"

// NoRoom returns why the file system takes nothing more, when that is why err has
// happened: [syscall.ENOSPC], a quota, a bound on the size of files, or because
// it is read-only. It is nil when a write has failed for any other reason, after
// which nothing may be believed. After these the database can be used as before:
// nothing of the transaction is stored.
//
// What SQLite calls an input/output error may be one of them. Then a file beside
// the database is written, as long as the longest that the database has, to see
// whether that fails in the same way.
func (db *DB) NoRoom(err error) error {
	if IsFull(err) {
		return syscall.ENOSPC
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok || failure.Code != sqlite3.SQLITE_IOERR_WRITE && failure.Code != sqlite3.SQLITE_IOERR_TRUNCATE {
		return nil
	}
	probed := db.probe()
	for _, cause := range noRoom {
		if errors.Is(probed, cause) {
			return cause
		}
	}
	return nil
}

// probe writes a page behind the end that the files of the database have.
func (db *DB) probe() (err error) {
	longest := int64(0)
	for _, suffix := range []string{"", "-wal"} {
		size, err := db.disk.Size(db.path + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		longest = max(longest, size)
	}
	path := db.path + probeSuffix
	file, err := db.disk.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), db.disk.Remove(path)) }()
	if _, err := file.Write(make([]byte, PageBytes)); err != nil {
		return err
	}
	if err := file.Truncate(longest + PageBytes); err != nil {
		return err
	}
	return file.Sync()
}
