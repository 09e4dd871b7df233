package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A file beside the database says that somebody works with it, or did when the power
// went. It is made once the WAL has a durable name and a durable transaction, and removed
// before the last connection removes the WAL, when everything is in the database. So while
// it is there a WAL is there, too, and begins with a header, if not with frames behind one
// that the power has cut off (see [Image]). A start that finds none knows that somebody
// has removed or emptied it, with whatever was committed since the last checkpoint. Text
// in the file keeps that in mind until somebody has done something about it, because the
// start itself makes a WAL.
//
//	Open                   work                      Close
//	[WAL] [commit] [mark: empty]        [all is moved] [no mark] [no WAL]
//	[mark: goneText] [WAL] [commit]  AcceptGone [mark: empty]
const (
	RunningSuffix = "-running"

	goneText = "the WAL, or all of the database, was removed while this file was here\n"
)

// IsGone reports whether the WAL of a database that was not closed is gone or was
// emptied, or the whole database is gone after [MarkGone]. What was committed last is
// missing then, and nothing in the database tells what it was.
func IsGone(disk Disk, path string) (bool, error) {
	size, err := disk.Size(path + RunningSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if size > 0 || err != nil {
		return err == nil, err
	}
	size, err = disk.Size(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || size >= walHeaderBytes+walFrameBytes { // what is damaged in there can be looked at
		return false, err
	}
	wal, err := openWAL(disk, path+"-wal")
	if err != nil {
		return false, err
	}
	return wal.held == 0, wal.close()
}

// MarkGone makes the next Open find that a database is gone which was there. It is
// durable when it returns, unless the disk is full.
func MarkGone(disk Disk, path string) error { return writeMark(disk, path, goneText) }

func writeMark(disk Disk, path, text string) error {
	err := func() error {
		file, err := disk.Open(path+RunningSuffix, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return err
		}
		err = file.Truncate(0)
		if err == nil && text != "" {
			_, err = file.Write([]byte(text))
		}
		if err == nil {
			err = file.Sync()
		}
		return errors.Join(err, file.Close(), disk.SyncFolder(filepath.Dir(path)))
	}()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil // only a gateway that starts can make room
	}
	return err
}

// findGone is IsGone for whoever is about to open the database.
func findGone(disk Disk, path string) (gone bool, err error) {
	if gone, err = IsGone(disk, path); err != nil || !gone {
		return false, err
	}
	return true, MarkGone(disk, path)
}

// markRunning is called when the WAL has a durable name. Where there is a mark already,
// the WAL may hold no more than a header: a sync has failed, or the power has cut the rest
// off. Writing that header anew may be cut off, too.
func (db *DB) markRunning(ctx context.Context) error {
	if db.gone {
		return nil
	}
	mark := db.path + RunningSuffix
	_, err := db.disk.Size(mark)
	marked := err == nil
	if !marked && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = db.beginWAL(ctx)
	switch {
	case err == nil && marked:
		return nil
	case err == nil:
		return writeMark(db.disk, db.path, "")
	case db.NoRoom(err) == nil:
		return err
	}
	return db.disk.Remove(mark) // a gateway has to start to make room: it does so unmarked
}

// beginWAL lets the WAL have a durable transaction, which changes nothing, unless it has
// one.
func (db *DB) beginWAL(ctx context.Context) error {
	size, err := db.WALBytes()
	if err != nil || size >= walHeaderBytes+walFrameBytes {
		return err
	}
	return db.Write(ctx, func(conn *Conn) error {
		version, _, err := conn.version()
		if err != nil {
			return err
		}
		return conn.script(fmt.Sprintf("PRAGMA user_version=%d", version))
	})
}

// Gone reports whether Open has found that the WAL of a database which was not
// closed is gone, or the whole database; see [IsGone]. It does so at every Open until
// AcceptGone.
func (db *DB) Gone() bool { return db.gone }

// AcceptGone is for whoever has done about a database that is [DB.Gone] what there is
// to do, and has made that durable.
func (db *DB) AcceptGone() error {
	db.gone = false
	return writeMark(db.disk, db.path, "")
}

// marks reports whether the mark at the path is for this process to remove: not when
// the database is gone, nor for whoever only looks.
func (db *DB) marks() bool {
	return !db.gone && db.reading == roleReader && (len(db.files) == 0 || !db.files[0].isGone())
}

// unmark removes the mark when everything that was committed is in the database. Nobody
// writes any more.
func (db *DB) unmark() error {
	if !db.marks() || db.checkpointer == nil {
		return nil
	}
	if wal, err := db.Checkpoint(); err != nil || wal.Left > 0 {
		return nil // the WAL stays, or the last connection says why not
	}
	return db.disk.Remove(db.path + RunningSuffix)
}

// unmarkClosed does it where the last connection has moved what was left, and has
// removed the WAL.
func (db *DB) unmarkClosed() error {
	if !db.marks() {
		return nil
	}
	if gone, err := IsGone(db.disk, db.path); err != nil || !gone {
		return nil // a disk that does not tell says nothing of the WAL either
	}
	return db.disk.Remove(db.path + RunningSuffix)
}
