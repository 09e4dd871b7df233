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

// letterRowBytes is what a dead letter takes besides its body.
const letterRowBytes = 256

// ingressIndex marks the correlation ids of refused messages.
const ingressIndex = 1

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

// findLetter reads one dead letter, nil when there is none.
func findLetter(conn *sqlite.Conn, sink edge.SinkID, position edge.Position) (found *letter, err error) {
	_, err = conn.One(selectLetters+" WHERE sink = ? AND position = ?", func(row sqlite.Row) { found = new(readLetter(row)) }, int64(sink), int64(position))
	return found, err
}

// again stores a dead letter that was requeued and is dead again.
func (l *letter) again(conn *sqlite.Conn) error {
	history, err := formatHistory(l.history)
	if err != nil {
		return err
	}
	return conn.Exec("UPDATE dead SET requeued = 0, reason = ?, status = ?, excerpt = ?, attempts = ?, last_at = ?, history = ? WHERE sink = ? AND position = ?",
		l.reason, l.status, l.excerpt, int64(l.attempts), l.lastAt.UnixMicro(), history, int64(l.sink), int64(l.position))
}

func deleteLetter(conn *sqlite.Conn, sink edge.SinkID, position edge.Position) error {
	return conn.Exec("DELETE FROM dead WHERE sink = ? AND position = ?", int64(sink), int64(position))
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

// deadLetter returns what others may know of it, with its record.
func (l *letter) deadLetter(record edge.Record) edge.DeadLetter {
	return edge.DeadLetter{
		Sink: l.sink, Record: record, Reason: l.reason, Status: l.status, Excerpt: l.excerpt,
		Attempts: l.attempts, FirstAt: l.firstAt, LastAt: l.lastAt, Requeued: l.requeued, History: l.history,
	}
}
