package queue

import (
	"context"
	"fmt"
	"time"

	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// afterCommit looks after the files once a commit has succeeded. The commit is
// durable, whatever fails here.
func (c *committer) afterCommit(tx *transaction) {
	due, err := c.checkpointer.wrote(tx.written)
	if err != nil {
		_ = c.writeFailed(err) // the next commit hears of it
	}
	if due {
		c.oldRows.begin(c.q)
	}
	if tx.usage.Used > 0 {
		c.space.assess(tx.usage)
	}
	if c.unassessed += tx.written; c.unassessed >= c.space.full.assess {
		c.unassessed = 0
		c.retention.update(c.q)
		nudge(c.q.enlarged)
	}
	if tx.eviction.more || c.space.full.urgent() && (c.retention.due(c.q, tx.now, true) || c.evictFrom(0) != nil) {
		c.saveSoon() // a commit of its own removes more, when no other comes first
	}
}

// maintain removes what is old, merges what is small, and finds out whether there
// is room. When there is nothing to do it writes nothing.
func (c *committer) maintain() {
	now := c.q.clock.now()
	c.watchClock()
	c.q.window.forgetOld(now)
	c.windowSeconds.Set(c.q.window.reach(now).Seconds())
	c.windowMessages.Set(float64(c.q.window.messages()))
	c.retention.update(c.q)
	usage, old, err := c.readMaintenance(now)
	if err != nil {
		c.q.observer.Log.Warn("the queue could not look after itself", "error", err)
		return
	}
	c.space.assess(usage)
	c.sample(now)
	c.measureLetters()
	tx := &transaction{saving: saveSettled, maintenance: true, now: now}
	if c.space.full.urgent() && c.q.window.exceeds() {
		tx.saving = saveMuch // the rows of what is known are shorter
	}
	moved := c.moveHeldWAL()
	if moved || tx.saving == saveMuch || old || c.roomDue(now) {
		err = c.transact(tx) // tried again by the next round
	}
	if c.space.full.struck && err == nil {
		c.reopen()
	}
	c.merger.left = mergesPerSecond
	c.mergeNext()
}

// roomDue reports whether something has to make room, though nothing else is written.
func (c *committer) roomDue(now time.Time) bool {
	return c.space.full.struck || c.retention.due(c.q, now, c.space.full.urgent()) || c.lettersDue() ||
		c.lossesOver || c.ingress.exceeds(c.q.bounds.ingress) || c.asideBytes > c.q.bounds.aside
}

// finishCheckpoint lets the WAL be used from its beginning again. After a write
// that failed nothing may be moved: what the disk has of the WAL is not known.
func (c *committer) finishCheckpoint(err error) {
	if c.failed != nil {
		return
	}
	if err := c.checkpointer.finish(err); err != nil {
		_ = c.writeFailed(err) // nobody waits for an answer
	}
}

// moveHeldWAL moves what a reader has kept in the WAL, which it lets grow without bound,
// and reports whether all is moved: then the next commit makes the WAL as short as it
// should be. While the intake is closed by its length nothing is written which would come
// to a checkpoint. As long as the reader is there the log says so once. After a write that
// found no room this is for reopen.
func (c *committer) moveHeldWAL() (all bool) {
	if c.failed != nil || c.space.full.struck || !c.space.full.urgent() || c.space.usage.wal <= c.q.bounds.walHard {
		c.held = false
		return false
	}
	all, err := c.checkpointer.now()
	if err != nil {
		_ = c.writeFailed(err) // nobody waits for an answer
		return false
	}
	if !all && !c.held {
		c.q.observer.Log.Warn("the WAL takes room that the queue needs, and a reader keeps it from being used again", "wal_bytes", c.space.usage.wal, "limit", c.space.full.limit,
			"hint", "end what reads the file: lsof "+c.q.settings.Path+" names it, and gatewayctl queue backup makes a copy to look at; docs/runbooks/disk-full.md")
	}
	c.held = !all
	return all
}

// reopen finds out whether the disk has room again after a write that found
// none. By now a transaction has removed what could go.
func (c *committer) reopen() {
	all, err := c.checkpointer.now()
	if err != nil {
		_ = c.writeFailed(fmt.Errorf("after a full disk: %w", err)) // nobody waits for an answer
		return
	}
	usage, _, err := c.readMaintenance(c.q.clock.now())
	if err == nil && all {
		c.space.reopen(usage)
	}
}

// readMaintenance reads what there is to maintain.
func (c *committer) readMaintenance(now time.Time) (usage sqlite.Usage, old bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), maintenanceInterval/10)
	defer cancel() // the readers may all be busy, and commits must not wait for them
	err = c.q.read(ctx, func(conn *sqlite.Conn) (err error) {
		if old, err = attemptsDue(conn, c.attempts.bytes, c.q.bounds.attempts, now); err != nil {
			return err
		}
		if c.space.oldest, err = oldestStored(conn); err != nil {
			return err
		}
		if err := c.measureLosses(conn, now); err != nil {
			return err
		}
		if err := c.space.readLetters(conn); err != nil {
			return err
		}
		usage, err = conn.Usage()
		return err
	})
	return usage, old, err
}

// The loss report grows by a stretch of a bounded size per hour, sink and reason, and to
// measure it is to read it. So that is done once in a while.
const (
	lossesInterval       = time.Hour
	lossesIntervalUrgent = time.Minute // while there is little room
)

// measureLosses finds out whether the loss report takes more than its share.
func (c *committer) measureLosses(conn *sqlite.Conn, now time.Time) error {
	interval := lossesInterval
	if c.space.full.urgent() {
		interval = lossesIntervalUrgent
	}
	if c.lossesOver || now.Sub(c.lossesAt) < interval {
		return nil
	}
	c.lossesAt = now
	bytes, err := queuefile.LossBytes(conn)
	c.lossesOver = bytes > c.q.bounds.losses
	return err
}

// watchClock says when the wall clock cannot be believed, and when it can again.
func (c *committer) watchClock() {
	at, floored := c.q.clock.believe(time.Now().Round(0))
	if floored == c.floored {
		return
	}
	c.floored = floored
	if !floored {
		c.q.observer.Log.Info("the wall clock is believed again")
		return
	}
	c.q.observer.Log.Warn("the wall clock is earlier than it can be: receive times count on from the last one that was known, and are counted as floored", "wall_clock", time.Now(),
		"receive_time", at, "hint", "set the clock, or see why it is not: timedatectl; nothing expires and nothing stops meanwhile")
}
