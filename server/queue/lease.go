package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Lease implements [edge.Leaser]. Sealed batches come first, each
// by itself, then requeued dead letters.
func (q *Queue) Lease(ctx context.Context, sink edge.SinkID, limit edge.LeaseLimit) ([]edge.Delivery, error) {
	account, err := q.account(sink)
	if err != nil {
		return nil, err
	}
	var deliveries []edge.Delivery
	err = q.await(ctx, &account.due, func() (done bool, err error) {
		deliveries, err = q.leaseNow(ctx, account, limit)
		return len(deliveries) > 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("lease for %s: %w", account.name, err)
	}
	return deliveries, nil
}

// Release implements [edge.Leaser].
func (q *Queue) Release(sink edge.SinkID, deliveries []edge.Delivery) {
	account, err := q.account(sink)
	if err != nil {
		return // nothing was leased for it
	}
	account.release(deliveries, q.clock.now())
	account.due.broadcast()
}

// lease is one call of Lease while it gathers deliveries.
type lease struct {
	limit      edge.LeaseLimit
	deliveries []edge.Delivery
	bytes      int
}

// full reports whether no further delivery can be added.
func (l *lease) full() bool {
	return len(l.deliveries) > 0 && (len(l.deliveries) >= l.limit.Records || l.bytes >= l.limit.Bytes)
}

// expects makes room for as many of so many records as the limit allows.
func (l *lease) expects(records int) {
	l.deliveries = slices.Grow(l.deliveries, max(0, min(records, l.limit.Records-len(l.deliveries))))
}

// takes adds a delivery, unless the limit is reached.
func (l *lease) takes(record *edge.Record, kind edge.DeliveryKind) bool {
	if len(l.deliveries) > 0 && (len(l.deliveries) >= l.limit.Records || l.bytes+len(record.Payload) > l.limit.Bytes) {
		return false
	}
	l.deliveries = append(l.deliveries, edge.Delivery{Record: *record, Kind: kind})
	l.bytes += len(record.Payload)
	return true
}

// leaseNow leases what is due, which may be nothing.
func (q *Queue) leaseNow(ctx context.Context, a *account, limit edge.LeaseLimit) ([]edge.Delivery, error) {
	if !q.isExamined(a) {
		return nil, nil
	}
	if sealed, err := q.leaseSealed(ctx, a); err != nil || len(sealed) > 0 {
		return sealed, err
	}
	lease := &lease{limit: limit}
	if err := q.leaseRequeued(ctx, a, lease); err != nil {
		return nil, err
	}
	for {
		head := q.Head()
		next, ok := a.looksAt(head)
		if !ok || lease.full() {
			return lease.deliveries, nil
		}
		frame, err := q.frameAt(ctx, next)
		gap := queuefile.Span{First: next, End: head + 1}
		if frame != nil {
			gap.End = frame.First
		}
		if err == nil && gap.First < gap.End {
			err = q.explain(ctx, a, gap)
		}
		if err != nil && len(lease.deliveries) == 0 {
			return nil, err
		}
		if err != nil || frame == nil || !a.leaseFrom(frame, next, q.sets, lease) {
			return lease.deliveries, nil // an error is met again by the next lease
		}
	}
}

// looksAt returns the position where a lease goes on, if there is room for one.
func (a *account) looksAt(head edge.Position) (edge.Position, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.next, a.next <= head && a.leasable() > 0
}

// leasable returns how many deliveries may still be leased.
func (a *account) leasable() int {
	if a.paused || len(a.settled) >= settledMax {
		return 0
	}
	return edge.MaxLeased - a.inFlight
}

// leaseFrom leases the records of a frame from position next on. It reports
// whether the lease may go on with the next frame.
func (a *account) leaseFrom(frame *queuefile.Frame, next edge.Position, sets *owedSets, lease *lease) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next != next {
		return true // deliveries were released in the meantime: look again
	}
	if next < frame.First { // frames in between are gone, so they were decided
		if first := max(next, a.cursor); first < frame.First {
			a.decide(queuefile.Span{First: first, End: frame.First})
		}
		a.next = frame.First
	}
	lease.expects(min(int(frame.End()-a.next), a.leasable()))
	for ; a.next < frame.End(); a.next++ {
		here := queuefile.Span{First: a.next, End: a.next + 1}
		if a.next < a.frontier && (a.decided(a.next) || a.leased.Contains(here)) {
			continue
		}
		index := a.next - frame.First
		if !a.owes(a.next, sets.sinks(frame.Owed[index])) {
			a.decide(here)
			continue
		}
		if a.awaitsWhole(here) || a.leasable() == 0 || !lease.takes(&frame.Records[index], edge.Live) {
			return false
		}
		a.unseal(here)
		a.leased.Add(here)
		a.inFlight++
		a.frontier = max(a.frontier, here.End)
	}
	return true
}

