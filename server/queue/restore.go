package queue

import (
	"context"
	"math"

	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Renew brings a copy to where its last commits lead, as a start does, and lets it
// go on far above, with a log of its own. [queuefile.Restore] needs it.
func Renew(ctx context.Context, db *sqlite.DB, renewal queuefile.Renewal) error {
	settings := Settings{Path: renewal.Path, RetentionDelivered: math.MaxInt64} // nothing is removed
	q := newQueue(settings, observe.NewDiscard(), db, newBounds(0, unbounded, pendingDefault), nil)
	if err := q.recover(ctx); err != nil {
		return err
	}
	head := q.Head()
	next, err := renewal.Next(head)
	if err != nil {
		return err
	}
	totals := q.ledger.read()
	totals.Counted, totals.Skipped = next, totals.Skipped+int64(next-head)
	q.ledger.replace(totals)
	for _, account := range q.registry.all() {
		account.Counted = next
	}
	q.durable.head.Store(int64(next))
	return db.Write(ctx, func(conn *sqlite.Conn) (err error) {
		now := q.clock.now()
		if q.logs.Current, err = renewal.Write(conn, q.logs, head, next, totals.Refused, totals.Skipped, now); err != nil {
			return err
		}
		return newCommitter(q).write(conn, &transaction{saving: saveEverything, now: now})
	})
}
