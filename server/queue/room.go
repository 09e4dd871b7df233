package queue

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// look looks at the disk. What the database uses of its pages was read before.
func (c *committer) look(usage sqlite.Usage) (look, error) {
	wal, err := c.q.db.WALBytes()
	if err != nil {
		return look{}, err
	}
	system, err := c.q.settings.Disk.Stat(filepath.Dir(c.reserve.path))
	if err != nil {
		return look{}, fmt.Errorf("measure the file system: %w", err)
	}
	return look{used: usage.Used, spare: usage.Spare, wal: wal, reserve: c.reserve.size, free: min(system.Free, unbounded)}, nil
}

// measure looks at the disk, makes the reserve whole where that is possible, and
// opens or closes the intake.
func (c *committer) measure(usage sqlite.Usage) {
	found, err := c.look(usage)
	if err != nil {
		c.q.observer.Log.Warn("the size of the queue is not known", "error", err)
		return
	}
	if !c.full.struck && found.reserve != c.full.bounds.reserve {
		c.restore(&found)
	}
	c.judge(&found)
}

// judge opens or closes the intake by what was found.
func (c *committer) judge(found *look) {
	before := c.full
	c.full.measured(found)
	c.found = *found
	c.apply(before)
}

// strike closes the intake after a write that found no room, and gives the
// reserve back, for what is to be removed.
func (c *committer) strike(cause error) {
	c.cause = cause
	if c.full.struck {
		return
	}
	c.q.observer.Log.Error("the disk takes no more: the queue takes nothing until it does", "error", cause)
	before := c.full
	c.full.struck = true
	if err := c.reserve.resize(0); err != nil {
		c.q.observer.Log.Warn("the reserve cannot be given back", "error", err)
	}
	c.found.free += c.found.reserve - c.reserve.size
	c.found.reserve = c.reserve.size
	c.apply(before)
}

// reopen finds out whether the disk has room again after a write that found
// none. By then a transaction has removed what could go. When everything in the
// WAL can be moved to the database too, nothing is left that needs more room
// than is known; and then the reserve must have its room again.
func (c *committer) reopen() {
	all, err := c.checkpointer.now()
	if err != nil {
		_ = c.writeFailed(fmt.Errorf("after a full disk: %w", err)) // nobody waits for an answer
		return
	}
	usage, _, err := c.lookAround(c.q.clock.now())
	if err != nil || !all {
		return // tried again by the next round
	}
	found, err := c.look(usage)
	if err != nil || !c.restore(&found) {
		return
	}
	before := c.full
	c.full.struck, c.full.scarce = false, true // there must be clearly more room than when it began
	c.full.measured(&found)
	c.found = found
	c.apply(before)
}

// restore makes the reserve as large as it should be and can be, and reports
// whether that is enough to take records.
func (c *committer) restore(found *look) (ok bool) {
	size, ok := c.full.restores(found)
	if !ok {
		return false
	}
	if err := c.reserve.resize(size); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return false
		}
		// The file system has no call for it, or is broken: the next write will
		// tell. Records are taken without a reserve rather than not at all.
		c.q.observer.Log.Warn("nothing is held in reserve for a full disk until the next start", "error", err)
		c.full.bounds.reserve, size = 0, found.reserve
	}
	found.free -= size - found.reserve
	found.reserve = size
	return true
}

// apply opens or closes the intake, and says so when something has changed.
func (c *committer) apply(before full) {
	held := c.holder(c.found.used)
	c.q.room.Store(&room{
		look: c.found, left: c.untilFull(), closed: c.full.closed(), warned: c.full.warned, warning: c.warning(held),
	})
	c.refused = c.refusal(held)
	c.q.intake.refuse(c.refused)
	log, facts := c.q.observer.Log, []any{
		"bytes", c.found.taken(), "limit", c.full.limit, "free", c.found.free, "sink", held.sink, "sink_holds", held.bytes,
	}
	switch {
	case c.full.closed() && !before.closed():
		log.Error("the queue is full: messages are refused", facts...)
	case before.closed() && !c.full.closed():
		log.Info("the queue has room again: messages are taken", facts...)
	case c.full.warned && !before.warned:
		log.Warn("the queue is filling up: gatewayctl forecast tells when it is full", facts...)
	case before.warned && !c.full.warned:
		log.Info("the queue is not filling up any more", facts...)
	}
}

// noRoom says why a group is not stored.
func (c *committer) noRoom() *edge.Error {
	if c.refused != nil {
		return c.refused
	}
	return edge.NewFull()
}

// room is what others may know of it.
type room struct {
	look    look
	left    int64 // see committer.untilFull
	closed  bool
	warned  bool
	warning string // with warned
}

// holder is the sink that keeps most records from being removed.
type holder struct {
	sink    string // empty when there is none
	removed bool
	bytes   int64
}

// holder finds the sink whose oldest record is the oldest of all.
func (c *committer) holder(used int64) (held holder) {
	first := c.q.Head() + 1
	for _, account := range c.q.registry.all() {
		if position, pending := account.pinned(); pending && position < first {
			first = position
			held.sink, held.removed = account.name, account.isRemoved()
		}
	}
	if held.sink != "" {
		held.bytes = c.q.bytesFrom(first, c.oldest, used)
	}
	return held
}
