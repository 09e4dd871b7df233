package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// damaged names a frame or a dead letter that somebody could not read, on its way
// to the committer.
type damaged struct {
	sink     int64 // frameSink when it is a frame
	position edge.Position
}

type damageReport struct {
	damaged
	counts map[edge.SinkID]mixedCount // of a frame of several sets; nil when the commit has to count
	done   chan error
}

// setAside has what is damaged moved to the table quarantine, and returns when
// it is out of everybody's way. The committer looks for itself: what was damaged
// in memory only is read again.
func (q *Queue) setAside(ctx context.Context, what damaged) error {
	report := damageReport{damaged: what, done: make(chan error, 1)}
	if what.sink == frameSink {
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
		q.shelf.drop(what.position)
		var err error
		if report.counts, err = q.countMixed(ctx, what.position); err != nil && q.ended() {
			return edge.NewStopping()
		} else if err != nil {
			return fmt.Errorf("count what is damaged at %d: %w", what.position, err)
		}
	}
	select {
	case q.damaged <- report:
		return <-report.done
	case <-ctx.Done():
		return fmt.Errorf("set damage at %d aside: %w", what.position, ctx.Err())
	case <-q.closed:
		return edge.NewStopping()
	}
}

// quarantine moves what is damaged on disk. Whoever was owed it has lost it; that
// is saved in the same transaction.
func (c *committer) quarantine(report damageReport) error {
	if report.sink == frameSink {
		c.q.shelf.drop(report.position)
	}
	return c.transact(&transaction{saving: saveSettled, now: c.q.clock.now(), damaged: &report})
}

// moveDamaged moves what the transaction is about, unless it turns out to be
// whole.
func (c *committer) moveDamaged(conn *sqlite.Conn, tx *transaction) error {
	if tx.damaged.sink == frameSink {
		return c.moveFrame(conn, tx)
	}
	return c.moveLetter(conn, tx)
}

// moveFrame moves a frame. Its row is deleted as if it had been decided: no
// cursor waits for it, and nothing is ever read from it.
func (c *committer) moveFrame(conn *sqlite.Conn, tx *transaction) error {
	row, err := findDamaged(conn, c.q.decoder, tx.damaged.position)
	if err != nil || row == nil {
		return err
	}
	for _, account := range c.q.registry.all() {
		if err := c.q.lose(conn, account, row, tx.damaged.counts); err != nil {
			return fmt.Errorf("count what sink %s lost: %w", account.name, err)
		}
	}
	if err := row.insert(conn, frameSink, tx.now); err != nil {
		return err
	}
	tx.totals.quarantined += int64(row.count)
	c.q.observer.Log.Error("stored messages are damaged and were set aside; everything else is served",
		"frame", row.first, "messages", row.count, "error", row.reason, "hint", hintDamaged)
	return conn.Exec("DELETE FROM frame WHERE id = ?", int64(row.first))
}

// hintDamaged is what an operator does about damage.
const hintDamaged = "check the disk, then stop the gateway and run: gatewayctl queue verify"

// moveLetter moves a dead letter. It was one of its sink's dead, and is now lost.
func (c *committer) moveLetter(conn *sqlite.Conn, tx *transaction) error {
	what := tx.damaged
	row, err := findLetter(conn, edge.SinkID(what.sink), what.position)
	if err != nil || row == nil {
		return err
	}
	if _, err = c.q.decoder.decodeLetter(row); err == nil {
		return nil
	}
	moved := damagedRow{storedFrame: storedFrame{first: row.position, count: 1, committedAt: row.lastAt, body: row.body}, reason: err}
	if err := moved.insert(conn, what.sink, tx.now); err != nil {
		return err
	}
	if err := c.q.forgetLetter(row, tx); err != nil {
		return err
	}
	tx.totals.quarantined++
	c.q.observer.Log.Error("a dead letter is damaged and was set aside", "sink", what.sink, "position", row.position, "error", err, "hint", hintDamaged)
	return deleteLetter(conn, row.sink, row.position)
}

// forgetLetter counts a dead letter that is no more.
func (q *Queue) forgetLetter(row *letter, tx *transaction) error {
	if row.sink == edge.Ingress {
		tx.totals.deaths = maps.Clone(tx.totals.deaths)
		countDeath(tx.totals.deaths, row.reason, -1, 0)
		tx.totals.evicted++
		tx.ingress.letters--
		tx.ingress.bytes -= letterRowBytes + int64(len(row.body))
		return nil
	}
	account, err := q.account(row.sink)
	if err != nil {
		return nil // nobody counts it
	}
	account.mu.Lock()
	defer account.mu.Unlock()
	account.dead--
	countDeath(account.deaths, row.reason, -1, 0)
	if row.requeued && account.requeue.out[row.position] == nil {
		account.requeue.saved(row.position)
	}
	account.deathsDirty = true
	account.loseDamaged(span{row.position, row.position + 1}, 1, row.lastAt, tx.now)
	tx.undo = func() {
		account.mu.Lock()
		defer account.mu.Unlock()
		account.dead++
		account.lose(damagedReason, -1)
		countDeath(account.deaths, row.reason, 1, 0)
		account.unsaved.losses = slices.DeleteFunc(account.unsaved.losses, func(loss *stretch) bool {
			return loss.lossReason == damagedReason && loss.first == row.position
		})
		if row.requeued {
			account.requeue.marked(1)
		}
	}
	return nil
}

