package queue

import (
	"fmt"

	"combotto.io/gateway/server/sqlite"
)

// checkpointer moves the WAL to the database file. Beside a committer that never
// pauses a checkpoint cannot catch up, and the WAL is used from its beginning
// again only when everything has been moved. So at the hard bound the committer
// moves the rest itself, which is little by then.
type checkpointer struct {
	db         *sqlite.DB
	soft, hard int64

	request chan struct{}
	failed  chan error
	halted  chan struct{} // closed when a write has failed: nothing may be moved any more

	// Only the committer touches these.
	appended int64 // since the last request
	length   int64 // of the WAL, at most
}

func newCheckpointer(db *sqlite.DB, soft, hard int64) *checkpointer {
	return &checkpointer{db: db, soft: soft, hard: hard, request: make(chan struct{}, 1), failed: make(chan error, 1), halted: make(chan struct{})}
}

// run is the goroutine beside the committer.
func (c *checkpointer) run() {
	for range c.request {
		select {
		case <-c.halted:
			return
		default:
		}
		if _, err := c.db.Checkpoint(); err != nil {
			select {
			case c.failed <- err:
			default: // the committer has not heard of the last failure yet
			}
		}
	}
}

func (c *checkpointer) stop() { close(c.request) }

// wrote is told how much a commit has added to the WAL.
func (c *checkpointer) wrote(bytes int64) error {
	c.appended += bytes
	c.length += bytes
	switch {
	case c.length >= c.hard:
		_, err := c.now()
		return err
	case c.appended >= c.soft:
		c.appended = 0
		nudge(c.request)
	}
	return nil
}

// now moves what is left, and reports whether it could move all of it. When a
// reader prevents that, the next try comes after another soft bound.
func (c *checkpointer) now() (all bool, err error) {
	wal, err := c.db.Checkpoint()
	if err != nil {
		return false, fmt.Errorf("move the WAL: %w", err)
	}
	c.appended, c.length = 0, 0
	if wal.Left > 0 {
		c.length = min(wal.Bytes, c.hard-c.soft)
	}
	return wal.Left == 0, nil
}
