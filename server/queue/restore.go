package queue

import (
	"context"
	"math"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Renew brings a copy to where its last commits lead, as a start does, and lets it
// go on far above, with a log of its own. [queuefile.Restore] needs it.
func Renew(ctx context.Context, db *sqlite.DB, renewal queuefile.Renewal) error {
	_, _, err := renew(ctx, db, renewal, Settings{Path: renewal.Path})
	return err
}

// renew returns the last position of the file, and the one behind which it goes on.
func renew(ctx context.Context, db *sqlite.DB, renewal queuefile.Renewal, settings Settings) (head, next edge.Position, err error) {
	settings.RetentionDelivered = math.MaxInt64 // nothing is removed
	q := newQueue(settings, observe.NewDiscard(), db, newBounds(0, unbounded, pendingDefault), nil)
	if err := q.recoverState(ctx); err != nil {
		return 0, 0, err
	}
	head = q.Head()
	if next, err = renewal.Next(head); err != nil {
		return 0, 0, err
	}
	totals := q.ledger.read()
	totals.Counted, totals.Skipped = next, totals.Skipped+int64(next-head)
	if renewal.Lost() {
		totals.Salvaged++
	}
	q.ledger.replace(totals)
	for _, account := range q.registry.all() {
		account.Counted = next
	}
	q.durable.head.Store(int64(next))
	return head, next, db.Write(ctx, func(conn *sqlite.Conn) (err error) {
		now := q.clock.now()
		if q.logs.Current, err = renewal.Write(conn, q.logs, head, next, totals.Refused, totals.Skipped, totals.Salvaged, now); err != nil {
			return err
		}
		return newCommitter(q).write(conn, &transaction{saving: saveEverything, now: now})
	})
}
