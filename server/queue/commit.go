package queue

import (
	"context"
	"errors"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const (
	// saveInterval is how often settlements ride on commits. A commit of their
	// own follows as late when there is none.
	saveInterval = 25 * time.Millisecond
	// maintenanceInterval is how often the committer looks for old frames, old
	// attempts, and room on a full disk.
	maintenanceInterval = time.Second
	// sealDelay is how long sealed batches wait for records to ride with.
	sealDelay = 100 * time.Microsecond
)

// committer is the goroutine that writes: one transaction per group, with
// everything else that waits for one.
type committer struct {
	q            *Queue
	checkpointer *checkpointer
	merger       *merger
	space        space
	oldRows      oldRows

	appendSeconds  observe.Histogram
	commitMessages observe.Histogram
	windowSeconds  observe.Gauge
	windowMessages observe.Gauge

	fileState
	letters     *queuefile.Encoder // of dead letters
	unassessed  int64              // bytes that were written since the last assessment
	savedAt     time.Time          // settlements, gateway time
	clockAt     time.Time          // when the clock was saved, gateway time
	floored     bool               // the wall clock cannot be believed
	held        bool               // a reader keeps the WAL long, and that was said
	lossesAt    time.Time          // when the loss report was measured, gateway time
	committedAt time.Time          // gateway time of the last commit
	sealing     bool               // somebody waits for a sealed batch to be saved
	save        *time.Timer        // runs while something is settled and not saved
	waiting     bool               // the timer runs
	failed      *FatalError
}

func newCommitter(q *Queue) *committer {
	metrics := q.observer.Metrics
	c := &committer{
		q: q, checkpointer: newCheckpointer(q.db, q.bounds.walSoft, q.bounds.walHard), space: newSpace(q),
		appendSeconds: metrics.Histogram("queue_append_duration_seconds"), commitMessages: metrics.Histogram("queue_commit_messages"),
		windowSeconds: metrics.Gauge("idempotency_window_seconds"), windowMessages: metrics.Gauge("idempotency_window_messages"),
		fileState: q.start.fileState, letters: q.start.letters, save: time.NewTimer(time.Hour),
	}
	c.save.Stop()
	c.merger = newMerger(q, q.start.merging, q.start.small)
	c.windowSeconds.Set(q.window.reach(q.clock.now()).Seconds())
	c.windowMessages.Set(float64(q.window.messages()))
	return c
}

// run commits until ctx has ended and no group can come any more. It ends with
// what a start needs to begin where it left off.
func (c *committer) run(ctx context.Context, assembled <-chan *group, committed chan<- *group) error {
	defer c.save.Stop()
	c.maintain() // how much room there is decides whether records are taken
	rounds := time.NewTicker(maintenanceInterval)
	defer rounds.Stop()
	for _, what := range c.q.start.damaged {
		_ = c.quarantine(damageReport{damaged: what}) // whoever meets it asks again
	}
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
		case <-c.q.seals:
			c.sealSoon()
		case <-c.save.C:
			c.waiting = false
			_ = c.commit(nil) // tried again after a full disk
		case flush := <-c.q.flushes:
			flush.saved <- c.transact(&transaction{saving: flush.saving, now: c.q.clock.now()})
		case report := <-c.q.damaged:
			report.done <- c.quarantine(report)
		case result := <-c.merger.ready:
			c.mergeFrames(result)
		case <-rounds.C:
			c.maintain()
		case err := <-c.checkpointer.ended:
			c.finishCheckpoint(err)
		case err := <-c.q.broken:
			c.fail(err)
		case <-stop:
			stop = nil
		}
		if c.failed != nil {
			stop = nil // refuse what is under way, then end
		}
	}
	select {
	case err := <-c.q.broken: // it came together with the end
		_ = c.fail(err)
	default:
	}
	if err := c.transact(&transaction{saving: saveEverything, now: c.q.clock.now()}); err != nil && c.failed == nil {
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
		g.failure = c.space.noRoom() // it was assembled on top of a group that found none
	case c.space.full.struck && g.stores():
		c.q.durable.generation.Add(1)
		g.failure = c.space.noRoom() // what the reserve held is for removing records
	case g.stores():
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

// commit writes a group, when there is one, and what has been settled. After
// an error nothing of it is stored; only a [*FatalError] ends the queue.
func (c *committer) commit(g *group) error {
	tx := &transaction{group: g, now: c.q.clock.now()}
	if g == nil || c.sealing || tx.now.Sub(c.savedAt) >= saveInterval {
		tx.saving = saveSettled
	}
	return c.transact(tx)
}

// transact writes a transaction and brings what is in memory to where it leads.
// A transaction that fails changes nothing.
func (c *committer) transact(tx *transaction) error {
	if c.failed != nil {
		return c.failed
	}
	began := time.Now()
	err := c.q.db.Write(context.Background(), func(conn *sqlite.Conn) error { return c.write(conn, tx) })
	if err != nil {
		err = c.writeFailed(err)
	}
	c.endSave(tx.save, err)
	if err != nil {
		c.q.window.putBack(tx.window)
		tx.end(false)
		return err
	}
	if tx.retention.removed > c.retention.removed {
		c.q.sizes.removed(tx.retention.removed)
	}
	if tx.apart != (queuefile.Span{}) {
		c.q.window.setAside(tx.apart)
	}
	if merged := tx.merged; merged != nil && merged.change != 0 {
		c.q.sizes.replaced(merged.first, merged.end, merged.change)
	}
	c.fileState = tx.fileState
	if tx.saving > saveNothing {
		c.savedAt, c.sealing = tx.now, false
	}
	c.committedAt = tx.now
	if tx.clock {
		c.clockAt = tx.now
	}
	c.q.ledger.replace(tx.totals)
	c.q.durable.letters.Store(tx.totals.Refused)
	tx.end(true)
	if tx.group != nil {
		c.publish(tx.group, began)
	}
	c.afterCommit(tx)
	return nil
}

// publish lets everybody see the records of a commit that is durable.
func (c *committer) publish(g *group, began time.Time) {
	q := c.q
	if g.count > 0 {
		q.ledger.replace(q.ledger.read().add(g))
		q.cache.put(g.row())
		q.sizes.appended(g.first, g.last()+1, len(g.body))
		for _, account := range q.registry.all() {
			account.count(g, q.sets)
		}
		q.durable.head.Store(int64(g.last()))
		q.grown.broadcast()
		for _, account := range q.registry.all() {
			account.due.broadcast()
		}
		c.merger.appended(smallFrame{first: g.first, end: g.last() + 1, raw: g.raw, committedAt: g.committedAt})
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
	commit := c.q.observer.Tracer.Start(links[0], "commit", observe.WithStart(began), observe.WithLinks(links...))
	commit.Set(observe.AttributeMessages, g.count)
	for _, span := range g.spans {
		span.Link(commit.Context())
		span.End()
	}
	commit.End()
}

// writeFailed decides what a failed write means. A disk that takes no more
// refuses what was to be stored; anything else that SQLite reports ends the
// process.
func (c *committer) writeFailed(err error) error {
	if _, ok := errors.AsType[*sqlite.Error](err); !ok {
		c.q.observer.Log.Error("a commit was given up and has changed nothing; this is a bug in the gateway", "error", err)
		return err
	}
	cause := c.q.db.NoRoom(err)
	if cause == nil {
		return c.fail(err)
	}
	c.space.strike(cause)
	return c.space.noRoom()
}

// fail ends Run as soon as everything under way is refused.
func (c *committer) fail(err error) error {
	if c.failed == nil {
		c.failed = &FatalError{Err: err}
		close(c.checkpointer.halted)
		c.q.suspect(err)
		c.q.observer.Log.Error("a write has failed: the process must exit", "error", err, "hint", hintOf(err))
		c.q.intake.close()
	}
	return c.failed
}

// sealSoon saves sealed batches with the next commit, which is at once when no
// records come: a lane waits for it.
func (c *committer) sealSoon() {
	c.sealing, c.waiting = true, true
	c.save.Reset(max(sealDelay, c.q.settings.CommitInterval-c.q.clock.since(c.committedAt)))
}

// saveSoon starts the timer for settlements, unless it runs.
func (c *committer) saveSoon() {
	if c.waiting {
		return
	}
	c.waiting = true
	c.save.Reset(max(saveInterval-c.q.clock.since(c.savedAt), saveInterval/5))
}
