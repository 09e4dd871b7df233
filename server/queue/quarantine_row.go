package queue

import (
	"errors"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// frameSink stands in the table quarantine for the sink of what is not a dead
// letter.
const frameSink = -1

// reasonSkipped marks positions that nothing was ever stored at.
const reasonSkipped = "skipped, so that no position is used twice"

// damagedRow is the row of a damaged frame: any of its columns may be what is
// wrong. A dead letter is kept as a frame of one record.
type damagedRow struct {
	storedFrame
	reason error
}

func (r *damagedRow) insert(conn *sqlite.Conn, sink int64, now time.Time) error {
	err := conn.Exec("INSERT OR REPLACE INTO quarantine VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", sink, int64(r.first), int64(r.count),
		r.committedAt.UnixMicro(), r.owed, r.raw, whole(r.body), r.reason.Error(), now.UnixMicro())
	if err != nil {
		return fmt.Errorf("keep what is damaged at %d: %w", r.first, err)
	}
	return nil
}

// insertHole names positions that are in no frame, and are not to be looked for.
func insertHole(conn *sqlite.Conn, hole span, reason string) error {
	err := conn.Exec("INSERT OR REPLACE INTO quarantine VALUES(?, ?, ?, ?, 0, 0, x'', ?, ?)", int64(frameSink), int64(hole.first), int64(hole.end-hole.first),
		time.Time{}.UnixMicro(), reason, time.Now().UnixMicro())
	if err != nil {
		return fmt.Errorf("name what is not there from %d on: %w", hole.first, err)
	}
	return nil
}

// quarantinedSpans returns the positions that are in quarantine.
func quarantinedSpans(conn *sqlite.Conn) (apart spans, err error) {
	err = conn.Query("SELECT position, n FROM quarantine WHERE sink = -1 ORDER BY position", func(row sqlite.Row) error {
		apart.add(span{edge.Position(row.Int(0)), edge.Position(row.Int(0) + row.Int(1))})
		return nil
	})
	return apart, err
}

// findDamaged returns the row of a frame, nil when it is gone or whole.
func findDamaged(conn *sqlite.Conn, decoder *decoder, first edge.Position) (*damagedRow, error) {
	var found *damagedRow
	_, err := conn.One(selectFrames+" WHERE id = ?", func(row sqlite.Row) { found = &damagedRow{storedFrame: scanFrame(row)} }, int64(first))
	if err != nil || found == nil {
		return nil, err
	}
	if _, found.reason = decoder.decodeStored(found.storedFrame); found.reason == nil {
		return nil, nil
	}
	if damage, ok := errors.AsType[*DamageError](found.reason); ok {
		found.reason = damage.Err
	}
	next := edge.Position(0)
	_, err = conn.One("SELECT id FROM frame WHERE id > ? ORDER BY id LIMIT 1", func(row sqlite.Row) { next = edge.Position(row.Int(0)) }, int64(first))
	found.count = found.plausibleCount(next)
	return found, err
}

// plausibleCount returns how many positions a damaged frame takes, whose number
// of records may be what is damaged. Behind it lies another frame, or nothing.
func (f *storedFrame) plausibleCount(next edge.Position) int {
	most := int64(maxFrameBytes / minRecordBytes)
	if f.raw > 0 && f.raw <= maxFrameBytes {
		most = min(most, f.raw/minRecordBytes)
	}
	if next > f.first {
		most = min(most, int64(next-f.first))
	}
	return int(max(1, min(most, int64(f.count))))
}
