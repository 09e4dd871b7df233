package sqlite

import (
	"errors"
	"fmt"
	"io/fs"

	"modernc.org/sqlite"
)

// walFrameBytes is what one page takes in the WAL.
const walFrameBytes = PageBytes + walFrameHeader

// WAL says how far a checkpoint came.
type WAL struct {
	Bytes int64 // what the WAL holds, moved or not
	Left  int64 // of these, not yet in the database file
}

// Checkpoint moves what is in the WAL to the database file, as far as readers
// allow. It never waits for a reader or a writer and never shortens the WAL:
// when nothing is left, the next transaction writes it from the beginning again.
func (db *DB) Checkpoint() (WAL, error) {
	db.checkpointing.Lock()
	defer db.checkpointing.Unlock()
	var busy, pages, moved int64
	_, err := db.checkpointer.One("PRAGMA wal_checkpoint(PASSIVE)", func(row Row) {
		busy, pages, moved = row.Int(0), row.Int(1), row.Int(2)
	})
	if err != nil {
		return WAL{}, fmt.Errorf("checkpoint %s: %w", db.path, err)
	}
	if busy != 0 {
		moved = 0 // another process checkpoints; how far it came is not known
	}
	return WAL{Bytes: pages * walFrameBytes, Left: (pages - moved) * walFrameBytes}, nil
}

// WALWritten returns how many bytes this connection has added to the WAL since
// the last call.
func (c *Conn) WALWritten() (int64, error) {
	pages, _, err := c.raw.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
	return int64(pages) * walFrameBytes, wrap("count written pages", err)
}

// UsedBytes returns the size of the database without its free pages. The WAL
// comes on top.
func (c *Conn) UsedBytes() (int64, error) {
	var pages, free int64
	_, err := c.One("PRAGMA page_count", func(row Row) { pages = row.Int(0) })
	if err != nil {
		return 0, err
	}
	_, err = c.One("PRAGMA freelist_count", func(row Row) { free = row.Int(0) })
	return (pages - free) * PageBytes, err
}

// WALBytes returns the size of the WAL file.
func (db *DB) WALBytes() (int64, error) {
	size, err := db.disk.Size(db.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("size of the WAL: %w", err)
	}
	return size, nil
}
