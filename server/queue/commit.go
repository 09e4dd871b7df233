package queue

import (
	"context"
	"fmt"
	"math"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

const (
	// saveInterval is how often settlements ride on commits. A commit of their
	// own follows as late when there is none.
	saveInterval = 25 * time.Millisecond
	// houseInterval is how often the committer looks for old frames, old
	// attempts, and room on a full disk.
	houseInterval = time.Second
	// A start reads at most so much again, before the window's rows are saved.
	replayRecords = 1 << 18
	replayBytes   = 64 << 20
)

// savesPerCommit bounds what a commit saves of the identity window.
var savesPerCommit = windowBudget{rows: 128, bytes: 256 << 10}

// committer is the goroutine that writes: one transaction per group, with
// everything else that waits for one.
type committer struct {
	q            *Queue
	checkpointer *checkpointer
	retention    retention
	full         full

	appendSeconds  observe.Histogram
	commitMessages observe.Histogram
	windowSeconds  observe.Gauge

	letters    *encoder      // of dead letters
	attempts   attemptTotals // that are stored
	sets       int           // owed sets that are stored
	ingress    ingressKept   // dead letters of ingress that are stored
	replayFrom edge.Position // as stored
	replayRead int64         // window.read at that position
	savedAt    time.Time     // settlements
	save       *time.Timer   // runs while something is settled and not saved
	waiting    bool          // the timer runs
	failed     *FatalError
}

func newCommitter(q *Queue) *committer {
	metrics := q.observer.Metrics
	c := &committer{
		q: q, checkpointer: newCheckpointer(q.db, q.settings.MaxBytes), retention: q.start.retention, full: newFull(q.settings.MaxBytes),
		appendSeconds: metrics.Histogram("queue_append_duration_seconds"), commitMessages: metrics.Histogram("queue_commit_messages"),
		windowSeconds: metrics.Gauge("idempotency_window_seconds"),
		letters:       q.start.letters, attempts: q.start.attempts, sets: q.start.sets, ingress: q.start.ingress, replayFrom: q.start.replayFrom,
		save: time.NewTimer(time.Hour),
	}
	c.save.Stop()
	c.windowSeconds.Set(q.window.reach(time.Now()).Seconds())
	return c
}

// run commits until ctx has ended and no group can come any more. It ends with
// what a start needs to begin where it left off.
func (c *committer) run(ctx context.Context, assembled <-chan *group, committed chan<- *group) error {
	defer c.save.Stop()
	house := time.NewTicker(houseInterval)
	defer house.Stop()
	stop := ctx.Done()
	for assembled != nil || stop != nil {
		select {
		case g, open := <-assembled:
			if !open {
				assembled = nil
				continue
			}
			c.handle(g)
			committed <- g
		case <-c.q.settled:
			c.saveSoon()
		case <-c.save.C:
			c.waiting = false
			_ = c.commit(nil) // tried again after a full disk
		case saved := <-c.q.flushes:
			saved <- c.commit(nil)
		case <-house.C:
			c.keepHouse()
		case err := <-c.checkpointer.failed:
			_ = c.writeFailed(err) // nobody waits for an answer
		case err := <-c.q.broken:
			c.fail(err)
		case <-stop:
			stop = nil
		}
		if c.failed != nil {
			stop = nil // refuse what is under way, then end
		}
	}
	if err := c.transact(&transaction{saving: saveEverything, now: time.Now()}); err != nil && c.failed == nil {
		// A start will read some frames again; nothing is lost by that.
		c.q.observer.Log.Warn("the queue closes without saving all of its state", "error", err)
	}
	if c.failed != nil {
		return c.failed
	}
	return nil
}

// handle commits a group, or says why it is not stored.
func (c *committer) handle(g *group) {
	switch {
	case c.failed != nil:
		g.failure = edge.AsError(c.failed)
	case g.generation != c.q.durable.generation.Load():
		g.failure = errFull() // it was assembled on top of a group that found no room
	case g.count > 0 || len(g.letters) > 0:
		if err := c.commit(g); err != nil {
			c.q.durable.generation.Add(1)
			g.failure = edge.AsError(err)
		}
	}
	if g.failure != nil {
		for _, span := range g.spans {
			span.Fail(g.failure)
			span.End()
		}
	}
}

// saving is how much of the state in memory a commit saves.
type saving int

const (
	saveNothing    saving = iota
	saveSettled           // what Settle has recorded
	saveSome              // and so much of the identity window that a start stays short
	saveEverything        // and all of the rest: a start reads no frame from before the commit
)

// transaction is what one commit writes, and what holds once it has succeeded.
type transaction struct {
	group  *group // nil when nothing is appended
	saving saving
	house  bool // look for old attempts, and write at least something
	now    time.Time

	sets       int
	ingress    ingressKept
	totals     totals // of the group only its refused messages
	save       *save
	window     windowSave
	replayFrom edge.Position
	replayRead int64
	retention  retention
	written    int64 // bytes that the transactions before have added to the WAL
	used       int64 // bytes of the file; 0 when nobody asked
}

// commit writes a group, when there is one, and what has been settled. The error
// is an [edge.Error] of code Full when nothing of it is stored but the queue
// lives on.
func (c *committer) commit(g *group) error {
	tx := &transaction{group: g, now: time.Now()}
	if g == nil || tx.now.Sub(c.savedAt) >= saveInterval {
		tx.saving = saveSettled
	}
	return c.transact(tx)
}

func (c *committer) transact(tx *transaction) error {
	if c.failed != nil {
		return c.failed
	}
	began := time.Now()
	err := c.q.db.Write(context.Background(), func(conn *sqlite.Conn) error { return c.write(conn, tx) })
	c.endSave(tx.save, err)
	if err != nil {
		c.q.window.putBack(tx.window)
		return c.writeFailed(err)
	}
	c.sets, c.ingress, c.retention, c.replayFrom, c.replayRead = tx.sets, tx.ingress, tx.retention, tx.replayFrom, tx.replayRead
	if tx.saving > saveNothing {
		c.savedAt = tx.now
	}
	c.q.ledger.replace(tx.totals)
	c.q.durable.letters.Store(tx.totals.refused)
	if tx.group != nil {
		c.publish(tx.group, began)
	}
	c.afterCommit(tx)
	return nil
}

// write fills the transaction.
func (c *committer) write(conn *sqlite.Conn, tx *transaction) (err error) {
	tx.ingress, tx.retention, tx.totals = c.ingress, c.retention, c.q.ledger.read()
	tx.replayFrom, tx.replayRead = c.replayFrom, c.replayRead
	if tx.sets, err = c.q.sets.write(conn, c.sets); err != nil {
		return err
	}
	if g := tx.group; g != nil && g.count > 0 {
		err := conn.Exec("INSERT INTO frame VALUES(?, ?, ?, ?, ?, ?)", int64(g.first), int64(g.count), g.committedAt.UnixMicro(), int64(g.owed), int64(g.raw), g.body)
		if err != nil {
			return fmt.Errorf("append frame: %w", err)
		}
		tx.retention.appended(g)
	}
	if g := tx.group; g != nil && len(g.letters) > 0 {
		if err := tx.ingress.keep(conn, g.letters, &tx.totals); err != nil {
			return fmt.Errorf("keep refused messages: %w", err)
		}
	}
	expired := tx.retention.due(c.q, tx.now)
	switch {
	case expired && tx.retention.end > c.replayFrom:
		tx.saving = saveEverything // a start may not miss the frames that go
	case c.behind():
		tx.saving = max(tx.saving, saveSome)
	}
	if err := c.writeState(conn, tx); err != nil {
		return err
	}
	if expired {
		if err := tx.retention.remove(conn, c.q, tx.replayFrom, tx.now); err != nil {
			return fmt.Errorf("remove old frames: %w", err)
		}
	}
	if tx.written, err = conn.WALWritten(); err != nil {
		return err
	}
	if c.full.asks(tx.written) {
		tx.used, err = conn.UsedBytes()
	}
	return err
}

// writeState saves as much of the state as the transaction is meant to. The
// state is that before the group of the transaction.
func (c *committer) writeState(conn *sqlite.Conn, tx *transaction) (err error) {
	changed := tx.house || tx.saving >= saveSome || tx.group != nil && len(tx.group.letters) > 0
	attempts := c.attempts
	if tx.saving >= saveSettled {
		if tx.save, err = c.saveAccounts(conn, tx.saving >= saveSome); err != nil {
			return err
		}
		if tx.house {
			if err := tx.save.attempts.removeOld(conn, tx.now); err != nil {
				return fmt.Errorf("remove old attempts: %w", err)
			}
		}
		attempts = tx.save.attempts
		changed = changed || len(tx.save.accounts) > 0
	}
	if tx.saving >= saveSome {
		budget := savesPerCommit
		if tx.saving == saveEverything {
			budget = windowBudget{rows: math.MaxInt, bytes: math.MaxInt}
		}
		tx.window = c.q.window.take(c.q.Head(), budget)
		if err := tx.window.write(conn); err != nil {
			return err
		}
		tx.replayFrom, tx.replayRead = c.q.window.replay(c.q.Head())
	}
	if !changed {
		return nil
	}
	return tx.totals.write(conn, tx.replayFrom, attempts.bytes)
}

// behind reports whether a start would have to read too much again.
func (c *committer) behind() bool {
	return c.q.Head()-c.replayFrom > replayRecords || c.q.window.read.Load()-c.replayRead > replayBytes
}

// publish lets everybody see the records of a commit that is durable.
func (c *committer) publish(g *group, began time.Time) {
	q := c.q
	if g.count > 0 {
		q.ledger.replace(q.ledger.read().add(g))
		q.shelf.put(storedFrame{first: g.first, count: g.count, committedAt: g.committedAt, body: g.body})
		for _, account := range q.registry.all() {
			account.count(g, q.sets)
		}
		q.durable.head.Store(int64(g.last()))
		q.grown.broadcast()
		for _, account := range q.registry.all() {
			account.due.broadcast()
		}
		c.commitMessages.Observe(float64(g.count))
	}
	c.appendSeconds.Observe(time.Since(g.openedAt).Seconds())
	c.trace(g, began)
}

// linksMax bounds the links of one commit's span.
const linksMax = 128

// trace ends the spans of the sampled records of a commit, each linked to the
// one span of the commit, and that to them. The commit belongs to the trace of
// the first of them, because a trace of its own would be sampled separately.
func (c *committer) trace(g *group, began time.Time) {
	if len(g.spans) == 0 {
		return
	}
	links := make([]observe.TraceContext, 0, min(len(g.spans), linksMax))
	for _, span := range g.spans[:cap(links)] {
		links = append(links, span.Context())
	}
	commit := c.q.observer.Tracer.Start(links[0], "queue.commit", observe.WithStart(began), observe.WithLinks(links...))
	commit.Set("messages", g.count)
	for _, span := range g.spans {
		span.Link(commit.Context())
		span.End()
	}
	commit.End()
}

// writeFailed decides what a failed write means. A full disk refuses what was
// to be stored; anything else ends the process.
func (c *committer) writeFailed(err error) error {
	if !sqlite.IsFull(err) {
		return c.fail(err)
	}
	if !c.full.disk {
		c.q.observer.Log.Error("the disk is full: the queue takes nothing until a write succeeds", "error", err)
	}
	c.full.disk = true
	c.full.apply(c.q.intake)
	return errFull()
}

// fail ends Run as soon as everything under way is refused.
func (c *committer) fail(err error) error {
	if c.failed == nil {
		c.failed = &FatalError{Err: err}
		c.q.observer.Log.Error("a write has failed: the process must exit", "error", err)
		c.q.Seal()
	}
	return c.failed
}

// saveSoon starts the timer for settlements, unless it runs.
func (c *committer) saveSoon() {
	if c.waiting {
		return
	}
	c.waiting = true
	c.save.Reset(max(saveInterval-time.Since(c.savedAt), saveInterval/5))
}
