package queue

import (
	"context"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

func (q *Queue) expireAll(ctx context.Context) error {
	for _, account := range q.registry.all() {
		if err := q.expireFor(ctx, account); err != nil {
			return fmt.Errorf("expire for %s: %w", account.name, err)
		}
	}
	return nil
}

// expireFor gives up what is too old for a sink, and then what is too much.
func (q *Queue) expireFor(ctx context.Context, a *account) error {
	if err := q.discardFor(ctx, a); err != nil {
		return err
	}
	limits := a.limitsNow()
	for _, age := range []struct {
		limit  time.Duration
		reason string
	}{{q.settings.RetentionUndelivered, edge.LossUndelivered}, {limits.TTL, edge.LossTTL}} {
		if age.limit == 0 {
			continue
		}
		if err := q.expireOlder(ctx, a, q.clock.now().Add(-age.limit), age.reason); err != nil {
			return err
		}
	}
	if limits.MaxLagBytes > 0 {
		if !q.sizes.known() {
			return nil
		}
		until, err := q.beyondLag(ctx, a, limits.MaxLagBytes)
		if err != nil {
			return err
		}
		if err := q.giveUp(ctx, a, until, queuefile.LossReason{Kind: edge.LossExpired, Reason: edge.LossMaxLag}); err != nil {
			return err
		}
	}
	if a.examine(limits) {
		a.due.broadcast()
	}
	return nil
}

// beyondLag returns the position below which everything is over a limit of a sink. A
// start measures anew, and its segments may begin elsewhere than those of the process
// before, which may have given up more by one of them and not have saved it. What came
// behind that may have been delivered, so the first look goes by frames: whatever their
// segments, no process has given up more than that.
func (q *Queue) beyondLag(ctx context.Context, a *account, limit int64) (edge.Position, error) {
	if q.isExamined(a) {
		return q.sizes.beyond(q.Head()+1, limit), nil
	}
	return q.beyondExactly(ctx, limit)
}

// examine notes that what these limits say is given up. It reports whether leases
// have waited for that.
func (a *account) examine(limits Limits) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.examined || !a.removed && a.limits != limits {
		return false
	}
	a.examined = true
	return true
}

// isExamined reports whether what the limits say was given up since the start, or
// since they were changed.
func (q *Queue) isExamined(a *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.examined || a.limits == Limits{} && q.settings.RetentionUndelivered == 0
}

// limitsNow returns the limits of a sink. A removed sink has none: it waits for
// whoever has removed it.
func (a *account) limitsNow() Limits {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.removed {
		return Limits{}
	}
	return a.limits
}

// expireOlder gives up what was committed before a time. A frame is as old as its
// last commit.
func (q *Queue) expireOlder(ctx context.Context, a *account, cutoff time.Time, reason string) error {
	a.mu.Lock()
	from, pending := a.cursor, a.Pending()
	a.mu.Unlock()
	for more := pending > 0; more; {
		frames, until := 0, edge.Position(0)
		err := q.read(ctx, func(conn *sqlite.Conn) error {
			return conn.Query("SELECT "+queuefile.FrameEnd+", committed FROM frame"+queuefile.FromFrameAt+" ORDER BY id LIMIT ?2",
				func(row sqlite.Row) error {
					if row.Int(1) >= cutoff.UnixMicro() {
						return sqlite.ErrStop
					}
					until = edge.Position(row.Int(0))
					frames++
					return nil
				}, int64(from), int64(framesPerRead))
		})
		if err != nil {
			return err
		}
		if err := q.giveUp(ctx, a, until, queuefile.LossReason{Kind: edge.LossExpired, Reason: reason}); err != nil {
			return err
		}
		from, more = until, frames == framesPerRead
	}
	return nil
}

// giveUp gives up everything below a position that a sink is owed, except what
// is under way to it.
func (q *Queue) giveUp(ctx context.Context, a *account, until edge.Position, why queuefile.LossReason) error {
	until = min(until, q.Head()+1)
	lost, err := int64(0), error(nil)
	for from := a.undecided(0); from < until && err == nil; {
		var frame *queuefile.Frame
		if frame, err = q.frameAt(ctx, from); err != nil {
			break
		}
		if frame == nil || frame.First >= until {
			break // it was removed, because it is decided
		}
		if frame.First > from {
			if err = q.explain(ctx, a, queuefile.Span{First: from, End: frame.First}); err != nil {
				break // what is in no frame is not given up as if it had been there
			}
		}
		lost += a.giveUp(frame, queuefile.Span{First: from, End: until}, why, q.clock.now(), q.sets)
		from = a.undecided(frame.End())
		err = ctx.Err()
	}
	if lost == 0 {
		return err
	}
	a.due.broadcast()
	nudge(q.settled)
	q.announce(a, why, lost)
	return err
}

// announce says in the log that a sink has lost something.
func (q *Queue) announce(a *account, why queuefile.LossReason, lost int64) {
	if count := a.announce(lost, q.clock.now()); count > 0 {
		q.observer.Log.Warn("records were given up", "sink", a.name, "how", why.Kind.String(), "reason", why.Reason, "count", count,
			"hint", "gatewayctl loss list says which")
	}
}

// announceEvery is how often the log says that a sink loses records.
const announceEvery = time.Minute

// announce returns how many losses the log is to speak of, 0 when it did so a
// moment ago.
func (a *account) announce(lost int64, now time.Time) (count int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unannounced += lost
	if now.Sub(a.announcedAt) < announceEvery {
		return 0
	}
	count, a.unannounced, a.announcedAt = a.unannounced, 0, now
	return count
}

// undecided returns the first position at or behind another one that is not
// decided, or that nobody has looked at.
func (a *account) undecided(from edge.Position) edge.Position {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.passOver(max(from, a.cursor))
}

// passOver returns the first position at or behind another one, above the
// cursor, that is not decided.
func (a *account) passOver(position edge.Position) edge.Position {
	if index := a.settled.Find(position); index < len(a.settled) && a.settled[index].First <= position {
		return a.settled[index].End
	}
	return position
}

// giveUp gives up the records of a frame in a span, and returns how many.
// Those that are leased are taken from the lane, which finds out before its next
// attempt; those that an attempt carries at the moment are left alone.
func (a *account) giveUp(frame *queuefile.Frame, given queuefile.Span, why queuefile.LossReason, at time.Time, sets *owedSets) (lost int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	underWay := a.underWay()
	until := min(given.End, frame.End())
	if given.First < frame.First { // the frames in between are gone
		a.decideUnleased(queuefile.Span{First: given.First, End: frame.First})
	}
	run := queuefile.Span{First: max(a.cursor, given.First, frame.First)} // of what is decided now
	end := func(position edge.Position) {
		if run.End = position; run.First < run.End {
			a.decide(run)
		}
		run.First = position + 1
	}
	for position := run.First; position < until; position++ {
		if underWay[position] {
			end(position)
			continue
		}
		index := position - frame.First
		if a.decided(position) || !a.owes(position, sets.sinks(frame.Owed[index])) {
			continue
		}
		if here := (queuefile.Span{First: position, End: position + 1}); a.leased.Contains(here) {
			a.leased.Remove(here)
			a.inFlight--
		}
		a.unsaved.losses.addRecord(why, at, &frame.Records[index])
		lost++
	}
	end(until)
	if lost > 0 {
		a.lose(why, lost)
	}
	// A lease goes on behind what is decided, and never looks at it again.
	a.frontier = max(a.frontier, until)
	a.next = a.passOver(max(a.next, a.cursor))
	return lost
}
