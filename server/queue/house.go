package queue

import (
	"context"
	"fmt"
	"time"

	"combotto.io/gateway/server/sqlite"
)

// afterCommit looks after the files once a commit has succeeded. The commit is
// durable, whatever fails here.
func (c *committer) afterCommit(tx *transaction) {
	if err := c.checkpointer.wrote(tx.written); err != nil {
		_ = c.writeFailed(err) // the next commit hears of it
	}
	if tx.used > 0 {
		c.measure(tx.used)
	}
	if c.full.crowded && c.retention.due(c.q, tx.now, true) {
		c.saveSoon() // a commit of its own removes more, when no other comes first
	}
}

func (c *committer) measure(used int64) {
	wal, err := c.q.db.WALBytes()
	if err != nil {
		c.q.observer.Log.Warn("the size of the queue is not known", "error", err)
		return
	}
	if c.full.measured(used + wal) {
		c.full.apply(c.q.intake)
		c.q.observer.Log.Warn("the limit of the queue was passed", "full", c.full.reached, "bytes", used+wal, "limit", c.full.limit)
	}
}

// keepHouse removes what is old, and finds out whether a full disk has room
// again. When there is nothing to do it writes nothing.
func (c *committer) keepHouse() {
	now := time.Now()
	c.q.window.forgetOld(now)
	c.windowSeconds.Set(c.q.window.reach(now).Seconds())
	ctx, cancel := context.WithTimeout(context.Background(), houseInterval/10)
	defer cancel() // the readers may all be busy, and commits must not wait for them
	old := false
	err := c.q.db.Read(ctx, func(conn *sqlite.Conn) (err error) {
		if old, err = attemptsDue(conn, c.attempts.bytes, now); err != nil {
			return err
		}
		if c.full.limit > 0 {
			used, err := conn.UsedBytes()
			c.measure(used)
			return err
		}
		return nil
	})
	if err != nil {
		c.q.observer.Log.Warn("the queue could not look after itself", "error", err)
		return
	}
	if old || c.full.disk || c.retention.due(c.q, now, c.full.urgent()) {
		_ = c.makeRoom(now) // tried again by the next round
	}
}

// makeRoom removes what is old. When that and a checkpoint succeed, the disk is
// not full any more.
func (c *committer) makeRoom(now time.Time) error {
	if err := c.transact(&transaction{saving: saveSettled, house: true, now: now}); err != nil {
		return err
	}
	if !c.full.disk {
		return nil
	}
	if err := c.checkpointer.now(); err != nil {
		return c.writeFailed(fmt.Errorf("after a full disk: %w", err))
	}
	c.full.disk = false
	c.full.apply(c.q.intake)
	c.q.observer.Log.Info("the disk has room again: the queue takes records")
	return nil
}
