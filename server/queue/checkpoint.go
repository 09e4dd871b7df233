package queue

import (
	"fmt"

	"combotto.io/gateway/server/sqlite"
)

const (
	walSoft = 16 << 20           // a checkpoint runs beside the committer
	walHard = sqlite.WALBytesMax // the committer runs one itself
	walPart = 8                  // of a bounded queue: a smaller soft bound, and a hard one of twice as much
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

func newCheckpointer(db *sqlite.DB, maxBytes int64) *checkpointer {
	c := &checkpointer{db: db, soft: walSoft, hard: walHard, request: make(chan struct{}, 1), failed: make(chan error, 1), halted: make(chan struct{})}
	if maxBytes > 0 {
		c.soft = min(c.soft, maxBytes/walPart)
		c.hard = min(c.hard, 2*c.soft)
	}
	return c
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
		return c.now()
	case c.appended >= c.soft:
		c.appended = 0
		nudge(c.request)
	}
	return nil
}

// now moves what is left. When a reader prevents it, the next try comes after
// another soft bound.
func (c *checkpointer) now() error {
	wal, err := c.db.Checkpoint()
	if err != nil {
		return fmt.Errorf("move the WAL: %w", err)
	}
	c.appended, c.length = 0, 0
	if wal.Left > 0 {
		c.length = min(wal.Bytes, c.hard-c.soft)
	}
	return nil
}
