package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// damaged names a frame or a dead letter that somebody could not read, on its way
// to the committer.
type damaged struct {
	sink     int64 // queuefile.FrameSink when it is a frame
	position edge.Position
}

type damageReport struct {
	damaged
	counts  map[edge.SinkID]mixedCount // of a frame of several sets; nil when the commit has to count
	unmoved bool                       // no dead letter with the key is damaged, or none has it
	done    chan error
}

// setAside has what is damaged moved to the table quarantine, and returns when
// it is out of everybody's way. The committer looks for itself: what was damaged
// in memory only is read again.
func (q *Queue) setAside(ctx context.Context, what damaged) error {
	report := damageReport{damaged: what, done: make(chan error, 1)}
	if what.sink == queuefile.FrameSink {
		// Every lane comes to the same frame. The first one counts, and the others
		// find it gone.
		select {
		case q.counting <- struct{}{}:
			defer func() { <-q.counting }()
		case <-ctx.Done():
			return fmt.Errorf("set damage at %d aside: %w", what.position, ctx.Err())
		case <-q.closed:
			return edge.NewStopping()
		}
		q.cache.drop(what.position)
		var err error
		if report.counts, err = q.countMixed(ctx, what.position); err != nil && q.ended() {
			return edge.NewStopping()
		} else if err != nil {
			return fmt.Errorf("count what is damaged at %d: %w", what.position, err)
		}
	}
	select {
	case q.damaged <- report:
		err := <-report.done
		if errors.Is(err, errUnmoved) {
			return q.expectReadable(ctx, what)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("set damage at %d aside: %w", what.position, ctx.Err())
	case <-q.closed:
		return edge.NewStopping()
	}
}

// quarantine moves what is damaged on disk. Whoever was owed it has lost it; that
// is saved in the same transaction.
func (c *committer) quarantine(report damageReport) error {
	if report.sink == queuefile.FrameSink {
		c.q.cache.drop(report.position)
	}
	err := c.transact(&transaction{saving: saveSettled, now: c.q.clock.now(), damaged: &report})
	if err == nil && report.unmoved {
		err = errUnmoved
	}
	return err
}

var errUnmoved = errors.New("no damaged dead letter has this key")

// expectReadable makes sure that a letter which could not be read is gone because
// somebody has removed it, or was only misread, and not because damage has changed its
// key: then it is in the table, and its key leads nowhere, or to another.
func (q *Queue) expectReadable(ctx context.Context, what damaged) error {
	return q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectBareLetters, func(row sqlite.Row) error {
			letter := queuefile.ReadLetter(row)
			if int64(letter.Sink) != what.sink || letter.Position != what.position {
				return nil
			}
			if _, err := q.decoder.DecodeLetter(&letter); err != nil {
				return queuefile.NewRowError("dead letter %d of sink %d is where its key does not lead", what.position, what.sink)
			}
			return nil
		})
	})
}

// moveDamaged moves what the transaction is about, unless it turns out to be
// whole.
func (c *committer) moveDamaged(conn *sqlite.Conn, tx *transaction) error {
	if tx.damaged.sink == queuefile.FrameSink {
		return c.moveFrame(conn, tx)
	}
	return c.moveLetter(conn, tx)
}

// moveFrame moves a frame. Its row is deleted as if it had been decided: no
// cursor waits for it, and nothing is ever read from it.
func (c *committer) moveFrame(conn *sqlite.Conn, tx *transaction) error {
	row, err := queuefile.FindDamaged(conn, c.q.decoder, tx.damaged.position)
	if err != nil || row == nil {
		return err
	}
	for _, account := range c.q.registry.all() {
		if err := c.q.lose(conn, account, row, tx); err != nil {
			return fmt.Errorf("count what sink %s lost: %w", account.name, err)
		}
	}
	if err := row.Insert(conn, queuefile.FrameSink, tx.now); err != nil {
		return err
	}
	tx.asideBytes += int64(len(row.Body))
	tx.totals.Quarantined += int64(row.Count)
	tx.apart = queuefile.Span{First: row.First, End: row.End()}
	tx.ended = append(tx.ended, func(held bool) {
		if held {
			c.q.observer.Log.Error("stored messages are damaged and were set aside; everything else is served",
				"frame", row.First, "messages", row.Count, "error", row.Reason, "hint", hintDamaged)
		}
	})
	return conn.Exec("DELETE FROM frame WHERE id = ?", int64(row.First))
}

// hintDamaged is what an operator does about damage.
const hintDamaged = "check the disk, then stop the gateway and run: gatewayctl queue verify"

