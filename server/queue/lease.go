package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
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
		a.zeroPending()
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