// lose decides the positions of a damaged frame for one sink, and counts how
// many records of it the sink was owed and will not get. What is leased was read
// before the damage and is still delivered.
func (q *Queue) lose(conn *sqlite.Conn, a *account, row *damagedRow, counts map[edge.SinkID]mixedCount) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	undecided, leased := int64(0), int64(0)
	for position := row.first; position < row.end(); position++ {
		here := span{position, position + 1}
		switch {
		case a.leased.contains(here):
			leased++
		case !a.decided(position):
			undecided++
		}
	}
	// Nothing of it was decided since it was counted: then that still holds, whatever
	// was leased or came back.
	var lost int64
	if count, known := counts[a.id]; known && count.undecided == undecided+leased {
		lost = min(undecided, max(0, count.owed-leased))
	} else if lost, err = q.owedUndecided(conn, a, row, undecided, leased); err != nil {
		return err
	}
	a.decideUnleased(span{row.first, row.end()})
	if lost > 0 {
		a.loseDamaged(span{row.first, row.end()}, lost, row.committedAt, q.clock.now())
	}
	return nil
}

// loseDamaged counts and reports a loss by damage. It is a stretch of its own
// until it is saved, so that it can be taken back.
func (a *account) loseDamaged(positions span, count int64, committedAt, at time.Time) {
	a.lose(damagedReason, count)
	a.unsaved.losses = append(a.unsaved.losses, newStretch(damagedReason, at, positions, count, committedAt, unnamed))
}

// decideUnleased decides the positions of a span that are not leased, and lets
// the lane go on behind them. When a leased one is given back, its frame is gone.
func (a *account) decideUnleased(gone span) {
	from := gone.first
	decide := func(end edge.Position) {
		if first := max(from, a.cursor); first < end {
			a.decide(span{first, end})
		}
	}
	for _, leased := range a.leased {
		if leased.end <= gone.first || leased.first >= gone.end {
			continue
		}
		decide(min(leased.first, gone.end))
		from = max(from, leased.end)
		a.orphans.add(span{max(leased.first, gone.first), min(leased.end, gone.end)})
	}
	decide(gone.end)
	a.frontier = max(a.frontier, gone.end)
	if a.next = max(a.next, a.cursor); gone.first <= a.next && a.next < gone.end {
		a.next = gone.end
	}
}

// loseOrphan gives up a leased record that came back after its frame was found
// damaged.
func (a *account) loseOrphan(position edge.Position, at time.Time) {
	here := span{position, position + 1}
	a.orphans.remove(here)
	a.decide(here)
	a.next = max(a.next, a.cursor)
	a.loseDamaged(here, 1, time.Time{}, at)
}

// owedUndecided returns how many of the undecided positions of a damaged frame
// the sink was owed.
func (q *Queue) owedUndecided(conn *sqlite.Conn, a *account, row *damagedRow, undecided, leased int64) (int64, error) {
	if undecided == 0 {
		return 0, nil
	}
	pending := max(0, a.pending()-leased)
	if set := uint32(row.owed); !q.isMixed(row) {
		owed := int64(0)
		for position := row.first; position < row.end(); position++ {
			if !a.decided(position) && !a.leased.contains(span{position, position + 1}) && a.owes(position, q.sets.sinks(set)) {
				owed++
			}
		}
		return min(owed, pending), nil
	}
	// The sets are in the damaged bytes. What is pending and in no other frame must
	// have been in this one. That reads the backlog, and everything waits meanwhile:
	// it is only done where countMixed could not, as at a start.
	elsewhere := int64(0)
	err := conn.Query(selectFrames+" WHERE id + n > ? AND id <> ? ORDER BY id", func(sqlRow sqlite.Row) error {
		frame, err := q.decoder.decodeStored(scanFrame(sqlRow))
		if err != nil {
			return nil // it is damaged too, and its turn comes
		}
		for i := range frame.records {
			position := frame.first + edge.Position(i)
			if position <= a.counted && !a.decided(position) && a.owes(position, q.sets.sinks(frame.owed[i])) {
				elsewhere++
			}
		}
		return nil
	}, int64(a.cursor), int64(row.first))
	return min(undecided, max(0, a.pending()-elsewhere-leased)), err
}

// replayDamaged counts a damaged frame that the saved state does not cover, as
// if every sink that it may have been owed to was owed all of it: the committer
// then counts the same as lost.
func (q *Queue) replayDamaged(row *damagedRow) {
	last := row.end() - 1
	totals := q.ledger.read()
	if last > totals.counted {
		totals.accepted += int64(last - max(totals.counted, row.first-1))
		totals.counted = last
	}
	q.ledger.replace(totals)
	for _, account := range q.registry.all() {
		for position := max(account.counted+1, row.first); position <= last; position++ {
			if set := uint32(row.owed); set == owedMixed || int(row.owed) > q.sets.count() || account.owes(position, q.sets.sinks(set)) {
				account.owed++
			}
		}
		account.counted = max(account.counted, last)
	}
	q.start.damaged = append(q.start.damaged, damaged{sink: frameSink, position: row.first})
}
