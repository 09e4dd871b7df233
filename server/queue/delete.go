package queue

import (
	"context"
	"errors"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// DeleteSink discards what a removed sink is owed, and its dead letters, and
// returns how many records that are. It returns when that is durable; when ctx
// ends or the process does before that, the rest is discarded all the same. The
// name is free from then on: a new sink with it has another id.
func (q *Queue) DeleteSink(ctx context.Context, sink edge.SinkID, deletion edge.Deletion) (int64, error) {
	account, err := q.account(sink)
	if err != nil {
		return 0, err
	}
	if err := q.flush(ctx); err != nil {
		return 0, err
	}
	if err := q.recountRemoved(ctx, account); err != nil {
		return 0, err
	}
	account.mu.Lock()
	removed, deleted, pending, dead := account.removed, account.deleted, account.Pending(), account.Dead
	account.mu.Unlock()
	count := pending + dead
	switch {
	case !removed:
		return 0, &edge.Error{Code: edge.Precondition, Message: fmt.Sprintf("sink %s is configured", account.name),
			Hint: "take it out of the configuration and start the gateway again; then it can be deleted"}
	case deletion.ValidateOnly:
		return count, nil
	case count > 0 && !deletion.Discard:
		return 0, &edge.Error{Code: edge.Precondition, Message: fmt.Sprintf("sink %s is still owed %d messages and has %d dead letters", account.name, pending, dead),
			Hint: "--discard gives them up; to have them delivered, name the sink in the configuration again"}
	case !deleted:
		if err := q.markDeleted(ctx, account, deletion.Actor); err != nil {
			return 0, err
		}
	}
	nudge(q.enlarged)
	if err := q.await(ctx, &account.due, func() (done bool, err error) { return account.isEmpty(), nil }); err != nil {
		return 0, fmt.Errorf("delete sink %s: it goes on by itself: %w", account.name, err)
	}
	return count, q.flush(ctx)
}

// isEmpty reports whether there is nothing that the sink may still get.
func (a *account) isEmpty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Pending() == 0 && a.Dead == 0 && !a.unsure
}

// recountRemoved counts anew what a removed sink is owed, when its counters were
// found to be wrong: how much there is to give up, and whether anything is left,
// follows from them. What was delivered is believed; nothing depends on it.
func (q *Queue) recountRemoved(ctx context.Context, a *account) error {
	unlock, err := q.registry.lock(ctx) // nobody deletes it meanwhile
	if err != nil {
		return err
	}
	defer unlock()
	if !a.isUnsure() || !a.isRemoved() || a.removal().deleted {
		return nil
	}
	return q.recountAccount(ctx, a)
}

// recountAccount replaces the counters of a sink that has no lane, by what its
// rows come to.
func (q *Queue) recountAccount(ctx context.Context, a *account) error {
	recount, err := q.Recount(ctx)
	if err != nil {
		return fmt.Errorf("count what sink %s is owed, because its counters are damaged: %w", a.name, err)
	}
	for _, found := range recount.Sinks {
		if found.ID == a.id {
			a.recounted(&found)
			q.observer.Log.Warn("counters of a sink were damaged, and were made anew from what is stored", "sink", a.name, "pending", found.Pending, "dead", found.Dead)
		}
	}
	nudge(q.settled)
	return nil
}

func (a *account) recounted(found *queuefile.SinkRecount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Dead, a.Discarded, a.Expired = found.Dead, found.Discarded, found.Expired
	a.Delivered, a.Held = max(a.Delivered, 0), max(a.Held, 0)
	a.Owed = 0
	a.Owed = found.Pending - a.Pending()
	a.unsure, a.dirty = false, true
}

func (a *account) isUnsure() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unsure
}

// markDeleted makes sure that a removed sink is never served again.
func (q *Queue) markDeleted(ctx context.Context, a *account, actor string) error {
	unlock, err := q.registry.lock(ctx)
	if err != nil {
		return fmt.Errorf("delete sink %s: %w", a.name, err)
	}
	defer unlock()
	err = q.db.Write(ctx, func(conn *sqlite.Conn) error {
		return queuefile.SaveDeleted(conn, a.id, actor)
	})
	if err != nil {
		return q.writeFailed(fmt.Errorf("delete sink %s: %w", a.name, err))
	}
	a.mu.Lock()
	a.deleted, a.deletedBy = true, actor
	a.mu.Unlock()
	return nil
}

// removal is what is known of the end of a sink.
type removal struct {
	removed   bool
	deleted   bool   // for good: everything is to be discarded
	deletedBy string // empty for retention.removed_sink
}

func (a *account) removal() removal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return removal{removed: a.removed, deleted: a.deleted, deletedBy: a.deletedBy}
}

// discardFor gives up everything of a sink that was deleted, or was removed for
// longer than it is waited for.
func (q *Queue) discardFor(ctx context.Context, a *account) error {
	end := a.removal()
	if end.removed && !end.deleted && q.settings.RetentionRemovedSink > 0 && q.clock.since(a.removedSince()) > q.settings.RetentionRemovedSink {
		if err := q.markDeleted(ctx, a, ""); err != nil {
			return err
		}
		end.deleted = true
	}
	if !end.deleted || a.isEmpty() {
		return nil
	}
	if a.isUnsure() {
		if err := q.recountAccount(ctx, a); err != nil {
			return err
		}
	}
	why := queuefile.LossReason{Kind: edge.LossDiscarded, Reason: edge.LossOperator, Actor: end.deletedBy}
	if end.deletedBy == "" {
		why.Reason = edge.LossSinkRemoved
	}
	if err := q.giveUp(ctx, a, q.Head()+1, why); err != nil {
		return err
	}
	return q.discardLetters(ctx, a, why)
}

// discardLetters gives up the dead letters of a sink that has no lane.
func (q *Queue) discardLetters(ctx context.Context, a *account, why queuefile.LossReason) error {
	for {
		if err := q.flush(ctx); err != nil {
			return err
		}
		letters, err := q.readLetterRows(ctx, a.id)
		if err != nil || len(letters) == 0 {
			return err
		}
		for i := range letters {
			record, err := q.decoder.DecodeLetter(&letters[i])
			if _, isDamaged := errors.AsType[*queuefile.DamageError](err); isDamaged {
				if err := q.setAside(ctx, damaged{sink: int64(a.id), position: letters[i].Position}); err != nil {
					return err
				}
				continue
			} else if err != nil {
				return err
			}
			a.discardLetter(&letters[i], &record, why, q)
		}
		nudge(q.settled)
		a.due.broadcast()
	}
}

func (q *Queue) readLetterRows(ctx context.Context, sink edge.SinkID) (letters []queuefile.Letter, err error) {
	err = q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectLetters+" WHERE sink = ? ORDER BY position LIMIT ?", func(row sqlite.Row) error {
			letters = append(letters, queuefile.ReadLetter(row))
			return nil
		}, int64(sink), int64(unsavedDeathsMax))
	})
	return letters, err
}

func (a *account) discardLetter(letter *queuefile.Letter, record *edge.Record, why queuefile.LossReason, q *Queue) {
	at := q.clock.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Dead--
	countDeath(a.deaths, letter.Reason, -1, 0)
	a.unsaved.letters = append(a.unsaved.letters, letterChange{kind: letterDiscarded, position: letter.Position, requeued: letter.Requeued})
	a.unsaved.losses.addRecord(why, at, record)
	a.lose(why, 1)
}
