package queue

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// newLetter makes the row of a delivery that has become a dead letter.
func (c *committer) newLetter(sink edge.SinkID, change *letterChange) letter {
	record := &change.death.Delivery.Record
	c.letters.reset()
	c.letters.add(record, owedMixed)
	born := letter{
		sink: sink, position: record.Position, device: record.Device,
		reason: change.death.Reason, status: edge.Excerpt(change.death.Status), excerpt: edge.Excerpt(change.death.Excerpt),
		attempts: len(change.attempts), history: change.attempts,
		body: c.letters.body(record.Position),
	}
	if born.attempts == 0 { // the caller did not say; it was tried at least once
		born.attempts = 1
		born.firstAt = time.Now()
		born.lastAt = born.firstAt
		return born
	}
	born.firstAt = change.attempts[0].StartedAt
	born.lastAt = change.attempts[born.attempts-1].EndedAt
	return born
}

// writeLetter brings one change into the table dead.
func (c *committer) writeLetter(conn *sqlite.Conn, account *account, change *letterChange) error {
	sink := account.id
	switch change.kind {
	case letterDelivered, letterDiscarded:
		return deleteLetter(conn, sink, change.position)
	case letterBorn:
		born := c.newLetter(sink, change)
		return born.insert(conn)
	}
	old, err := findLetter(conn, sink, change.position)
	if err != nil {
		return err
	}
	if old == nil {
		// Nothing but a bug takes it away. Its place in the ledger stays wrong; the
		// settlements beside it must not wait for that.
		c.q.observer.Log.Error("a requeued dead letter was refused again, but its row is gone", "sink", account.name, "position", change.position)
		return nil
	}
	again := c.newLetter(sink, change)
	for _, attempt := range change.attempts {
		if attempt.EndedAt.After(old.lastAt) {
			old.history = append(old.history, attempt)
			old.attempts++
		}
	}
	old.reason, old.status, old.excerpt, old.lastAt = again.reason, again.status, again.excerpt, again.lastAt
	return old.again(conn)
}

// countDeath changes how many dead letters of a reason there are, and ever were.
func countDeath(counts map[string]deaths, reason string, now, ever int64) {
	count := counts[reason]
	count.now += now
	count.ever += ever
	counts[reason] = count
}
