package queue

import (
	"context"
	"errors"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// whereLetters selects dead letters by key and filter; see letterArguments.
const whereLetters = ` WHERE (sink, position) > (?1, ?2) AND (?3 = '' OR instr(?3, ',' || sink || ',') > 0)
	AND (?4 = '' OR reason = ?4) AND (?5 = '' OR device = ?5) AND last_at >= ?6 AND last_at < ?7`

func letterArguments(after edge.DeadLetterKey, filter *edge.DeadLetterFilter) []any {
	sinks := ""
	if len(filter.Sinks) > 0 {
		sinks = "," + queuefile.FormatSinks(filter.Sinks) + ","
	}
	since, until := microRange(filter.Since, filter.Until)
	return []any{int64(after.Sink), int64(after.Position), sinks, filter.Reason, string(filter.Device), since, until}
}

// DeadLetters returns those that match the filter, in order of key, behind a
// key; the zero key is before the first.
func (q *Queue) DeadLetters(ctx context.Context, filter edge.DeadLetterFilter, after edge.DeadLetterKey, limit int) ([]edge.DeadLetter, error) {
	return q.readLetters(ctx, queuefile.SelectLetters+whereLetters+" ORDER BY sink, position LIMIT ?8", append(letterArguments(after, &filter), int64(limit))...)
}

// DeadLetter returns one.
func (q *Queue) DeadLetter(ctx context.Context, key edge.DeadLetterKey) (edge.DeadLetter, error) {
	found, err := q.readLetters(ctx, queuefile.SelectLetters+" WHERE sink = ? AND position = ?", int64(key.Sink), int64(key.Position))
	if err != nil {
		return edge.DeadLetter{}, err
	}
	if len(found) == 0 {
		return edge.DeadLetter{}, errNoLetter(key)
	}
	return found[0], nil
}

func (q *Queue) readLetters(ctx context.Context, query string, arguments ...any) ([]edge.DeadLetter, error) {
	// A death is known to its reader as soon as it was settled.
	if err := unlessFull(q.flush(ctx)); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	var found []edge.DeadLetter
	var unreadable []damaged
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(query, func(row sqlite.Row) error {
			letter := queuefile.ReadLetter(row)
			record, err := q.decoder.DecodeLetter(&letter)
			if err != nil {
				unreadable = append(unreadable, damaged{sink: int64(letter.Sink), position: letter.Position})
				return nil
			}
			found = append(found, letter.DeadLetter(record))
			return nil
		}, arguments...)
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	for _, what := range unreadable {
		if err := q.setAside(ctx, what); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
	}
	return found, nil
}

func errNoLetter(key edge.DeadLetterKey) *edge.Error {
	return &edge.Error{Code: edge.NotFound, Message: fmt.Sprintf("there is no dead letter %d of sink %d", key.Position, key.Sink)}
}

func errIngressRequeue() *edge.Error {
	return &edge.Error{
		Code: edge.Precondition, Message: "a message that was refused at the door cannot be requeued: it was never valid",
		Hint: "mend the device and let it send again; `gatewayctl dlq show` shows the payload and why it was refused",
	}
}

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

// errValidated ends a transaction that was only to be tried.
var errValidated = errors.New("validated only")

// write runs a transaction outside the committer. With validateOnly everything
// is tried and nothing is kept.
func (q *Queue) write(ctx context.Context, validateOnly bool, fn func(conn *sqlite.Conn) error) error {
	err := q.db.Write(ctx, func(conn *sqlite.Conn) error {
		if err := fn(conn); err != nil {
			return err
		}
		if validateOnly {
			return errValidated
		}
		return nil
	})
	if err == nil || errors.Is(err, errValidated) {
		return nil
	}
	return q.writeFailed(err)
}

// flush waits until everything that Settle has recorded is saved.
func (q *Queue) flush(ctx context.Context) error {
	unsaved := false
	for _, account := range q.registry.all() {
		account.mu.Lock()
		unsaved = unsaved || account.dirty || account.saving
		account.mu.Unlock()
	}
	if !unsaved {
		return nil
	}
	return q.save(ctx, saveSettled)
}

// unlessFull drops the error of a flush that has found no room: on a full disk what is
// stored can still be read.
func unlessFull(err error) error {
	if err != nil && edge.AsError(err).Code == edge.Full {
		return nil
	}
	return err
}

// flush is a request to save so much, and who waits for it.
type flush struct {
	saving saving
	saved  chan error
}

// save has the committer save so much, and returns when that is durable.
func (q *Queue) save(ctx context.Context, much saving) error {
	saved := make(chan error, 1)
	select {
	case q.flushes <- flush{saving: much, saved: saved}:
		return <-saved
	case <-ctx.Done():
		return ctx.Err()
	case <-q.closed:
		return edge.NewStopping()
	}
}
