package queue

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// newLetter makes the row of a delivery that has become a dead letter.
func (c *committer) newLetter(sink edge.SinkID, change *letterChange) queuefile.Letter {
	record := &change.death.Delivery.Record
	c.letters.Reset()
	c.letters.Add(record, queuefile.LetterOwner(sink))
	born := queuefile.Letter{
		Sink: sink, Position: record.Position, Device: record.Device,
		Reason: change.death.Reason, Status: edge.Excerpt(change.death.Status), Excerpt: edge.Excerpt(change.death.Excerpt),
		Attempts: len(change.attempts), History: change.attempts,
		Body: c.letters.Body(record.Position),
	}
	if born.Attempts == 0 { // the caller did not say; it was tried at least once
		born.Attempts = 1
		born.FirstAt = time.Now()
		born.LastAt = born.FirstAt
		return born
	}
	born.FirstAt = change.attempts[0].StartedAt
	born.LastAt = change.attempts[born.Attempts-1].EndedAt
	return born
}

// writeLetter brings one change into the table dead.
func (c *committer) writeLetter(conn *sqlite.Conn, s *accountSave, change *letterChange) error {
	sink := s.account.id
	switch change.kind {
	case letterDelivered, letterDiscarded:
		bytes, err := queuefile.DeleteLetter(conn, sink, change.position)
		s.letters.change(change.position, -bytes)
		return err
	case letterBorn:
		born := c.newLetter(sink, change)
		s.letters.stored(born.Position, born.Bytes())
		return born.Insert(conn)
	}
	old, err := queuefile.FindLetter(conn, sink, change.position)
	if err != nil {
		return err
	}
	if old == nil {
		// Nothing but a bug takes it away. Its place in the ledger stays wrong; the
		// settlements beside it must not wait for that.
		c.q.observer.Log.Error("a requeued dead letter was refused again, but its row is gone", "sink", s.account.name, "position", change.position)
		return nil
	}
	again := c.newLetter(sink, change)
	for _, attempt := range change.attempts {
		if attempt.EndedAt.After(old.LastAt) {
			old.History = append(old.History, attempt)
			old.Attempts++
		}
	}
	old.Reason, old.Status, old.Excerpt, old.LastAt = again.Reason, again.Status, again.Excerpt, again.LastAt
	s.letters.stored(old.Position, 0)
	return old.Update(conn)
}

// countDeath changes how many dead letters of a reason there are, and ever were.
func countDeath(counts map[string]queuefile.Deaths, reason string, now, ever int64) {
	count := counts[reason]
	count.Now += now
	count.Ever += ever
	counts[reason] = count
}
