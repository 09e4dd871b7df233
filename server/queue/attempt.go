package queue

import (
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const attemptAge = 24 * time.Hour

// attemptTotals is what is known of the stored attempts. Only whoever writes
// uses it.
type attemptTotals struct {
	lastID int64
	bytes  int64
}

// insert stores an attempt. Its id is the gateway time, so that old ones are found
// without an index.
func (t *attemptTotals) insert(conn *sqlite.Conn, sink edge.SinkID, attempt *edge.Attempt, now time.Time) error {
	t.lastID = max(t.lastID+1, now.UnixMicro())
	t.bytes += queuefile.AttemptRowBytes + int64(len(attempt.Status)+len(attempt.Excerpt))
	return queuefile.InsertAttempt(conn, t.lastID, sink, attempt)
}

// removeOld deletes attempts that are too old or too many, oldest first, and no
// more rows than that.
func (t *attemptTotals) removeOld(conn *sqlite.Conn, bytesMax int64, rows int, now time.Time) error {
	cutoff := now.Add(-attemptAge).UnixMicro()
	var last, freed int64
	err := conn.Query("SELECT id, length(CAST(status AS BLOB)) + length(CAST(excerpt AS BLOB)) FROM attempt ORDER BY id LIMIT ?", func(row sqlite.Row) error {
		if row.Int(0) < cutoff || t.bytes-freed > bytesMax {
			last = row.Int(0)
			freed += queuefile.AttemptRowBytes + row.Int(1)
		}
		return nil
	}, int64(rows))
	if err != nil || last == 0 {
		return err
	}
	t.bytes -= freed
	return conn.Exec("DELETE FROM attempt WHERE id <= ?", last)
}

// attemptsDue reports whether removeOld has something to do.
func attemptsDue(conn *sqlite.Conn, bytes, bytesMax int64, now time.Time) (due bool, err error) {
	_, err = conn.One("SELECT id FROM attempt ORDER BY id LIMIT 1", func(row sqlite.Row) {
		due = row.Int(0) < now.Add(-attemptAge).UnixMicro() || bytes > bytesMax
	})
	return due, err
}

// attemptsScanned bounds the search for the attempts of one record.
const attemptsScanned = 100_000

// readAttempts returns the stored attempts of a sink that carried a record, oldest
// first, from a gateway time on.
func readAttempts(conn *sqlite.Conn, sink edge.SinkID, record *edge.Record, from time.Time) ([]edge.Attempt, error) {
	var attempts []edge.Attempt
	err := conn.Query("SELECT "+queuefile.AttemptColumns+` FROM (SELECT * FROM attempt WHERE id >= ? ORDER BY id LIMIT ?) WHERE sink = ? AND first <= ? AND last >= ? ORDER BY id`,
		func(row sqlite.Row) error {
			if attempt := queuefile.ReadAttempt(row); attempt.Covers(record.Position, record.Device) {
				attempts = append(attempts, attempt)
			}
			return nil
		}, from.UnixMicro(), int64(attemptsScanned), int64(sink), int64(record.Position), int64(record.Position))
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	return attempts, nil
}
