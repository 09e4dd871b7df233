package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"combotto.io/gateway/server/sqlite"
)

// reserve is a file beside the database that holds room on the disk for the day
// on which there is none. Removing records takes room before it gives any: the
// WAL grows, and a checkpoint may make the database longer. On a full disk the
// reserve is given back for that, and made again before records are taken.
//
// A process of somebody else may take the room as soon as it is given back. Then
// the queue waits, as it would without a reserve.
type reserve struct {
	disk sqlite.Disk
	path string
	size int64
}

const (
	reserveSuffix = "-reserve"
	// startBytes is what SQLite needs to open a database, besides a copy of the WAL.
	startBytes = 1 << 20
)

// openReserve finds the reserve that an earlier start has left, and gives it back
// when the disk is so full that the database could not be opened, or a WAL not
// be copied as it should.
func openReserve(disk sqlite.Disk, database string) (*reserve, error) {
	path, err := filepath.Abs(database + reserveSuffix)
	if err != nil {
		return nil, fmt.Errorf("find the reserve: %w", err)
	}
	r := &reserve{disk: disk, path: path}
	found, err := disk.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the reserve: %w", err)
	}
	r.size = found.Size
	wal, err := disk.Size(strings.TrimSuffix(path, reserveSuffix) + "-wal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find the reserve: %w", err)
	}
	if found.Free < wal+startBytes {
		_ = r.resize(0) // opening the database tells more
	}
	return r, nil
}

// capacity returns the size of the file system.
func (r *reserve) capacity() (int64, error) {
	system, err := r.disk.Stat(filepath.Dir(r.path))
	return system.Capacity, err
}

// resize makes the reserve longer or shorter, durably. When the disk has no room
// for it, it stays as it is.
func (r *reserve) resize(size int64) (err error) {
	if size == r.size {
		return nil
	}
	file, err := r.disk.Open(r.path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("make a reserve of %d bytes: %w", size, err)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = fmt.Errorf("make a reserve of %d bytes: %w", size, err)
		}
	}()
	if size > r.size {
		err = file.Allocate(size)
	} else {
		err = file.Truncate(size)
	}
	if err != nil {
		return err
	}
	r.size = size
	// Some file systems give blocks out again only once it is durable that they
	// belong to nobody.
	if err := file.Sync(); err != nil {
		return err
	}
	return r.disk.SyncFolder(filepath.Dir(r.path))
}
