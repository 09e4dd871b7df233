package queue

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// storedFrame is a row of the table frame.
type storedFrame struct {
	first       edge.Position
	count       int
	committedAt time.Time // gateway time
	owed        int64     // the set of all records, owedMixed when they differ
	raw         int64     // bytes of the records before compression
	body        []byte    // see frame.go
}

// selectFrames reads whole rows.
const selectFrames = "SELECT id, n, committed, owed, raw, body FROM frame"

// fromFrameAt selects the frames from the one on that may hold the position ?1.
const fromFrameAt = " WHERE id >= coalesce((SELECT id FROM frame WHERE id <= ?1 ORDER BY id DESC LIMIT 1), ?1)"

// scanFrame reads a row of selectFrames.
func scanFrame(row sqlite.Row) storedFrame {
	return storedFrame{
		first: edge.Position(row.Int(0)), count: int(row.Int(1)), committedAt: time.UnixMicro(row.Int(2)).UTC(),
		owed: row.Int(3), raw: row.Int(4), body: row.Bytes(5),
	}
}

// end returns the position behind the last record.
func (f *storedFrame) end() edge.Position { return f.first + edge.Position(f.count) }

func (f *storedFrame) insert(conn *sqlite.Conn) error {
	return conn.Exec("INSERT INTO frame VALUES(?, ?, ?, ?, ?, ?)", int64(f.first), int64(f.count), f.committedAt.UnixMicro(), f.owed, f.raw, f.body)
}

// decodeStored decodes a frame that was read from disk.
func (d *decoder) decodeStored(stored storedFrame) (*frame, error) {
	decoded, err := d.decode(stored.first, stored.count, stored.body)
	if err != nil {
		return nil, err
	}
	decoded.committedAt = stored.committedAt
	return decoded, nil
}

// storedHead returns the position of the last record that was ever stored.
func storedHead(conn *sqlite.Conn) (head edge.Position, err error) {
	_, err = conn.One("SELECT max(counted, coalesce((SELECT id + n - 1 FROM frame ORDER BY id DESC LIMIT 1), 0)) FROM ledger",
		func(row sqlite.Row) { head = edge.Position(row.Int(0)) })
	return head, err
}

// lastCommit returns the gateway time of the newest frame, zero when there is none.
func lastCommit(conn *sqlite.Conn) (at time.Time, err error) {
	_, err = conn.One("SELECT committed FROM frame ORDER BY id DESC LIMIT 1", func(row sqlite.Row) { at = fromUnixMicro(row.Int(0)) })
	return at, err
}
