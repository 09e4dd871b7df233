package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// InUseError says that another process has the database open. Two WALs of one
// database would destroy it.
type InUseError struct{ Path string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("another process has %s open: end it first (lsof %s names it)", e.Path, e.Path)
}

// checkUnused fails with an [*InUseError] when another process has a database open.
func checkUnused(disk Disk, path string) error {
	if disk.Files != nil {
		return nil
	}
	used, err := inUse(path)
	if err == nil && used {
		err = &InUseError{Path: path}
	}
	return err
}

// checkFile refuses a database that is a link, and one without a page that has a WAL:
// it was cut off, or removed. SQLite would take it for a new one and remove the WAL,
// with all that was committed there, even where it may only read.
func checkFile(disk Disk, path string) error {
	if err := disk.checkNames(path); err != nil {
		return err
	}
	size, err := disk.Size(path)
	if size > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	wal, err := disk.Size(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) || err == nil && wal <= walHeaderBytes {
		return nil
	}
	if err != nil {
		return err
	}
	return &Error{Statement: "open", Code: sqlite3.SQLITE_CORRUPT, Err: fmt.Errorf("the file is empty or gone, and %d bytes of commits lie in the WAL beside it", wal)}
}

// renewWAL makes durable what a start is going to read, before SQLite reads it.
//
// A process that ends without Close leaves a WAL. When it ended because a sync
// had failed, the kernel may show content that is not on the disk and never will
// be: its pages count as written. Whoever believed that content and told a client
// that its message is there already would lose it with the next power cut. Nothing
// that could be asked tells whether this is such a start, because the disk which
// would know is the one that failed. So every such start brings the content to the
// disk anew, in a file of its own: overwriting it in place could destroy what is
// durable, if the power goes meanwhile.
//
// The database file needs no such care. A checkpoint that fails leaves the WAL in
// use, and after a start all of it is moved again.
//
// The copy is what will be read from then on, so what is copied has to hold; see
// [walReader]. What lies behind that is copied as it is: SQLite does not read it,
// but a look for damage may. renewWAL returns how many frames SQLite has to find,
// up to the end of the last transaction that is complete.
func renewWAL(disk Disk, path string) (frames int64, err error) {
	wal, fresh := path+"-wal", path+"-wal.new"
	size, err := disk.Size(wal)
	if errors.Is(err, fs.ErrNotExist) || err == nil && size == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	frames, err = copyWAL(disk, wal, fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// A full disk must not keep the gateway from starting, because only a
		// started one can make room. In place, what is on the disk already is
		// written over with the same bytes.
		if err := disk.Remove(fresh); err != nil {
			return 0, err
		}
		return copyWAL(disk, wal, wal, os.O_WRONLY)
	}
	if err != nil {
		return 0, err
	}
	if err := disk.GiveAway(fresh, path); err != nil {
		return 0, err
	}
	return frames, disk.Rename(fresh, wal)
}

// copyWAL copies what SQLite may read from one file to another, or to the same
// one, and syncs it.
func copyWAL(disk Disk, from, to string, flag int) (frames int64, err error) {
	source, err := openWAL(disk, from)
	if err != nil {
		return 0, err
	}
	target, err := disk.Open(to, flag)
	if err != nil {
		return 0, errors.Join(err, source.close())
	}
	frames, err = source.copyTo(target)
	if err == nil {
		err = target.Sync()
	}
	return frames, errors.Join(err, source.close(), target.Close())
}

// copyTo writes every frame of this round through the file.
func (r *walReader) copyTo(target File) (frames int64, err error) {
	buffered := bufio.NewWriterSize(target, walBufferBytes)
	if _, err := buffered.Write(r.header); err != nil {
		return 0, err
	}
	for copied := int64(1); ; copied++ {
		frame, err := r.next()
		if err != nil {
			return 0, err
		}
		if frame == nil {
			return frames, buffered.Flush()
		}
		if _, err := buffered.Write(frame); err != nil {
			return 0, err
		}
		if !r.ended && isCommit(frame) {
			frames = copied
		}
	}
}

// openWriter opens the first connection, for which SQLite reads the WAL, and checks
// that it has found all of it. SQLite takes a frame that it has read wrongly for
// the end, without a word, and whatever is written next destroys what lies behind
// it: a commit, and also the checkpoint with which the last connection closes. So
// one that cannot write is opened before, and closed after.
func openWriter(disk Disk, path string, frames int64) (writer *Conn, err error) {
	var guard *Conn
	if frames > 0 {
		if guard, err = openConn(disk, path, roleInspector); err != nil {
			return nil, err
		}
	}
	writer, err = openConn(disk, path, roleWriter)
	if err == nil {
		err = writer.checkWAL(frames)
	}
	if err != nil {
		return nil, errors.Join(err, writer.close(), guard.close())
	}
	return writer, guard.close()
}

// checkWAL compares what SQLite has found in the WAL with what is there.
func (c *Conn) checkWAL(frames int64) error {
	found := int64(0)
	if _, err := c.One("PRAGMA wal_checkpoint(NOOP)", func(row Row) { found = row.Int(1) }); err != nil {
		return err
	}
	if found < frames {
		return &Error{Statement: "read the WAL", Code: sqlite3.SQLITE_CORRUPT, Err: fmt.Errorf("%d of %d pages were found", found, frames)}
	}
	return nil
}
