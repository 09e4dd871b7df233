package queue

import (
	"fmt"

	"combotto.io/gateway/server/sqlite"
)

// checkpointer moves the WAL to the database file. Beside a committer that never
// pauses a checkpoint cannot catch up, and the WAL is used from its beginning
// again only when everything has been moved. So the committer moves the rest
// itself: as soon as a checkpoint beside it has ended, when that is little, and at
// the hard bound at the latest. A WAL that is used again does not grow, and a
// commit that makes its file longer takes half as long again, because the file
// system has its own commit to make then.
type checkpointer struct {
	db                 *sqlite.DB
	soft, hard, little int64

	request chan struct{}
	ended   chan error    // of the checkpoint that was requested; never full, because one is requested at a time
	halted  chan struct{} // closed when a write has failed: nothing may be moved any more

	// Only the committer touches these.
	beside   bool  // one was requested and has not ended
	appended int64 // since the last request
	length   int64 // of the WAL, at most
}

// littleShare is how much of the soft bound the committer moves at once, with
// everybody waiting: 2 MiB at most.
const littleShare = 8

func newCheckpointer(db *sqlite.DB, soft, hard int64) *checkpointer {
	return &checkpointer{
		db: db, soft: soft, hard: hard, little: soft / littleShare,
		request: make(chan struct{}, 1), ended: make(chan error, 1), halted: make(chan struct{}),
	}
}

// run is the goroutine beside the committer.
func (c *checkpointer) run() {
	for range c.request {
		select {
		case <-c.halted:
			return
		default:
		}
		_, err := c.db.Checkpoint()
		c.ended <- err
	}
}

func (c *checkpointer) stop() { close(c.request) }

// wrote is told how much a commit has added to the WAL, and reports whether it is time
// for a checkpoint.
func (c *checkpointer) wrote(bytes int64) (due bool, err error) {
	c.appended += bytes
	c.length += bytes
	switch {
	case c.length >= c.hard:
		_, err := c.now()
		return true, err
	case c.appended >= c.soft && !c.beside:
		c.appended, c.beside = 0, true
		nudge(c.request)
		return true, nil
	}
	return false, nil
}

// finish is told how the checkpoint beside the committer has ended, and moves what
// was added meanwhile when that is little.
func (c *checkpointer) finish(err error) error {
	c.beside = false
	if err != nil || c.appended > c.little {
		return err
	}
	_, err = c.now()
	return err
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