// moveLetter moves a dead letter. It was one of its sink's dead, and is now lost.
func (c *committer) moveLetter(conn *sqlite.Conn, tx *transaction) error {
	what := tx.damaged
	row, err := queuefile.FindLetter(conn, edge.SinkID(what.sink), what.position)
	if err != nil {
		return err
	}
	var reason error
	if row != nil {
		_, reason = c.q.decoder.DecodeLetter(row)
	}
	if what.unmoved = reason == nil || queuefile.IsMisplaced(reason); what.unmoved {
		return nil
	}
	moved := queuefile.DamagedFrame{StoredFrame: queuefile.StoredFrame{First: row.Position, Count: 1, CommittedAt: row.LastAt, Body: row.Body}, Reason: reason}
	if err := moved.Insert(conn, what.sink, tx.now); err != nil {
		return err
	}
	tx.asideBytes += int64(len(row.Body))
	if err := c.q.forgetLetter(row, tx); err != nil {
		return err
	}
	if row.Sink == edge.Ingress {
		lost := queuefile.NewStretch(queuefile.DamagedReason, tx.now, queuefile.Span{First: row.Position, End: row.Position + 1}, 1, row.LastAt, queuefile.Unnamed)
		if err := lost.Write(conn, edge.Ingress); err != nil {
			return err
		}
	}
	tx.totals.Quarantined++
	tx.ended = append(tx.ended, func(held bool) {
		if held {
			c.q.observer.Log.Error("a dead letter is damaged and was set aside", "sink", what.sink, "position", row.Position, "error", reason, "hint", hintDamaged)
		}
	})
	_, err = queuefile.DeleteLetter(conn, row.Sink, row.Position)
	return err
}

// forgetLetter counts a dead letter that is no more.
func (q *Queue) forgetLetter(row *queuefile.Letter, tx *transaction) error {
	if row.Sink == edge.Ingress {
		tx.totals.deaths = maps.Clone(tx.totals.deaths)
		countDeath(tx.totals.deaths, row.Reason, -1, 0)
		tx.totals.Evicted++
		tx.ingress.letters--
		tx.ingress.bytes -= row.Bytes()
		return nil
	}
	account, err := q.account(row.Sink)
	if err != nil {
		return nil // nobody counts it
	}
	tx.forgotten = row
	account.mu.Lock()
	defer account.mu.Unlock()
	account.Dead--
	countDeath(account.deaths, row.Reason, -1, 0)
	waited := row.Requeued && account.requeue.out[row.Position] == nil
	if waited {
		account.requeue.saved(row.Position)
	}
	account.deathsDirty = true
	lost := account.loseDamaged(queuefile.Span{First: row.Position, End: row.Position + 1}, 1, row.LastAt, tx.now)
	tx.ended = append(tx.ended, func(held bool) {
		if held {
			return
		}
		account.mu.Lock()
		defer account.mu.Unlock()
		account.Dead++
		countDeath(account.deaths, row.Reason, 1, 0)
		account.takeBack(lost)
		if waited {
			account.requeue.marked(1)
		}
	})
	return nil
}

// lose decides the positions of a damaged frame for one sink, and counts how
// many records of it the sink was owed and will not get. What is leased was read
// before the damage and is still delivered. Nothing more is leased until the
// transaction has ended: when it fails, all of that is taken back, because the next
// look may find the frame whole, and it must not come behind later ones.
func (q *Queue) lose(conn *sqlite.Conn, a *account, row *queuefile.DamagedFrame, tx *transaction) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var undecided, leased queuefile.Spans
	for position := row.First; position < row.End(); position++ {
		here := queuefile.Span{First: position, End: position + 1}
		switch {
		case a.leased.Contains(here):
			leased.Add(here)
		case !a.decided(position):
			undecided.Add(here)
		}
	}
	// Nothing of it was decided since it was counted: then that still holds, whatever
	// was leased or came back.
	var lost int64
	if count, known := tx.damaged.counts[a.id]; known && count.undecided == undecided.Count()+leased.Count() {
		lost = min(undecided.Count(), max(0, count.owed-leased.Count()))
	} else if lost, err = q.owedUndecided(conn, a, row, undecided.Count(), leased.Count()); err != nil {
		return err
	}
	gone := queuefile.Span{First: row.First, End: row.End()}
	a.decideUnleased(gone)
	var stretch *queuefile.Stretch
	if lost > 0 {
		stretch = a.loseDamaged(gone, lost, row.CommittedAt, q.clock.now())
	}
	a.paused = true
	tx.ended = append(tx.ended, func(held bool) {
		a.endLose(held, undecided, leased, stretch)
		a.due.broadcast()
	})
	return nil
}

// endLose lets leases go on, and takes back what lose has done unless that has held.
func (a *account) endLose(held bool, undecided, orphaned queuefile.Spans, lost *queuefile.Stretch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paused = false
	if held {
		return
	}
	a.undecide(undecided)
	for _, span := range orphaned {
		a.orphans.RemoveAll(span)
	}
	if lost != nil {
		a.takeBack(lost)
	}
}