// release gives deliveries back; those that are not leased are left alone.
func (a *account) release(deliveries []edge.Delivery, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frontier = max(a.frontier, a.next) // what was passed over is looked at again
	for i := range deliveries {
		position := deliveries[i].Record.Position
		if deliveries[i].Kind == edge.Requeue {
			a.requeue.release(position, &a.inFlight)
			continue
		}
		here := queuefile.Span{First: position, End: position + 1}
		if a.leased.Contains(here) {
			delete(a.attempts, position)
			a.leased.Remove(here)
			a.inFlight--
			if a.orphans.Contains(here) {
				a.loseOrphan(position, at)
				continue
			}
			a.next = min(a.next, position)
		}
	}
}

// requeue is which requeued dead letters a sink's lane has.
type requeue struct {
	waiting    int64                       // rows that are marked, the leased ones included
	next       edge.Position               // where the next lease looks first
	out        map[edge.Position]*requeued // leased, or decided and not saved yet
	generation uint64                      // counts what makes rows that were read before out of date
}

type requeued struct {
	reason string     // why it was dead
	state  edge.State // InFlight, until it is Acked or Dead again
}

// marked counts rows that an operator has sent back.
func (r *requeue) marked(count int64) {
	r.waiting += count
	r.next = 0
	r.generation++
}

func (r *requeue) release(position edge.Position, inFlight *int) {
	if letter, ok := r.out[position]; ok && letter.state == edge.InFlight {
		delete(r.out, position)
		*inFlight--
		r.next = 0
		r.generation++
	}
}

// saved forgets a letter whose row is settled. It may have been marked again
// already, while a lease passed over it because it was out.
func (r *requeue) saved(position edge.Position) {
	delete(r.out, position)
	r.waiting--
	r.next = min(r.next, position)
	r.generation++
}

// requeuedScan is what a lease knows of requeued letters before it reads rows.
type requeuedScan struct {
	next       edge.Position
	out        int
	generation uint64
}

// scansRequeued returns where to read, if there is something to lease.
func (a *account) scansRequeued() (scan requeuedScan, due bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	scan = requeuedScan{next: a.requeue.next, out: len(a.requeue.out), generation: a.requeue.generation}
	return scan, a.requeue.waiting > int64(scan.out) && a.leasable() > 0
}

// leaseRequeued leases dead letters that an operator has sent back. Rows are read
// without the account's lock; when they are out of date by the time they would
// be leased, they are read again.
func (q *Queue) leaseRequeued(ctx context.Context, a *account, lease *lease) error {
	for {
		scan, due := a.scansRequeued()
		if !due {
			return nil
		}
		letters, err := q.readRequeued(ctx, a, scan, lease)
		if err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		done, unreadable := a.leaseLetters(q, letters, scan, lease)
		for _, position := range unreadable {
			if err := q.setAside(ctx, damaged{sink: int64(a.id), position: position}); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
	}
}

func (q *Queue) readRequeued(ctx context.Context, a *account, scan requeuedScan, lease *lease) ([]queuefile.Letter, error) {
	var letters []queuefile.Letter
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectLetters+" WHERE sink = ? AND requeued = 1 AND position >= ? ORDER BY position LIMIT ?",
			func(row sqlite.Row) error {
				letters = append(letters, queuefile.ReadLetter(row))
				return nil
			}, int64(a.id), int64(scan.next), int64(min(lease.limit.Records, edge.MaxLeased)+scan.out))
	})
	return letters, err
}

// leaseLetters leases letters that were read after a look. It leases none and
// is not done when they may be out of date. Damaged ones are left for the
// committer.
func (a *account) leaseLetters(q *Queue, letters []queuefile.Letter, scan requeuedScan, lease *lease) (done bool, unreadable []edge.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.requeue.generation != scan.generation {
		return false, nil
	}
	for i := range letters {
		letter := &letters[i]
		if a.requeue.out[letter.Position] != nil || a.leasable() <= 0 {
			continue
		}
		a.requeue.next = letter.Position + 1
		record, err := q.decoder.DecodeLetter(letter)
		if err != nil {
			unreadable = append(unreadable, letter.Position)
			continue
		}
		if !lease.takes(&record, edge.Requeue) {
			a.requeue.next = letter.Position
			return true, unreadable
		}
		a.requeue.out[letter.Position] = &requeued{reason: letter.Reason, state: edge.InFlight}
		a.inFlight++
	}
	return true, unreadable
}
