package crashtest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// inspect opens a queue on a disk and says where every message is.
func inspect(w *witness, disk *simdisk.Disk, thorough bool) (map[*message]whereabouts, error) {
	q, err := queue.Open(context.Background(), simSettings(disk), observe.NewDiscard())
	if err != nil {
		return nil, fmt.Errorf("it does not start: %w", err)
	}
	if q.Head() >= 1<<39 {
		return nil, errors.Join(errors.New("the start misses a WAL that nobody has removed"), q.Close())
	}
	found, err := look(w, q)
	if err == nil && thorough {
		return found, goesOn(w, q)
	}
	return found, errors.Join(err, q.Close())
}

// look asks for every record, letter and delivery.
func look(w *witness, q *queue.Queue) (map[*message]whereabouts, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a queue that does not run does not mend anything
	defer cancel()
	recount, err := q.Recount(ctx)
	if err != nil {
		return nil, err
	}
	letters, err := q.DeadLetters(ctx, edge.DeadLetterFilter{}, edge.DeadLetterKey{}, math32)
	if err != nil {
		return nil, err
	}
	records, err := readAll(q)
	if err != nil {
		return nil, err
	}
	if !recount.Balanced() || recount.Stored != int64(len(records)) {
		return nil, fmt.Errorf("the ledger does not balance with %d records: %+v", len(records), recount)
	}
	found := map[*message]whereabouts{}
	note := func(record *edge.Record, mark func(*whereabouts)) {
		m, problem := w.recognise(record)
		err = errors.Join(err, problem)
		where := found[m]
		mark(&where)
		found[m] = where
	}
	for i := range records {
		note(&records[i], func(where *whereabouts) { where.stored = true })
	}
	if len(found) != len(records) {
		return nil, errors.Join(err, fmt.Errorf("%d records are %d messages", len(records), len(found)))
	}
	for i := range letters {
		note(&letters[i].Record, func(where *whereabouts) { where.dead[letters[i].Sink-1] = true })
	}
	for _, sink := range recount.Sinks {
		due, problem := leaseAll(q, sink.ID)
		err = errors.Join(err, problem)
		for i := range due {
			note(&due[i].Record, func(where *whereabouts) { where.due[sink.ID-1] = true })
		}
	}
	return found, err
}

// leaseAll leases what is due, in order.
func leaseAll(q *queue.Queue, sink edge.SinkID) ([]edge.Delivery, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	var all []edge.Delivery
	for {
		due, err := q.Lease(ctx, sink, everything)
		if errors.Is(err, context.DeadlineExceeded) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		for i := range due {
			if last := len(all) - 1; last >= 0 && all[last].Record.Position >= due[i].Record.Position {
				return all, fmt.Errorf("sink %d: position %d is due behind %d", sink, due[i].Record.Position, all[last].Record.Position)
			}
			all = append(all, due[i])
		}
	}
}

// goesOn runs the queue: it knows what comes again, takes what is new, and stops
// in order.
func goesOn(w *witness, q *queue.Queue) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	records, err := readAll(q)
	replies := edgetest.NewReplies()
	entries := []edge.Entry{{Record: edgetest.Record("new", 1), Replier: replies}}
	if last := len(records) - 1; last >= 0 {
		entries = append(entries, edge.Entry{Record: w.messages[string(records[last].Payload)].record, Replier: replies})
	}
	err = errors.Join(err, q.Append(ctx, entries...))
	time.Sleep(time.Second)
	answers := replies.Flushed()
	if len(answers) != len(entries) {
		err = errors.Join(err, fmt.Errorf("%d of %d entries are answered", len(answers), len(entries)))
	}
	for i, answer := range answers {
		if answer.Err != nil || answer.Receipt.Duplicate != (i > 0) {
			err = errors.Join(err, fmt.Errorf("entry %d: %+v", i, answer))
		}
	}
	cancel()
	return errors.Join(err, <-done)
}
