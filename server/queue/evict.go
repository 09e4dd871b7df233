package queue

import (
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Dead letters of a sink that is not required have a bound: they and what waits for the
// sink take at most its MaxLagBytes together, and when the queue would be crowded also
// without what every sink has, the sink gives room whose dead letters take most. The
// oldest go first. A dead letter that is requeued is owed again, and stays.

const (
	// A transaction removes as many of a sink as it adds of all, and so many more, or so
	// many bytes, which are never more than the bound of the WAL.
	evictedPerCommit = 256
	evictedBytes     = 4 << 20
	evictedScanned   = 1024 // looked at; those between them are requeued
)

// letterBound is what the dead letters of a sink have to do with, at one time.
type letterBound struct {
	evictable bool  // some of them may go
	limit     int64 // of what waits and of them together
	cursor    edge.Position
	waits     bool // something does, from the cursor on
}

func (a *account) letterBound() letterBound {
	a.mu.Lock()
	defer a.mu.Unlock()
	return letterBound{
		evictable: a.limits.MaxLagBytes > 0 && !a.removed && (a.Dead > a.requeue.waiting || a.unsure),
		limit:     a.limits.MaxLagBytes, cursor: a.cursor, waits: a.Pending() > 0,
	}
}

// lettersOver returns how many of so many bytes of dead letters are beyond what the sink
// may have.
func (c *committer) lettersOver(bytes int64, bound letterBound) int64 {
	if bytes == 0 || !bound.evictable {
		return 0
	}
	limit := bound.limit
	if bound.waits {
		if lag, known := c.q.sizes.from(bound.cursor); known {
			limit = max(0, limit-lag)
		}
	}
	return max(0, bytes-limit)
}

// evictFrom returns the sink that has to give room to all others, once so many bytes more
// are stored: the one whose dead letters take most, when the queue would be crowded also
// without what every sink has. Otherwise it returns nil.
func (c *committer) evictFrom(coming int64) (most *account) {
	usage := c.space.usage
	if usage.used += coming; !c.space.full.crowdsForGood(&usage) {
		return nil
	}
	stored, known := c.q.sizes.from(0)
	needed, _ := c.q.sizes.from(c.q.pinned())
	usage.used, usage.spare = usage.used-(stored-needed), usage.spare+stored-needed
	if !known || !c.space.full.crowdsForGood(&usage) {
		return nil
	}
	for _, account := range c.q.registry.all() {
		if bytes := account.letters.bytes; bytes > 0 && (most == nil || bytes > most.letters.bytes) && account.letterBound().evictable {
			most = account
		}
	}
	return most
}

// lettersDue reports whether some sink's dead letters are to go.
func (c *committer) lettersDue() bool {
	return c.evictFrom(0) != nil || slices.ContainsFunc(c.q.registry.all(), func(a *account) bool {
		return a.letters.bytes > 0 && c.lettersOver(a.letters.bytes, a.letterBound()) > 0
	})
}

// eviction is what a transaction has to know to remove dead letters.
type eviction struct {
	letters, bytes int64    // that it stores, about
	from           *account // that has to give room to others; nil when none has to
	more           bool     // some are to go that are still there
}

// decideEviction finds out whether a sink has to give room, also to what the transaction
// stores; then it is saved, too.
func (c *committer) decideEviction(s *save, tx *transaction) {
	e := eviction{}
	for i := range s.accounts {
		unsaved := &s.accounts[i].unsaved
		e.letters, e.bytes = e.letters+int64(len(unsaved.letters)), e.bytes+unsaved.letterBytes
	}
	e.from = c.evictFrom(e.bytes)
	if e.from != nil && !slices.ContainsFunc(s.accounts, func(taken accountSave) bool { return taken.account == e.from }) {
		s.accounts = append(s.accounts, e.from.takeUnsaved())
	}
	tx.eviction = e
}

// over returns how many bytes of an account's dead letters are to go.
func (c *committer) over(s *accountSave, e *eviction) int64 {
	if s.account == e.from {
		return s.letters.bytes
	}
	return c.lettersOver(s.letters.bytes, s.bound)
}

// evictedLetters are the dead letters of one sink that go with a transaction.
type evictedLetters struct {
	count   int64
	reasons map[string]int64 // of their deaths
	losses  lossReport
}

// evictLetters removes the oldest dead letters of a sink that has too many, and reports
// them as lost: in the file, and in what is about to be saved. In memory they go when the
// transaction has held.
func (c *committer) evictLetters(conn *sqlite.Conn, s *accountSave, tx *transaction) error {
	sizes, from := &s.letters, s.letters.next
	over := c.over(s, &tx.eviction)
	if over == 0 {
		return nil
	}
	rows, bytes := tx.eviction.letters+evictedPerCommit, min(over, tx.eviction.bytes+min(c.q.bounds.walHard, evictedBytes))
	scanned := 0
	err := conn.Query(queuefile.SelectBareLetters+" WHERE sink = ? AND position >= ? ORDER BY position LIMIT ?", func(row sqlite.Row) error {
		if rows == 0 || bytes <= 0 {
			return sqlite.ErrStop
		}
		letter := queuefile.ReadLetter(row)
		scanned++
		sizes.next = letter.Position + 1
		if letter.Requeued {
			return nil
		}
		rows--
		bytes -= letter.Bytes()
		sizes.change(letter.Position, -letter.Bytes())
		s.evict(&letter, c.q.decoder, tx.now)
		return nil
	}, int64(s.account.id), int64(from), int64(evictedScanned))
	if err != nil {
		return err
	}
	if scanned > 0 && c.over(s, &tx.eviction) > 0 {
		tx.eviction.more = true
	}
	if s.evicted.count == 0 {
		return nil
	}
	if err := s.evicted.losses.write(conn, s.account.id); err != nil {
		return err
	}
	return queuefile.DeleteLetters(conn, s.account.id, from, sizes.next)
}

// evict counts a dead letter that goes. What is damaged is lost as well; its row tells
// whose it was.
func (s *accountSave) evict(letter *queuefile.Letter, decoder *queuefile.Decoder, now time.Time) {
	record, err := decoder.DecodeLetter(letter)
	if err != nil {
		record = edge.Record{Position: letter.Position, Device: letter.Device, ReceivedAt: letter.FirstAt}
	}
	if s.evicted.reasons == nil {
		s.evicted.reasons = make(map[string]int64)
	}
	s.evicted.count++
	s.evicted.reasons[letter.Reason]++
	s.evicted.losses.addRecord(evictedReason, now, &record)
	s.row.Dead--
	s.row.Expired++
	countDeath(s.deaths, letter.Reason, -1, 0)
	s.deathsChanged = true
}

// forgetEvicted counts dead letters that are gone.
func (a *account) forgetEvicted(gone *evictedLetters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Dead -= gone.count
	a.Expired += gone.count
	a.losses[evictedReason] += gone.count
	for reason, count := range gone.reasons {
		countDeath(a.deaths, reason, -count, 0)
	}
}
