package queuefile

import (
	"errors"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// FrameSink stands in the table quarantine for the sink of what is not a dead
// letter.
const FrameSink = -1

// reasonSkipped marks positions that nothing was ever stored at.
const reasonSkipped = "skipped, so that no position is used twice"

// DamagedFrame is the row of a damaged frame: any of its columns may be what is
// wrong. A dead letter is kept as a frame of one record.
type DamagedFrame struct {
	StoredFrame
	Reason error
}

// quarantined is a row of the table quarantine: a damaged frame or dead letter, or
// positions that are in no frame. People look into the body; no function reads it.
type quarantined struct {
	sink        int64 // of a dead letter, or FrameSink
	first       edge.Position
	count       int64
	committedAt time.Time // and what else is known of a frame
	owed, raw   int64
	body        []byte
	reason      string
	found       time.Time // zero when the ledger has not counted it; see countApart
}

const (
	whereFrames       = " WHERE sink = -1" // FrameSink
	quarantineColumns = "sink, position, n, committed, owed, raw, body, reason, found"
	insertQuarantined = "INTO quarantine(" + quarantineColumns + ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

// values are those of insertQuarantined.
func (r *quarantined) values() []any {
	return []any{r.sink, int64(r.first), r.count, r.committedAt.UnixMicro(), r.owed, r.raw, whole(r.body), r.reason, unixMicro(r.found)}
}

// quarantine returns the row for a frame, or for a dead letter as a frame of one record.
func (f *StoredFrame) quarantine(sink int64, reason error, found time.Time) quarantined {
	return quarantined{
		sink: sink, first: f.First, count: int64(f.Count), committedAt: f.CommittedAt, owed: f.Owed, raw: f.Raw, body: f.Body,
		reason: reason.Error(), found: found,
	}
}

// Insert puts the frame, or the dead letter of a sink, into quarantine.
func (r *DamagedFrame) Insert(conn *sqlite.Conn, sink int64, now time.Time) error {
	row := r.quarantine(sink, r.Reason, now)
	if err := conn.Exec("INSERT OR REPLACE "+insertQuarantined, row.values()...); err != nil {
		return fmt.Errorf("keep what is damaged at %d: %w", r.First, err)
	}
	return nil
}

// insertHole names positions that are in no frame, and are not to be looked for.
func insertHole(conn *sqlite.Conn, hole Span, reason string) error {
	row := quarantined{sink: FrameSink, first: hole.First, count: int64(hole.End - hole.First), reason: reason, found: time.Now()}
	if err := conn.Exec("INSERT OR REPLACE "+insertQuarantined, row.values()...); err != nil {
		return fmt.Errorf("name what is not there from %d on: %w", hole.First, err)
	}
	return nil
}

// QuarantinedSpans returns the positions that are in quarantine.
func QuarantinedSpans(conn *sqlite.Conn) (apart Spans, err error) {
	err = conn.Query("SELECT position, n FROM quarantine"+whereFrames+" ORDER BY position", func(row sqlite.Row) error {
		apart.Add(Span{edge.Position(row.Int(0)), edge.Position(row.Int(0) + row.Int(1))})
		return nil
	})
	return apart, err
}

// QuarantinedBytes returns what is kept of what is in quarantine.
func QuarantinedBytes(conn *sqlite.Conn) (bytes int64, err error) {
	_, err = conn.One("SELECT coalesce(sum(length(body)), 0) FROM quarantine", func(row sqlite.Row) { bytes = row.Int(0) })
	return bytes, err
}

// emptiedMax bounds how many rows one transaction empties.
const emptiedMax = 64

// EmptyQuarantine lets go of the bytes of what was found first, until no more than so
// many are left, and returns how many are. The rows stay: they say which positions are
// gone, so that nobody looks for them, and that who still has the messages may send them
// again.
func EmptyQuarantine(conn *sqlite.Conn, most int64) (left int64, err error) {
	if left, err = QuarantinedBytes(conn); err != nil {
		return left, err
	}
	var keys [][2]int64
	err = conn.Query("SELECT sink, position, length(body) FROM quarantine WHERE length(body) > 0 ORDER BY found, sink, position LIMIT ?", func(row sqlite.Row) error {
		if left <= most {
			return sqlite.ErrStop
		}
		keys, left = append(keys, [2]int64{row.Int(0), row.Int(1)}), left-row.Int(2)
		return nil
	}, int64(emptiedMax))
	if err != nil {
		return left, err
	}
	for _, key := range keys {
		if err := conn.Exec("UPDATE quarantine SET body = x'' WHERE sink = ? AND position = ?", key[0], key[1]); err != nil {
			return left, fmt.Errorf("let go of what is damaged at %d: %w", key[1], err)
		}
	}
	return left, nil
}

// FindDamaged returns the row of a frame, nil when it is gone or whole.
func FindDamaged(conn *sqlite.Conn, decoder *Decoder, first edge.Position) (*DamagedFrame, error) {
	var found *DamagedFrame
	_, err := conn.One(SelectFrames+" WHERE id = ?", func(row sqlite.Row) { found = &DamagedFrame{StoredFrame: ReadFrame(row)} }, int64(first))
	if err != nil || found == nil {
		return nil, err
	}
	if _, found.Reason = decoder.DecodeStored(found.StoredFrame); found.Reason == nil {
		return nil, nil
	}
	if damage, ok := errors.AsType[*DamageError](found.Reason); ok {
		found.Reason = damage.Err
	}
	next := edge.Position(0)
	_, err = conn.One("SELECT id FROM frame WHERE id > ? ORDER BY id LIMIT 1", func(row sqlite.Row) { next = edge.Position(row.Int(0)) }, int64(first))
	found.Count = found.plausibleCount(next)
	return found, err
}

// plausibleCount returns how many positions a damaged frame takes, whose number
// of records may be what is damaged. Behind it lies another frame, or nothing.
func (f *StoredFrame) plausibleCount(next edge.Position) int {
	most := int64(MaxFrameBytes / minRecordBytes)
	if f.Raw > 0 && f.Raw <= MaxFrameBytes {
		most = min(most, f.Raw/minRecordBytes)
	}
	if next > f.First {
		most = min(most, int64(next-f.First))
	}
	return int(max(1, min(most, int64(f.Count))))
}
