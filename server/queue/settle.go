package queue

import (
	"context"
	"fmt"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

const (
	// unsavedDeathsMax bounds the dead letters that wait for a commit. A lane
	// that makes more of them waits. Their bytes have the soft bound of the WAL.
	unsavedDeathsMax = 256
	// unsavedAttemptsMax bounds the attempts that wait for a commit. The oldest
	// go first: they explain, but nothing depends on them.
	unsavedAttemptsMax = 1024
)

// unsaved is what Settle has recorded in memory and no commit has saved yet,
// besides the totals and ranges.
type unsaved struct {
	attempts []edge.Attempt
	letters  []letterChange
	losses   lossReport

	letterBytes int64 // about, of the letters that are new or dead again
}

// bears reports whether a position becomes a dead letter.
func (u *unsaved) bears(position edge.Position) bool {
	return slices.ContainsFunc(u.letters, func(change letterChange) bool {
		return change.position == position && change.kind == letterBorn
	})
}

// letterChange is what becomes of one dead letter.
type letterChange struct {
	kind     letterChangeKind
	death    edge.Death     // with letterBorn and letterAgain
	attempts []edge.Attempt // the recent ones that carried the record
	position edge.Position
	requeued bool // with letterDiscarded
}

type letterChangeKind uint8

const (
	letterBorn      letterChangeKind = iota
	letterAgain                      // requeued, and refused once more
	letterDelivered                  // requeued, and delivered
	letterDiscarded                  // its sink was deleted
)

// Settle implements [edge.Leaser]. It fails when a delivery is not leased, and
// then changes nothing.
func (q *Queue) Settle(ctx context.Context, sink edge.SinkID, settlement edge.Settlement) error {
	account, err := q.account(sink)
	if err != nil {
		return err
	}
	err = q.await(ctx, &account.freed, func() (done bool, err error) { return account.settle(&settlement, q.bounds.walSoft) })
	if err != nil {
		return fmt.Errorf("settle for %s: %w", account.name, err)
	}
	account.due.broadcast()
	nudge(q.settled)
	return nil
}

// settle records a settlement, unless too many dead letters, or too many bytes of them,
// wait for a commit.
func (a *account) settle(settlement *edge.Settlement, bytesMax int64) (done bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(settlement.Dead) > 0 && (len(a.unsaved.letters) >= unsavedDeathsMax || a.unsaved.letterBytes >= bytesMax) {
		return false, nil
	}
	decided, err := a.check(settlement)
	if err != nil {
		return false, err
	}
	delete(a.attempts, settlement.Attempt.First)
	if settlement.Attempt.Class != 0 {
		a.remember(settlement.Attempt)
	}
	for _, run := range decided {
		a.leased.Remove(run)
		a.orphans.RemoveAll(run)
		a.decide(run)
	}
	for i := range settlement.Acked {
		a.deliver(&settlement.Acked[i])
	}
	for i := range settlement.Dead {
		a.countDead(&settlement.Dead[i])
	}
	a.inFlight -= len(settlement.Acked) + len(settlement.Dead)
	a.dirty = true
	return true, nil
}

// check returns the positions that a settlement decides. Requeued dead letters
// are not among them: their positions were decided long ago.
func (a *account) check(settlement *edge.Settlement) (queuefile.Spans, error) {
	var decided queuefile.Spans
	var letters map[edge.Position]bool
	add := func(delivery *edge.Delivery) error {
		position := delivery.Record.Position
		here := queuefile.Span{First: position, End: position + 1}
		if delivery.Kind == edge.Requeue {
			letter := a.requeue.out[position]
			if letter == nil || letter.state != edge.InFlight || letters[position] {
				return fmt.Errorf("dead letter %d is not leased", position)
			}
			if letters == nil {
				letters = make(map[edge.Position]bool)
			}
			letters[position] = true
			return nil
		}
		if !a.leased.Contains(here) || decided.Contains(here) {
			return fmt.Errorf("position %d is not leased", position)
		}
		decided.Add(here)
		return nil
	}
	for i := range settlement.Acked {
		if err := add(&settlement.Acked[i]); err != nil {
			return nil, err
		}
	}
	for i := range settlement.Dead {
		if err := add(&settlement.Dead[i].Delivery); err != nil {
			return nil, err
		}
	}
	return decided, nil
}

// deliver counts a delivery that has arrived.
func (a *account) deliver(delivery *edge.Delivery) {
	a.Delivered++
	if delivery.Kind != edge.Requeue {
		return
	}
	position := delivery.Record.Position
	letter := a.requeue.out[position]
	letter.state = edge.Acked
	a.Dead--
	countDeath(a.deaths, letter.reason, -1, 0)
	a.unsaved.letters = append(a.unsaved.letters, letterChange{kind: letterDelivered, position: position})
}

// countDead counts a delivery that has become, or stays, a dead letter.
func (a *account) countDead(death *edge.Death) {
	record := &death.Delivery.Record
	change := letterChange{kind: letterBorn, death: *death, attempts: a.history(record), position: record.Position}
	if death.Delivery.Kind == edge.Requeue {
		letter := a.requeue.out[record.Position]
		letter.state = edge.Dead
		change.kind = letterAgain
		countDeath(a.deaths, letter.reason, -1, 0)
		ever := int64(0) // refused for the same reason again it is the same dead letter
		if death.Reason != letter.reason {
			ever = 1
		}
		countDeath(a.deaths, death.Reason, 1, ever)
	} else {
		a.Dead++
		countDeath(a.deaths, death.Reason, 1, 1)
	}
	a.unsaved.letters = append(a.unsaved.letters, change)
	a.unsaved.letterBytes += queuefile.LetterRowBytes + int64(len(record.Payload))
}
