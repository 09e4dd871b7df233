package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

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
	db.checkpointing <- struct{}{}
	defer func() { <-db.checkpointing }()
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

// BoundWAL makes the WAL shorter when it is next written from its beginning and
// has become longer than so many bytes. Without it that is [WALBytesMax].
func (db *DB) BoundWAL(ctx context.Context, bytes int64) error {
	conn, err := db.borrow(ctx, db.writer) // it alone writes from the beginning
	if err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer func() { db.writer <- conn }()
	value := strconv.FormatInt(bytes, 10)
	return conn.apply(pragma{"journal_size_limit", value, value})
}

// Usage is what the pages of the database are used for, in bytes. The WAL comes
// on top.
type Usage struct {
	Used  int64 // by what is stored
	Spare int64 // by nothing: what is stored next goes there
}

// Usage returns what the pages of the database are used for.
func (c *Conn) Usage() (usage Usage, err error) {
	_, err = c.One("PRAGMA page_count", func(row Row) { usage.Used = row.Int(0) * PageBytes })
	if err != nil {
		return Usage{}, err
	}
	_, err = c.One("PRAGMA freelist_count", func(row Row) { usage.Spare = row.Int(0) * PageBytes })
	usage.Used -= usage.Spare
	return usage, err
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
