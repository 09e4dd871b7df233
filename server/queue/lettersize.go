package queue

import (
	"context"
	"math"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// letterSizes is how much of the file the dead letters of a sink take. What a start has
// found is measured little by little, of the sinks that may keep only so much, and counts
// as nothing until then. Only the committer looks.
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
)

// measureLetters goes on measuring what a start has found. All sinks share what a round
// may read.
func (c *committer) measureLetters() {
	var unmeasured []*account
	for _, account := range c.q.registry.all() {
		if account.letters.measured < lettersMeasured && account.limitsNow().MaxLagBytes > 0 {
			unmeasured = append(unmeasured, account)
		}
	}
	if len(unmeasured) == 0 {
		return
	}
	// The readers may all be busy, and commits must not wait for them: the next round
	// goes on.
	ctx, cancel := context.WithTimeout(context.Background(), maintenanceInterval/50)
	defer cancel()
	_ = c.q.read(ctx, func(conn *sqlite.Conn) error {
		left := measuredPerRound
		for _, account := range unmeasured {
			read, err := account.letters.measure(conn, account.id, left)
			account.tellLetters()
			if left -= read; err != nil || left <= 0 {
				return err
			}
		}
		return nil
	})
}

// measure reads so many letters, or all that are left.
func (s *letterSizes) measure(conn *sqlite.Conn, sink edge.SinkID, most int) (read int, err error) {
	err = conn.Query("SELECT position, "+queuefile.LetterBytes+" FROM dead WHERE sink = ? AND position > ? ORDER BY position LIMIT ?", func(row sqlite.Row) error {
		s.bytes += row.Int(1)
		s.measured = edge.Position(row.Int(0))
		read++
		return nil
	}, int64(sink), int64(s.measured), int64(most))
	if err == nil && read < most {
		s.measured = lettersMeasured
	}
	return read, err
}

// tellLetters lets others know what the committer has measured.
func (a *account) tellLetters() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deadBytes, a.deadMeasured = a.letters.bytes, a.letters.measured == lettersMeasured
}

// lettersRead is how many dead letters of a sink stand for the size of all.
const lettersRead = 100

// lettersBytes returns how much of the file a sink's dead letters take: what was
// measured, or about as much as so many of the size of the newest ones.
func (q *Queue) lettersBytes(conn *sqlite.Conn, sink edge.SinkID, count int64) (bytes int64, err error) {
	if count <= 0 {
		return 0, nil
	}
	if account, err := q.account(sink); err == nil {
		account.mu.Lock()
		bytes, measured := account.deadBytes, account.deadMeasured
		account.mu.Unlock()
		if measured {
			return bytes, nil
		}
	}
	_, err = conn.One("SELECT CAST(coalesce(avg(size), 0) AS INTEGER) FROM (SELECT "+queuefile.LetterBytes+" AS size FROM dead WHERE sink = ? ORDER BY position DESC LIMIT ?)", func(row sqlite.Row) {
		bytes = count * row.Int(0)
	}, int64(sink), int64(lettersRead))
	return bytes, err
}
