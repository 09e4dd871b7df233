package queuefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"combotto.io/gateway/server/sqlite"
)

// Reserve is a file beside the database that holds room on the disk for the day
// on which there is none. Removing records takes room before it gives any: the
// WAL grows, and a checkpoint may make the database longer. On a full disk the
// reserve is given back for that, and made again before records are taken.
//
// A process of somebody else may take the room as soon as it is given back. Then
// the queue waits, as it would without a reserve.
type Reserve struct {
	disk sqlite.Disk
	Path string
	Size int64
}

const (
	reserveSuffix = "-reserve"
	// startBytes is what SQLite needs to open a database, besides a copy of the WAL.
	startBytes = 1 << 20
)

// OpenReserve finds the reserve that an earlier start has left, and gives it back
// when the disk is so full that the database could not be opened, or a WAL not
// be copied as it should.
func OpenReserve(disk sqlite.Disk, database string) (*Reserve, error) {
	path, err := filepath.Abs(database + reserveSuffix)
	if err != nil {
		return nil, fmt.Errorf("find the reserve: %w", err)
	}
	r := &Reserve{disk: disk, Path: path}
	found, err := disk.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the reserve: %w", err)
	}
	r.Size = found.Size
	wal, err := disk.Size(strings.TrimSuffix(path, reserveSuffix) + "-wal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find the reserve: %w", err)
	}
	if found.Free < wal+startBytes {
		_ = r.Resize(0) // opening the database tells more
	}
	return r, nil
}

// Capacity returns the size of the file system.
func (r *Reserve) Capacity() (int64, error) {
	system, err := r.disk.Stat(filepath.Dir(r.Path))
	return system.Capacity, err
}

// Resize makes the reserve longer or shorter, durably. When the disk has no room
// for it, it stays as it is.
func (r *Reserve) Resize(size int64) (err error) {
	if size == r.Size {
		return nil
	}
	file, err := r.disk.Open(r.Path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("make a reserve of %d bytes: %w", size, err)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = fmt.Errorf("make a reserve of %d bytes: %w", size, err)
		}
	}()
	if size > r.Size {
		err = file.Allocate(size)
	} else {
		err = file.Truncate(size)
	}
	if err != nil {
		return err
	}
	r.Size = size
	// Some file systems give blocks out again only once it is durable that they
	// belong to nobody.
	if err := file.Sync(); err != nil {
		return err
	}
	return r.disk.SyncFolder(filepath.Dir(r.Path))
}
