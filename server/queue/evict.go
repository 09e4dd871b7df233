package queue

import (
	"context"
	"math"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Dead letters of a sink that is not required have a bound: they and what waits for the
// sink take at most its MaxLagBytes together, and when the queue would be crowded also
// without what every sink has, the sink gives room whose dead letters take most. The
// oldest go first. A dead letter that is requeued is owed again, and stays.

// letterSizes is how much of the file the dead letters of a sink take. What a start has
// found is measured little by little, and counts as nothing until then. Only the
// committer looks.
type letterSizes struct {
	bytes    int64         // of the letters that are measured
	measured edge.Position // those up to here are
	next     edge.Position // none below it can go
}

// change is told of a letter that is stored, or gone when bytes are negative.
func (s *letterSizes) change(position edge.Position, bytes int64) {
	if position <= s.measured {
		s.bytes += bytes
	}
}

// stored is told of a letter that can go.
func (s *letterSizes) stored(position edge.Position, bytes int64) {
	s.change(position, bytes)
	s.next = min(s.next, position)
}

const (
	lettersMeasured = edge.Position(math.MaxInt64) // all of them

	// Measuring reads a page for each letter, and commits wait for it.
	measuredPerRound = 1000
	measuredWithin   = maintenanceInterval / 50

	// A transaction removes as many of a sink as it adds of all, and so many more, or so
	// many bytes, which are never more than the bound of the WAL.
	evictedPerCommit = 256
	evictedBytes     = 4 << 20
	evictedScanned   = 1024 // looked at; those between them are requeued
)

// measureLetters goes on measuring what a start has found, of the sinks that may keep
// only so much.
func (c *committer) measureLetters() {
	for _, account := range c.q.registry.all() {
		sizes := &account.letters
		if sizes.measured == lettersMeasured || account.limitsNow().MaxLagBytes == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), measuredWithin)
		read := 0
		err := c.q.read(ctx, func(conn *sqlite.Conn) error {
			return conn.Query("SELECT position, length(body) FROM dead WHERE sink = ? AND position > ? ORDER BY position LIMIT ?", func(row sqlite.Row) error {
				sizes.bytes += queuefile.LetterRowBytes + row.Int(1)
				sizes.measured = edge.Position(row.Int(0))
				read++
				return nil
			}, int64(account.id), int64(sizes.measured), int64(measuredPerRound))
		})
		cancel()
		if err == nil && read < measuredPerRound {
			sizes.measured = lettersMeasured
		}
	}
}

// lettersOver returns how many bytes of a sink's dead letters are to go. crowded is the
// sink that has to give room to others, if any.
func (c *committer) lettersOver(a, crowded *account) int64 {
	if a.letters.bytes == 0 || !a.evictable() {
		return 0
	}
	if a == crowded {
		return a.letters.bytes
	}
	a.mu.Lock()
	limit, cursor, waits := a.limits.MaxLagBytes, a.cursor, a.Pending() > 0
	a.mu.Unlock()
	if lag, known := c.q.sizes.from(cursor); waits && known {
		limit = max(0, limit-lag)
	}
	return max(0, a.letters.bytes-limit)
}

// unsavedLetters returns how many dead letters wait to be stored, and what they take.
func (a *account) unsavedLetters() (count, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.unsaved.letters {
		count++
		bytes += queuefile.LetterRowBytes + int64(len(a.unsaved.letters[i].death.Delivery.Record.Payload))
	}
	return count, bytes
}

// evictable reports whether a sink has dead letters that may go.
func (a *account) evictable() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limits.MaxLagBytes > 0 && !a.removed && (a.Dead > a.requeue.waiting || a.unsure)
}

// crowdedBy returns the sink that has to give room because the queue is crowded, also
// without what every sink has, once so many bytes are stored: that whose dead letters
// take most. nil is none.
func (c *committer) crowdedBy(coming int64) (most *account) {
	usage := c.space.usage
	if usage.used += coming; !c.space.full.pressed(&usage) {
		return nil
	}
	stored, known := c.q.sizes.from(0)
	needed, _ := c.q.sizes.from(c.q.pinned())
	usage.used, usage.spare = usage.used-(stored-needed), usage.spare+stored-needed
	if !known || !c.space.full.pressed(&usage) {
		return nil
	}
	for _, account := range c.q.registry.all() {
		if account.letters.bytes > 0 && account.evictable() && (most == nil || account.letters.bytes > most.letters.bytes) {
			most = account
		}
	}
	return most
}

// lettersDue reports whether some sink's dead letters are to go.
func (c *committer) lettersDue() bool {
	crowded := c.crowdedBy(0)
	for _, account := range c.q.registry.all() {
		if c.lettersOver(account, crowded) > 0 {
			return true
		}
	}
	return false
}

// eviction is what a transaction has to know to remove dead letters.
type eviction struct {
	letters, bytes int64    // that it stores, about
	crowded        *account // that has to give room to others; nil when none has to
	more           bool     // some are to go that are still there
}

// newEviction looks at what waits to be saved.
func (c *committer) newEviction() eviction {
	e := eviction{}
	for _, account := range c.q.registry.all() {
		letters, bytes := account.unsavedLetters()
		e.letters, e.bytes = e.letters+letters, e.bytes+bytes
	}
	e.crowded = c.crowdedBy(e.bytes)
	return e
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
	sizes := &s.account.letters
	over := c.lettersOver(s.account, tx.eviction.crowded)
	if over == 0 {
		return nil
	}
	rows, bytes := tx.eviction.letters+evictedPerCommit, min(over, tx.eviction.bytes+min(c.q.bounds.walHard, evictedBytes))
	scanned, next := 0, sizes.next
	err := conn.Query("SELECT position, device, reason, first_at, requeued, body FROM dead WHERE sink = ? AND position >= ? ORDER BY position LIMIT ?", func(row sqlite.Row) error {
		if rows == 0 || bytes <= 0 {
			return sqlite.ErrStop
		}
		letter := queuefile.Letter{
			Sink: s.account.id, Position: edge.Position(row.Int(0)), Device: edge.DeviceID(row.Text(1)), Reason: row.Text(2), FirstAt: time.UnixMicro(row.Int(3)), Requeued: row.Int(4) != 0, Body: row.Bytes(5),
		}
		scanned++
		next = letter.Position + 1
		if letter.Requeued {
			return nil
		}
		rows--
		bytes -= letter.Bytes()
		sizes.change(letter.Position, -letter.Bytes())
		s.evict(&letter, c.q.decoder, tx.now)
		return nil
	}, int64(s.account.id), int64(sizes.next), int64(evictedScanned))
	if err != nil {
		return err
	}
	if scanned > 0 && c.lettersOver(s.account, tx.eviction.crowded) > 0 {
		tx.eviction.more = true
	}
	from := sizes.next
	if sizes.next = next; s.evicted.count == 0 {
		return nil
	}
	if err := s.evicted.losses.write(conn, s.account.id); err != nil {
		return err
	}
	return conn.Exec("DELETE FROM dead WHERE sink = ? AND requeued = 0 AND position >= ? AND position < ?", int64(s.account.id), int64(from), int64(next))
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

// evicted counts dead letters that are gone.
func (a *account) evicted(gone *evictedLetters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Dead -= gone.count
	a.Expired += gone.count
	a.losses[evictedReason] += gone.count
	for reason, count := range gone.reasons {
		countDeath(a.deaths, reason, -count, 0)
	}
}
