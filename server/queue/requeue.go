package queue

import (
	"context"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// RequeueKeys gives the named dead letters back to their sinks, all or none, and
// returns how many were not requeued already. With validateOnly it only counts.
func (q *Queue) RequeueKeys(ctx context.Context, keys []edge.DeadLetterKey, validateOnly bool) (int, error) {
	for _, key := range keys {
		if err := q.requeueable(key.Sink); err != nil {
			return 0, err
		}
	}
	if err := q.flush(ctx); err != nil {
		return 0, err
	}
	requeued := map[edge.SinkID]int64{}
	err := q.write(ctx, validateOnly, func(conn *sqlite.Conn) error {
		for _, key := range keys {
			found, waiting := false, false
			_, err := conn.One("SELECT requeued FROM dead WHERE sink = ? AND position = ?", func(row sqlite.Row) {
				found, waiting = true, row.Int(0) != 0
			}, int64(key.Sink), int64(key.Position))
			switch {
			case err != nil:
				return err
			case !found:
				return errNoLetter(key)
			case waiting:
				continue
			}
			if err := queuefile.MarkRequeued(conn, key.Sink, key.Position); err != nil {
				return err
			}
			requeued[key.Sink]++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return q.requeued(requeued, validateOnly), nil
}

// requeuePerCommit bounds one transaction of RequeueMatching.
const requeuePerCommit = 1000

// RequeueMatching gives the dead letters that match back to their sinks and
// returns how many. A filter that names no sink leaves those of ingress and of
// removed sinks out. Many take several transactions: after an error some may
// have been requeued.
func (q *Queue) RequeueMatching(ctx context.Context, filter edge.DeadLetterFilter, validateOnly bool) (int, error) {
	for _, sink := range filter.Sinks {
		if err := q.requeueable(sink); err != nil {
			return 0, err
		}
	}
	if len(filter.Sinks) == 0 {
		for _, account := range q.registry.all() {
			if q.requeueable(account.id) == nil {
				filter.Sinks = append(filter.Sinks, account.id)
			}
		}
		if len(filter.Sinks) == 0 {
			return 0, nil
		}
	}
	if err := q.flush(ctx); err != nil {
		return 0, err
	}
	total := 0
	for after := (edge.DeadLetterKey{}); ; {
		requeued := map[edge.SinkID]int64{}
		more := false
		err := q.write(ctx, validateOnly, func(conn *sqlite.Conn) error {
			keys, err := unrequeued(conn, &filter, after)
			if err != nil || len(keys) == 0 {
				return err
			}
			more, after = true, keys[len(keys)-1]
			for _, key := range keys {
				requeued[key.Sink]++
				if err := queuefile.MarkRequeued(conn, key.Sink, key.Position); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += q.requeued(requeued, validateOnly)
		if !more {
			return total, nil
		}
	}
}

func unrequeued(conn *sqlite.Conn, filter *edge.DeadLetterFilter, after edge.DeadLetterKey) ([]edge.DeadLetterKey, error) {
	var keys []edge.DeadLetterKey
	err := conn.Query("SELECT sink, position FROM dead"+whereLetters+" AND requeued = 0 ORDER BY sink, position LIMIT ?8", func(row sqlite.Row) error {
		keys = append(keys, edge.DeadLetterKey{Sink: edge.SinkID(row.Int(0)), Position: edge.Position(row.Int(1))})
		return nil
	}, append(letterArguments(after, filter), int64(requeuePerCommit))...)
	return keys, err
}

// requeueable fails for what has no lane that could deliver again.
func (q *Queue) requeueable(sink edge.SinkID) error {
	if sink == edge.Ingress {
		return errIngressRequeue()
	}
	account, err := q.account(sink)
	if err != nil {
		return err
	}
	account.mu.Lock()
	defer account.mu.Unlock()
	if account.removed {
		return &edge.Error{Code: edge.Precondition, Message: fmt.Sprintf("sink %s is removed: nobody would deliver", account.name),
			Hint: "name the sink in the configuration again"}
	}
	return nil
}

func errIngressRequeue() *edge.Error {
	return &edge.Error{
		Code: edge.Precondition, Message: "a message that was refused at the door cannot be requeued: it was never valid",
		Hint: "mend the device and let it send again; `gatewayctl dlq show` shows the payload and why it was refused",
	}
}

// requeued tells the lanes what waits for them once it is durable.
func (q *Queue) requeued(counts map[edge.SinkID]int64, validateOnly bool) (total int) {
	for sink, count := range counts {
		total += int(count)
		account, err := q.account(sink)
		if err != nil || validateOnly {
			continue
		}
		account.mu.Lock()
		account.requeue.marked(count)
		account.mu.Unlock()
		account.due.broadcast()
	}
	return total
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
