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

// Insert puts the frame, or the dead letter of a sink, into quarantine.
func (r *DamagedFrame) Insert(conn *sqlite.Conn, sink int64, now time.Time) error {
	err := conn.Exec("INSERT OR REPLACE INTO quarantine VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", sink, int64(r.First), int64(r.Count),
		r.CommittedAt.UnixMicro(), r.Owed, r.Raw, whole(r.Body), r.Reason.Error(), now.UnixMicro())
	if err != nil {
		return fmt.Errorf("keep what is damaged at %d: %w", r.First, err)
	}
	return nil
}

// insertHole names positions that are in no frame, and are not to be looked for.
func insertHole(conn *sqlite.Conn, hole Span, reason string) error {
	err := conn.Exec("INSERT OR REPLACE INTO quarantine VALUES(?, ?, ?, ?, 0, 0, x'', ?, ?)", int64(FrameSink), int64(hole.First), int64(hole.End-hole.First),
		time.Time{}.UnixMicro(), reason, time.Now().UnixMicro())
	if err != nil {
		return fmt.Errorf("name what is not there from %d on: %w", hole.First, err)
	}
	return nil
}

// QuarantinedSpans returns the positions that are in quarantine.
func QuarantinedSpans(conn *sqlite.Conn) (apart Spans, err error) {
	err = conn.Query("SELECT position, n FROM quarantine WHERE sink = -1 ORDER BY position", func(row sqlite.Row) error {
		apart.Add(Span{edge.Position(row.Int(0)), edge.Position(row.Int(0) + row.Int(1))})
		return nil
	})
	return apart, err
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
