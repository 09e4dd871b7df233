package queuefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// historyMax bounds the attempts that a dead letter keeps for life.
const historyMax = 20

// LetterRowBytes is what a dead letter takes besides its body.
const LetterRowBytes = 256

// LetterBytes is [Letter.Bytes] of a row of the table dead.
const LetterBytes = "(256 + length(body))" // with LetterRowBytes

// IngressIndex marks the correlation ids of refused messages.
const IngressIndex = 1

// Letter is a row of the table dead.
type Letter struct {
	Sink     edge.SinkID
	Position edge.Position
	Device   edge.DeviceID
	Reason   string
	Status   string
	Excerpt  string
	Attempts int
	FirstAt  time.Time
	LastAt   time.Time
	Requeued bool
	History  []edge.Attempt
	Body     []byte // a frame of one record, owed to [LetterOwner]
}

// LetterOwner is what the body of a dead letter has in place of an owed set: whose
// letter it is, so that the checksum holds for the row's whole key. Letters of earlier
// versions have 0.
func LetterOwner(sink edge.SinkID) uint32 { return uint32(sink) + 1 }

var errOwner = errors.New("it is the letter of another sink")

// SelectLetters reads whole rows, and SelectBareLetters those without the history of
// their attempts.
const (
	letterColumns = "sink, position, device, reason, status, excerpt, attempts, first_at, last_at, requeued"

	SelectLetters     = "SELECT " + letterColumns + ", history, body FROM dead"
	SelectBareLetters = "SELECT " + letterColumns + ", '', body FROM dead"
)

// ReadLetter reads a row of SelectLetters or SelectBareLetters.
func ReadLetter(row sqlite.Row) Letter {
	return Letter{
		Sink: edge.SinkID(row.Int(0)), Position: edge.Position(row.Int(1)), Device: edge.DeviceID(row.Text(2)),
		Reason: row.Text(3), Status: row.Text(4), Excerpt: row.Text(5), Attempts: int(row.Int(6)),
		FirstAt: time.UnixMicro(row.Int(7)).UTC(), LastAt: time.UnixMicro(row.Int(8)).UTC(), Requeued: row.Int(9) != 0,
		History: parseHistory(row.Text(10)), Body: row.Bytes(11),
	}
}

// Insert stores a dead letter that is new, and not requeued.
func (l *Letter) Insert(conn *sqlite.Conn) error {
	history, err := formatHistory(l.History)
	if err != nil {
		return err
	}
	return conn.Exec("INSERT INTO dead VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
		int64(l.Sink), int64(l.Position), string(l.Device), l.Reason, l.Status, l.Excerpt, int64(l.Attempts),
		l.FirstAt.UnixMicro(), l.LastAt.UnixMicro(), history, l.Body)
}

// FindLetter reads one dead letter, nil when there is none.
func FindLetter(conn *sqlite.Conn, sink edge.SinkID, position edge.Position) (found *Letter, err error) {
	_, err = conn.One(SelectLetters+" WHERE sink = ? AND position = ?", func(row sqlite.Row) { found = new(ReadLetter(row)) }, int64(sink), int64(position))
	return found, err
}

// Update stores a dead letter that was requeued and is dead again.
func (l *Letter) Update(conn *sqlite.Conn) error {
	history, err := formatHistory(l.History)
	if err != nil {
		return err
	}
	return conn.Exec("UPDATE dead SET requeued = 0, reason = ?, status = ?, excerpt = ?, attempts = ?, last_at = ?, history = ? WHERE sink = ? AND position = ?",
		l.Reason, l.Status, l.Excerpt, int64(l.Attempts), l.LastAt.UnixMicro(), history, int64(l.Sink), int64(l.Position))
}

// MarkRequeued gives a dead letter back to its sink.
func MarkRequeued(conn *sqlite.Conn, sink edge.SinkID, position edge.Position) error {
	return conn.Exec("UPDATE dead SET requeued = 1 WHERE sink = ? AND position = ?", int64(sink), int64(position))
}

// DeleteLetter removes a dead letter, if there is one, and returns what it took.
func DeleteLetter(conn *sqlite.Conn, sink edge.SinkID, position edge.Position) (bytes int64, err error) {
	_, err = conn.One("DELETE FROM dead WHERE sink = ? AND position = ? RETURNING "+LetterBytes, func(row sqlite.Row) {
		bytes = row.Int(0)
	}, int64(sink), int64(position))
	return bytes, err
}

// DeleteLetters removes the dead letters of a sink from one position up to another. Those
// that are requeued stay.
func DeleteLetters(conn *sqlite.Conn, sink edge.SinkID, from, end edge.Position) error {
	return conn.Exec("DELETE FROM dead WHERE sink = ? AND requeued = 0 AND position >= ? AND position < ?", int64(sink), int64(from), int64(end))
}

// Bytes is what the letter takes of the file, about.
func (l *Letter) Bytes() int64 { return LetterRowBytes + int64(len(l.Body)) }

// DecodeLetter returns the record of a dead letter. It fails with a [*DamageError] when
// the row is not what was written, or was written under another key.
func (d *Decoder) DecodeLetter(l *Letter) (edge.Record, error) {
	frame, err := d.decode(l.Position, 1, l.Body)
	if err == nil && frame.Owed[0] != 0 && frame.Owed[0] != LetterOwner(l.Sink) {
		err = &DamageError{Frame: l.Position, Err: errOwner}
	}
	if err != nil {
		return edge.Record{}, fmt.Errorf("dead letter %d of sink %d: %w", l.Position, l.Sink, err)
	}
	record := frame.Records[0]
	if l.Sink == edge.Ingress {
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, l.Position, IngressIndex, d.logs.ofLetter(l.Position))
	}
	return record, nil
}

// IsMisplaced reports whether an error of DecodeLetter says that the row is whole but for
// its key: it is not known to be a letter of the sink that it names.
func IsMisplaced(err error) bool { return errors.Is(err, errOwner) }

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
	if text == "" {
		return nil
	}
	var attempts []edge.Attempt
	if err := json.Unmarshal([]byte(text), &attempts); err != nil {
		return nil
	}
	return attempts
}

// DeadLetter returns what others may know of it, with its record.
func (l *Letter) DeadLetter(record edge.Record) edge.DeadLetter {
	return edge.DeadLetter{
		Sink: l.Sink, Record: record, Reason: l.Reason, Status: l.Status, Excerpt: l.Excerpt,
		Attempts: l.Attempts, FirstAt: l.FirstAt, LastAt: l.LastAt, Requeued: l.Requeued, History: l.History,
	}
}
