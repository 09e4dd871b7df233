package queuefile

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// StoredFrame is a row of the table frame.
type StoredFrame struct {
	First       edge.Position
	Count       int
	CommittedAt time.Time // gateway time
	Owed        int64     // the set of all records, OwedMixed when they differ
	Raw         int64     // bytes of the records before compression
	Body        []byte    // see frame.go
}

// SelectFrames reads whole rows.
const SelectFrames = "SELECT id, n, committed, owed, raw, body FROM frame"

// FromFrameAt selects the frames from the one on that may hold the position ?1.
const FromFrameAt = " WHERE id >= coalesce((SELECT id FROM frame WHERE id <= ?1 ORDER BY id DESC LIMIT 1), ?1)"

// FrameEnd is the position behind a frame, for whoever does not read the frame and so
// cannot tell whether n is what was written: that of the next one. Between the two lies
// nothing that anybody waits for.
const FrameEnd = "coalesce((SELECT next.id FROM frame AS next WHERE next.id > frame.id ORDER BY next.id LIMIT 1), id + max(n, 1))"

// ReadFrame reads a row of SelectFrames.
func ReadFrame(row sqlite.Row) StoredFrame {
	return StoredFrame{
		First: edge.Position(row.Int(0)), Count: int(row.Int(1)), CommittedAt: time.UnixMicro(row.Int(2)).UTC(),
		Owed: row.Int(3), Raw: row.Int(4), Body: row.Bytes(5),
	}
}

// End returns the position behind the last record.
func (f *StoredFrame) End() edge.Position { return f.First + edge.Position(f.Count) }

// Insert stores a frame at positions that no frame holds.
func (f *StoredFrame) Insert(conn *sqlite.Conn) error {
	return conn.Exec("INSERT INTO frame VALUES(?, ?, ?, ?, ?, ?)", int64(f.First), int64(f.Count), f.CommittedAt.UnixMicro(), f.Owed, f.Raw, f.Body)
}

// DecodeStored decodes a frame that was read from disk.
func (d *Decoder) DecodeStored(stored StoredFrame) (*Frame, error) {
	decoded, err := d.decode(stored.First, stored.Count, stored.Body)
	if err != nil {
		return nil, err
	}
	decoded.CommittedAt = stored.CommittedAt
	return decoded, nil
}

// Head returns the position of the last record that was ever stored.
func Head(conn *sqlite.Conn) (head edge.Position, err error) {
	_, err = conn.One("SELECT max(counted, coalesce((SELECT id + n - 1 FROM frame ORDER BY id DESC LIMIT 1), 0)) FROM ledger",
		func(row sqlite.Row) { head = edge.Position(row.Int(0)) })
	return head, err
}

// LastCommit returns the gateway time of the newest frame, zero when there is none.
func LastCommit(conn *sqlite.Conn) (at time.Time, err error) {
	_, err = conn.One("SELECT committed FROM frame ORDER BY id DESC LIMIT 1", func(row sqlite.Row) { at = fromUnixMicro(row.Int(0)) })
	return at, err
}
