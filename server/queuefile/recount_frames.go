package queuefile

import (
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// A piece of a recount ends after so much. It takes about 20 ms.
const (
	PieceFrames = 256
	PieceBytes  = 256 << 10
)

// piece reads some frames, in a snapshot of its own. Since the last one small
// frames may have been merged, and old ones removed.
func (r *recounting) piece(conn *sqlite.Conn) error {
	apart, err := QuarantinedSpans(conn)
	if err != nil {
		return err
	}
	quarantined, front := int64(0), int64(0)
	_, err = conn.One("SELECT quarantined, coalesce((SELECT id FROM frame ORDER BY id LIMIT 1), 0) FROM ledger", func(row sqlite.Row) {
		quarantined, front = row.Int(0), row.Int(1)
	})
	if err != nil {
		return err
	}
	if quarantined != r.ledger.Quarantined {
		return ErrMoved // what was pending is lost since, and counted so
	}
	frames, bytes, ended := 0, 0, true
	err = conn.Query(SelectFrames+FromFrameAt+" ORDER BY id", func(row sqlite.Row) error {
		stored := ReadFrame(row)
		first, end := int64(stored.First), int64(stored.End())
		if first > r.last {
			return sqlite.ErrStop
		}
		if first < r.next && end <= r.next || first <= r.damaged {
			return nil // it was read by the piece before
		}
		if err := r.reach(first, front, apart); err != nil {
			return err
		}
		if err := r.frame(stored); err != nil {
			return err
		}
		frames++
		if bytes += len(stored.Body); frames == PieceFrames || bytes >= PieceBytes {
			ended = false
			return sqlite.ErrStop
		}
		return nil
	}, r.next)
	if err == nil && ended {
		r.done = true
		err = r.reach(r.last+1, front, apart)
	}
	return err
}

// reach is told of the first position that is stored behind what was read. What
// lies between was never stored, is in quarantine, or was removed meanwhile, which
// only matters if some sink waited for it.
func (r *recounting) reach(first, front int64, apart Spans) error {
	if r.next == 0 {
		r.next = r.front
	}
	gap := Span{edge.Position(r.next), edge.Position(first)}
	switch {
	case first <= r.next || apart.Contains(gap) || r.hole:
	case front == 0 || first <= front: // everything before is gone
		for _, sink := range r.sinks {
			if !sink.decided(gap) {
				return ErrMoved
			}
		}
		r.Whole = false
	default:
		r.mismatch(edge.LedgerTotal, "stored_count", first-1, r.next-1)
	}
	r.next, r.hole = max(r.next, first), false
	return nil
}

// decided reports whether nothing is pending in a span.
func (s *sinkRecounting) decided(gap Span) bool {
	gap.First, gap.End = max(gap.First, s.stored.Cursor), min(gap.End, s.stored.Counted+1)
	return gap.First >= gap.End || s.settled.Contains(gap)
}

// frame counts the records of a frame that were not counted yet. It fails with [ErrRow]
// when nobody can tell what they are owed to: no counter is wrong then.
func (r *recounting) frame(stored StoredFrame) error {
	frame, err := r.decoder.DecodeStored(stored)
	if err != nil {
		r.Damaged++
		r.mismatch(edge.LedgerTotal, "damaged_count", 0, max(1, int64(stored.Count)))
		r.next, r.damaged, r.hole = max(r.next, int64(stored.First)+1), int64(stored.First), true
		return nil
	}
	for i := range frame.Records {
		position := int64(frame.First) + int64(i)
		if position < r.next {
			continue
		}
		set, known := r.sets[frame.Owed[i]]
		if !known && frame.Owed[i] != OwedMixed {
			return NewUnknownSet(frame.Owed[i], frame.First)
		}
		r.Stored++
		if len(set) == 0 && position <= int64(r.ledger.Counted) {
			r.Unrouted++
		}
		for _, sink := range r.sinks {
			sink.add(position, set)
		}
	}
	r.next = max(r.next, int64(frame.End()))
	return nil
}

// add counts one record. Records behind what the counters cover are left out.
// Positions come in ascending order.
func (s *sinkRecounting) add(position int64, set map[edge.SinkID]bool) {
	owed := set[s.ID]
	if position < int64(s.stored.Start) {
		owed = position >= int64(s.stored.BacklogFrom)
	}
	if !owed || position > int64(s.stored.Counted) {
		return
	}
	for s.at < len(s.settled) && int64(s.settled[s.at].End) <= position {
		s.at++
	}
	if position < int64(s.stored.Cursor) || s.at < len(s.settled) && int64(s.settled[s.at].First) <= position {
		s.Decided++
		return
	}
	s.Pending++
}

// compare sets the counters against what was counted.
func (r *recounting) compare() {
	l := &r.ledger
	r.expect(edge.LedgerTotal, "accepted_count", l.Accepted, r.Accepted)
	if r.Whole {
		r.expect(edge.LedgerTotal, "unrouted_count", l.Unrouted, r.Unrouted)
	}
	r.expectSum(edge.LedgerTotal, fieldChecksum, l.countsSum, l.sum())
	for _, sink := range r.sinks {
		counted := &sink.Counted
		if r.Whole {
			r.expect(sink.Name, "owed_count", counted.Owed, sink.Pending+sink.Decided)
		}
		r.expect(sink.Name, "pending_count", counted.Pending, sink.Pending)
		r.expect(sink.Name, "dead_count", counted.Dead, sink.Dead)
		r.expect(sink.Name, "discarded_count", counted.Discarded, sink.Discarded)
		r.expect(sink.Name, "expired_count", counted.Expired, sink.Expired)
		r.expectSum(sink.Name, fieldChecksum, sink.stored.countsSum, sink.stored.SinkCounts.sum(sink.ID))
		r.Sinks = append(r.Sinks, sink.SinkRecount)
	}
}
