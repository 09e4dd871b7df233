package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"
)

// TakenAwayError says that a file of an open database was removed, renamed or
// replaced. What is committed from then on goes where no other process finds it.
type TakenAwayError struct{ Path string }

func (e *TakenAwayError) Error() string {
	return fmt.Sprintf("%s was removed or replaced while the process worked with it", e.Path)
}

// openedFile is a file as it was when the database was opened.
type openedFile struct {
	path string
	file fs.FileInfo
}

// openedFiles returns the files of a database that is open. A simulated disk has nobody who
// could take one away.
func openedFiles(disk Disk, path string) (found []openedFile, err error) {
	if disk.Files != nil {
		return nil, nil
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		file, err := os.Stat(path + suffix)
		if err != nil {
			return nil, err
		}
		found = append(found, openedFile{path + suffix, file})
	}
	return found, nil
}

// InPlace fails with a [*TakenAwayError] when a path no longer leads to the file
// that is open: the database's own, its WAL, or the index of that. A path that
// cannot be looked at says nothing.
func (db *DB) InPlace() error {
	for i := range db.files {
		if db.files[i].isGone() {
			return &TakenAwayError{Path: db.files[i].path}
		}
	}
	return nil
}

func (o *openedFile) isGone() bool {
	found, err := os.Stat(o.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(o.file, found)
}

// leave makes the last connection of a database leave what lies beside it. SQLite
// removes the WAL by its name, and under that name may be the one of a process
// which works there now.
func (c *Conn) leave() error {
	if c == nil {
		return nil
	}
	_, err := c.raw.(sqlite.FileControl).FileControlPersistWAL("main", 1)
	return wrap("keep the WAL", err)
}

// closeAll closes the connections in this order.
func (db *DB) closeAll(writer *Conn, readers []*Conn) error {
	var errs []error
	if db.InPlace() != nil {
		errs = append(errs, writer.leave())
	}
	for _, conn := range readers {
		errs = append(errs, conn.close())
	}
	errs = append(errs, db.unmark(), db.checkpointer.close(), writer.close(), db.unmarkClosed())
	return errors.Join(errs...)
}
