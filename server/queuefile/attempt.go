package queuefile

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// AttemptRowBytes is what an attempt takes besides its texts.
const AttemptRowBytes = 96

// AttemptColumns are the columns of the table attempt.
const AttemptColumns = "id, sink, number, first, last, records, slot, slots, started, ended, class, status, excerpt"

// ReadAttempt reads a row of AttemptColumns.
func ReadAttempt(row sqlite.Row) edge.Attempt {
	return edge.Attempt{
		Number: int(row.Int(2)), First: edge.Position(row.Int(3)), Last: edge.Position(row.Int(4)), Records: int(row.Int(5)),
		Slot: int(row.Int(6)), Slots: int(row.Int(7)),
		StartedAt: time.UnixMicro(row.Int(8)).UTC(), EndedAt: time.UnixMicro(row.Int(9)).UTC(),
		Class: edge.Class(row.Int(10)), Status: row.Text(11), Excerpt: row.Text(12),
	}
}

// InsertAttempt stores an attempt of a sink. Its id is a gateway time in
// microseconds that no other has.
func InsertAttempt(conn *sqlite.Conn, id int64, sink edge.SinkID, attempt *edge.Attempt) error {
	return conn.Exec("INSERT INTO attempt VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		id, int64(sink), int64(attempt.Number), int64(attempt.First), int64(attempt.Last), int64(attempt.Records),
		int64(attempt.Slot), int64(attempt.Slots), attempt.StartedAt.UnixMicro(), attempt.EndedAt.UnixMicro(),
		int64(attempt.Class), attempt.Status, attempt.Excerpt)
}