// undecide makes decided positions due again. What lies behind them stays as it is.
func (a *account) undecide(positions queuefile.Spans) {
	if len(positions) == 0 {
		return
	}
	a.frontier = max(a.frontier, a.next)
	if first := positions[0].First; first < a.cursor {
		a.settled.Add(queuefile.Span{First: first, End: a.cursor})
		a.cursor = first
	}
	for _, span := range positions {
		a.settled.Remove(span)
	}
	a.next = min(a.next, positions[0].First)
	a.dirty = true
}

// loseDamaged counts and reports a loss by damage. It is a stretch of its own
// until it is saved, so that it can be taken back.
func (a *account) loseDamaged(positions queuefile.Span, count int64, committedAt, at time.Time) *queuefile.Stretch {
	a.lose(queuefile.DamagedReason, count)
	lost := queuefile.NewStretch(queuefile.DamagedReason, at, positions, count, committedAt, queuefile.Unnamed)
	a.unsaved.losses = append(a.unsaved.losses, lost)
	return lost
}

// takeBack makes undone a loss that was not saved.
func (a *account) takeBack(lost *queuefile.Stretch) {
	if a.lose(lost.LossReason, -lost.Count); a.losses[lost.LossReason] == 0 {
		delete(a.losses, lost.LossReason)
	}
	a.unsaved.losses = slices.DeleteFunc(a.unsaved.losses, func(loss *queuefile.Stretch) bool { return loss == lost })
}

// decideUnleased decides the positions of a span that are not leased, and lets
// the lane go on behind them. When a leased one is given back, its frame is gone.
func (a *account) decideUnleased(gone queuefile.Span) {
	from := gone.First
	decide := func(end edge.Position) {
		if first := max(from, a.cursor); first < end {
			a.decide(queuefile.Span{First: first, End: end})
		}
	}
	for _, leased := range a.leased {
		if leased.End <= gone.First || leased.First >= gone.End {
			continue
		}
		decide(min(leased.First, gone.End))
		from = max(from, leased.End)
		a.orphans.Add(queuefile.Span{First: max(leased.First, gone.First), End: min(leased.End, gone.End)})
	}
	decide(gone.End)
	a.frontier = max(a.frontier, gone.End)
	if a.next = max(a.next, a.cursor); gone.First <= a.next && a.next < gone.End {
		a.next = gone.End
	}
}

// loseOrphan gives up a leased record that came back after its frame was found
// damaged.
func (a *account) loseOrphan(position edge.Position, at time.Time) {
	here := queuefile.Span{First: position, End: position + 1}
	a.orphans.Remove(here)
	a.decide(here)
	a.next = max(a.next, a.cursor)
	a.loseDamaged(here, 1, time.Time{}, at)
}

// owedUndecided returns how many of the undecided positions of a damaged frame
// the sink was owed.
func (q *Queue) owedUndecided(conn *sqlite.Conn, a *account, row *queuefile.DamagedFrame, undecided, leased int64) (owed int64, err error) {
	if undecided == 0 {
		return 0, nil
	}
	if !q.isMixed(row) {
		for position := row.First; position < row.End(); position++ {
			if !a.decided(position) && !a.leased.Contains(queuefile.Span{First: position, End: position + 1}) && a.owes(position, q.sets.sinks(uint32(row.Owed))) {
				owed++
			}
		}
		return min(owed, max(0, a.Pending()-leased)), nil
	}
	// The sets are in the damaged bytes. What is pending and in no other frame must
	// have been in this one. That reads the backlog, and everything waits meanwhile:
	// it is only done where countMixed could not, as at a start.
	views := []mixedView{a.view()}
	for next, ended := a.cursor, false; !ended; {
		if next, ended, err = q.countPiece(conn, views, next); err != nil {
			return 0, err
		}
	}
	return min(undecided, max(0, a.Pending()-views[0].elsewhere-leased)), nil
}

// replayDamaged counts a damaged frame that the saved state does not cover, as
// if every sink that it may have been owed to was owed all of it: the committer
// then counts the same as lost.
func (q *Queue) replayDamaged(row *queuefile.DamagedFrame) {
	last := row.End() - 1
	totals := q.ledger.read()
	if last > totals.Counted {
		totals.Accepted += int64(last - max(totals.Counted, row.First-1))
		totals.Counted = last
	}
	q.ledger.replace(totals)
	for _, account := range q.registry.all() {
		for position := max(account.Counted+1, row.First); position <= last; position++ {
			if q.isMixed(row) || account.owes(position, q.sets.sinks(uint32(row.Owed))) {
				account.Owed++
			}
		}
		account.Counted = max(account.Counted, last)
	}
	q.start.damaged = append(q.start.damaged, damaged{sink: queuefile.FrameSink, position: row.First})
}
