package queue

import (
	"encoding/json"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// historyMax bounds the attempts that a dead letter keeps for life.
const historyMax = 20

// letter is a row of the table dead.
type letter struct {
	sink     edge.SinkID
	position edge.Position
	device   edge.DeviceID
	reason   string
	status   string
	excerpt  string
	attempts int
	firstAt  time.Time
	lastAt   time.Time
	requeued bool
	history  []edge.Attempt
	body     []byte // a frame of one record
}

const selectLetters = `SELECT sink, position, device, reason, status, excerpt, attempts, first_at, last_at, requeued, history, body FROM dead`

func readLetter(row sqlite.Row) letter {
	return letter{
		sink: edge.SinkID(row.Int(0)), position: edge.Position(row.Int(1)), device: edge.DeviceID(row.Text(2)),
		reason: row.Text(3), status: row.Text(4), excerpt: row.Text(5), attempts: int(row.Int(6)),
		firstAt: time.UnixMicro(row.Int(7)).UTC(), lastAt: time.UnixMicro(row.Int(8)).UTC(), requeued: row.Int(9) != 0,
		history: parseHistory(row.Text(10)), body: row.Bytes(11),
	}
}

func (l *letter) insert(conn *sqlite.Conn) error {
	history, err := formatHistory(l.history)
	if err != nil {
		return err
	}
	return conn.Exec("INSERT INTO dead VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
		int64(l.sink), int64(l.position), string(l.device), l.reason, l.status, l.excerpt, int64(l.attempts),
		l.firstAt.UnixMicro(), l.lastAt.UnixMicro(), history, l.body)
}

// decodeLetter returns the record of a dead letter.
func (d *decoder) decodeLetter(l *letter) (edge.Record, error) {
	frame, err := d.decode(l.position, 1, l.body)
	if err != nil {
		return edge.Record{}, fmt.Errorf("dead letter %d of sink %d: %w", l.position, l.sink, err)
	}
	record := frame.records[0]
	if l.sink == edge.Ingress {
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, l.position, ingressIndex, d.logs.ofLetter(l.position))
	}
	return record, nil
}

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
		return conn.Exec("DELETE FROM dead WHERE sink = ? AND position = ?", int64(sink), int64(change.position))
	case letterBorn:
		born := c.newLetter(sink, change)
		return born.insert(conn)
	}
	var old letter
	found, err := conn.One(selectLetters+" WHERE sink = ? AND position = ?", func(row sqlite.Row) { old = readLetter(row) },
		int64(sink), int64(change.position))
	if err != nil {
		return err
	}
	if !found {
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
	history, err := formatHistory(old.history)
	if err != nil {
		return err
	}
	return conn.Exec("UPDATE dead SET requeued = 0, reason = ?, status = ?, excerpt = ?, attempts = ?, last_at = ?, history = ? WHERE sink = ? AND position = ?",
		again.reason, again.status, again.excerpt, int64(old.attempts), again.lastAt.UnixMicro(), history, int64(sink), int64(change.position))
}

func (l *letter) deadLetter(record edge.Record) edge.DeadLetter {
	return edge.DeadLetter{
		Sink: l.sink, Record: record, Reason: l.reason, Status: l.status, Excerpt: l.excerpt,
		Attempts: l.attempts, FirstAt: l.firstAt, LastAt: l.lastAt, Requeued: l.requeued, History: l.history,
	}
}

func formatHistory(attempts []edge.Attempt) (string, error) {
	text, err := json.Marshal(attempts[max(0, len(attempts)-historyMax):])
	if err != nil {
		return "", fmt.Errorf("format history: %w", err)
	}
	return string(text), nil
}

// parseHistory reads what formatHistory wrote. A damaged history is empty: it
// explains a dead letter, which is worth more than it.
func parseHistory(text string) []edge.Attempt {
	var attempts []edge.Attempt
	if err := json.Unmarshal([]byte(text), &attempts); err != nil {
		return nil
	}
	return attempts
}

// deaths count the dead letters of one reason.
type deaths struct {
	now, ever int64
	unsure    bool // they were found to be wrong
}

func countDeath(counts map[string]deaths, reason string, now, ever int64) {
	count := counts[reason]
	count.now += now
	count.ever += ever
	counts[reason] = count
}

func writeDeaths(conn *sqlite.Conn, sink edge.SinkID, counts map[string]deaths) error {
	for reason, count := range counts {
		sum := int64(countsUnsure)
		if !count.unsure {
			sum = deathSum(sink, reason, count)
		}
		err := conn.Exec("INSERT INTO death VALUES(?, ?, ?, ?, ?) ON CONFLICT(sink, reason) DO UPDATE SET now = excluded.now, ever = excluded.ever, checksum = excluded.checksum",
			int64(sink), reason, count.now, count.ever, sum)
		if err != nil {
			return fmt.Errorf("count dead letters: %w", err)
		}
	}
	return nil
}

func readDeaths(conn *sqlite.Conn, sink edge.SinkID) (map[string]deaths, error) {
	counts := make(map[string]deaths)
	err := conn.Query("SELECT reason, now, ever, checksum FROM death WHERE sink = ?", func(row sqlite.Row) error {
		count := deaths{now: row.Int(1), ever: row.Int(2)}
		count.unsure = !sumHolds(row[3], deathSum(sink, row.Text(0), count))
		counts[row.Text(0)] = count
		return nil
	}, int64(sink))
	return counts, err
}
