package queue

import (
	"slices"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

const (
	// settledMax bounds the ranges above a cursor. At the bound nothing more is
	// leased until the oldest holes are filled.
	settledMax = 4096
	// recentMax is how many attempts of a sink are kept in memory, to tell a
	// dead letter's history without a search.
	recentMax = 256
)

// account is what one sink is owed, and what became of it. The state of each
// record is derived from where its position lies:
//
//	      cursor                    next            head
//	        |                        |               |
//	--------+===--===----==----------+---------------+--> positions
//	decided   settled spans            never looked at
//	           leased: the gaps between them, or given back
//
// Records that the sink is not owed count as decided.
type account struct {
	id    edge.SinkID
	name  string
	due   signal // something may be due, or there is room for a lease
	freed signal // dead letters were saved, and there is room for more

	letters letterSizes // of the committer: a transaction changes a copy

	mu        sync.Mutex
	kind      string
	removed   bool
	removedAt time.Time // gateway time
	deleted   bool      // for good: a removed sink that nobody can serve again
	deletedBy string
	limits    Limits
	examined  bool // what the limits say is given up; nothing is leased before
	// A record below start is owed when it is not below backlogFrom: the sink was
	// made after it. From start on its owed set tells.
	start       edge.Position
	backlogFrom edge.Position

	cursor   edge.Position   // the first position that is not decided
	durable  edge.Position   // the cursor that a start would find, or one that leads to the same
	next     edge.Position   // where the next lease looks first
	frontier edge.Position   // nothing from here on was ever leased or decided
	settled  queuefile.Spans // decided, above the cursor
	leased   queuefile.Spans
	orphans  queuefile.Spans                   // leased, and their frame is gone since
	attempts map[edge.Position][]edge.Delivery // of what is leased, by the first position of each: under way to the sink
	paused   bool                              // nothing is leased until a transaction has ended
	inFlight int                               // positions in leased, and leased dead letters
	requeue  requeue
	sealed   []*sealedBatch

	queuefile.SinkCounts
	rowCounted edge.Position // the same of the row that was saved last; only the committer asks

	deaths map[string]queuefile.Deaths    // by reason
	losses map[queuefile.LossReason]int64 // ever, by kind and reason, whoever gave them up
	recent []edge.Attempt                 // the last attempts, oldest first

	deadBytes    int64 // what stored dead letters take, as letters was told last
	deadMeasured bool  // all of them are among these

	unannounced int64 // losses
	announcedAt time.Time

	dirty       bool // the totals or the ranges differ from what is saved
	saving      bool // a transaction that has not ended yet saves what was dirty
	unsure      bool // the counters were found to be wrong: nothing is decided by them
	deathsDirty bool // deaths have changed without a letter
	unsaved     unsaved
	leaving     unsaved // what a transaction that has not ended yet saves, for whoever looks
}

func newAccount(id edge.SinkID, name, kind string) *account {
	return &account{
		id: id, name: name, kind: kind,
		deaths:   make(map[string]queuefile.Deaths),
		losses:   make(map[queuefile.LossReason]int64),
		attempts: make(map[edge.Position][]edge.Delivery),
		requeue:  requeue{out: make(map[edge.Position]*requeued)},
	}
}

// owes reports whether the sink is owed the record at position, which names the
// sinks it is owed to.
func (a *account) owes(position edge.Position, sinks []edge.SinkID) bool {
	if position < a.start {
		return position >= a.backlogFrom
	}
	return slices.Contains(sinks, a.id)
}

// decide marks positions as decided and moves the cursor over them.
func (a *account) decide(decided queuefile.Span) {
	a.unseal(decided)
	a.settled.Add(decided)
	if a.settled[0].First == a.cursor {
		a.cursor = a.settled[0].End
		a.settled = slices.Delete(a.settled, 0, 1)
	}
}

// decided reports whether nothing is to be done any more at position.
func (a *account) decided(position edge.Position) bool {
	return position < a.cursor || a.settled.Contains(queuefile.Span{First: position, End: position + 1})
}

// count counts the records of a commit that has become durable. While nothing is
// pending, the cursor of a sink goes along, though its lane may be paused: what
// the sink is not owed is not kept for it.
func (a *account) count(g *group, sets *owedSets) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Pending() == 0 && !a.unsure {
		a.cursor, a.next, a.frontier, a.settled = g.first, g.first, g.first, nil
		if !a.dirty {
			a.durable = g.first
		}
	}
	for _, owing := range g.owing {
		if slices.Contains(sets.sinks(owing.set), a.id) {
			a.Owed += owing.records
		}
	}
	a.Counted = g.last()
}

// zeroPending makes wrong counters say that nothing is pending once all that they count
// is decided. What it came to before stays known to be wrong.
func (a *account) zeroPending() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unsure && a.cursor == a.Counted+1 && len(a.settled) == 0 && a.Pending() != 0 {
		a.Owed -= a.Pending()
		a.dirty = true
	}
}

// pinned returns the first position that has to be kept for the sink. What is
// decided in memory only is decided again after a crash, and needs its record
// for that.
func (a *account) pinned() (edge.Position, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.durable, a.Pending() > 0 || a.unsure || a.dirty && a.durable < a.cursor
}

func (a *account) isRemoved() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.removed
}

// state derives the state of a record that is owed to the sink.
func (a *account) state(position edge.Position) edge.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.leased.Contains(queuefile.Span{First: position, End: position + 1}):
		return edge.InFlight
	case a.unsaved.bears(position), a.leaving.bears(position):
		return edge.Dead
	case a.decided(position):
		return edge.Acked
	}
	return edge.Enqueued
}

// lose counts records that the sink will not get. What did not expire counts as
// discarded. The caller reports them, and decides their positions.
func (a *account) lose(why queuefile.LossReason, count int64) {
	if why.Kind == edge.LossExpired {
		a.Expired += count
	} else {
		a.Discarded += count
	}
	why.Actor = ""
	a.losses[why] += count
	a.dirty = true
}

// remember keeps an attempt, as it will be read back: for a commit to save, and
// for the histories of dead letters.
func (a *account) remember(attempt edge.Attempt) {
	attempt.Status, attempt.Excerpt = edge.Excerpt(attempt.Status), edge.Excerpt(attempt.Excerpt)
	attempt.StartedAt = attempt.StartedAt.UTC().Truncate(time.Microsecond)
	attempt.EndedAt = attempt.EndedAt.UTC().Truncate(time.Microsecond)
	a.recent = appendBounded(a.recent, attempt, recentMax)
	a.unsaved.attempts = appendBounded(a.unsaved.attempts, attempt, unsavedAttemptsMax)
}

// appendBounded drops the oldest attempt when there are too many.
func appendBounded(attempts []edge.Attempt, attempt edge.Attempt, most int) []edge.Attempt {
	if len(attempts) == most {
		attempts = append(attempts[:0], attempts[1:]...)
	}
	return append(attempts, attempt)
}

// history returns the recent attempts that carried a record, oldest first.
func (a *account) history(record *edge.Record) []edge.Attempt {
	var covering []edge.Attempt
	for i := range a.recent {
		if a.recent[i].Covers(record.Position, record.Device) {
			covering = append(covering, a.recent[i])
		}
	}
	return covering
}
