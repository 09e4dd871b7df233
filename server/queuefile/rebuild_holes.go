package queuefile

import (
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// reasonGone marks positions at which something was stored that no row is left of.
const reasonGone = "it is not in the file any more"

// findReach finds out how far positions are known to have been stored: as far as
// frames that are whole, and the checksums of rows that count them. A damaged frame
// that follows at once counts, too; where another one claims to be may be what is
// damaged, so that it only counts if its place is not used again anyhow.
func (r *rebuild) findReach(conn *sqlite.Conn) error {
	r.reach = max(r.head, r.ledger.Counted) + 1
	for _, sink := range r.sinks {
		r.reach = max(r.reach, sink.Cursor)
		if !sink.unsure {
			r.reach = max(r.reach, sink.Counted+1)
		}
	}
	return conn.Query("SELECT position, n FROM quarantine"+whereFrames+" AND found = 0 ORDER BY position", func(row sqlite.Row) error {
		if first := edge.Position(row.Int(0)); first <= r.reach {
			r.reach = max(r.reach, first+edge.Position(row.Int(1)))
		}
		return nil
	})
}

// dropBeyond forgets damaged frames that claim to be where nothing was ever stored.
func (r *rebuild) dropBeyond(conn *sqlite.Conn) error {
	return conn.Exec("DELETE FROM quarantine"+whereFrames+" AND position + n > ?", int64(r.reach+positionsSkipped))
}

// nameHoles puts the positions that are gone into quarantine, so that whoever
// comes to them knows that nothing is to be looked for.
func (r *rebuild) nameHoles(conn *sqlite.Conn) error {
	holes, err := r.hiddenInFront(conn)
	if err != nil {
		return err
	}
	end := edge.Position(0)
	err = conn.Query("SELECT id, n FROM frame UNION ALL SELECT position, n FROM quarantine"+whereFrames+" AND position < ? ORDER BY 1", func(row sqlite.Row) error {
		first := edge.Position(row.Int(0))
		if end > 0 && first > end {
			holes = append(holes, Span{end, first})
		}
		end = max(end, first+edge.Position(row.Int(1)))
		return nil
	}, int64(r.reach))
	if err != nil {
		return err
	}
	if first := max(end, 1); first < r.reach {
		holes = append(holes, Span{first, r.reach})
	}
	for _, hole := range holes {
		if err := insertHole(conn, hole, reasonGone); err != nil {
			return err
		}
	}
	return nil
}

// countLost counts what has come into quarantine since the ledger was written, and dates
// it: the ledger counts it from now on.
func (r *rebuild) countLost(conn *sqlite.Conn) error {
	apart, err := r.undecidedApart(conn, "")
	if err != nil {
		return err
	}
	r.lost = apart - r.apart
	if !r.ledger.found && r.report.Records == 0 {
		r.lost = max(r.lost, 1) // whatever it was, somebody has to know
	}
	return conn.Exec("UPDATE quarantine SET found = ? WHERE found = 0", time.Now().UnixMicro())
}

// moveHead leads what is stored next behind all positions that may have been given out.
func (r *rebuild) moveHead(*sqlite.Conn) error {
	r.head, r.skipped = r.reach-1, positionsSkipped
	if next, err := (&Renewal{}).Next(r.head); err == nil && r.lostRound {
		r.skipped = int64(next - r.head)
	}
	if !r.ledger.found {
		r.skipped = max(positionsSkipped, int64(positionUnknown(time.Now())-r.head))
	}
	return nil
}

// countHoles tells the sinks what is in no frame. A damaged frame may still say which
// set it was owed to. Of what else is gone nobody knows, so it counts as owed to every
// sink that was served then: the report says at most what is lost, and never less.
func (r *rebuild) countHoles(conn *sqlite.Conn) error {
	front := edge.Position(MaxPosition)
	if len(r.stored) > 0 {
		front = r.stored[0].First
	}
	if r.report.CursorsLost {
		r.addFront(front)
	}
	next := edge.Position(0)
	return conn.Query("SELECT position, n, owed, reason FROM quarantine"+whereFrames+" AND reason <> ? ORDER BY position", func(row sqlite.Row) error {
		hole := Span{max(next, edge.Position(row.Int(0))), min(r.reach, edge.Position(row.Int(0)+row.Int(1)))}
		next = max(next, hole.End)
		if row.Text(3) == reasonGone && hole.First < front {
			// Retention has removed it: a sink that was saved before that has an old row.
			first := max(hole.First, min(front, r.ledger.ReplayFrom))
			for _, sink := range r.sinks {
				sink.cover(Span{hole.First, first})
			}
			hole.First = first
		}
		set, known := r.sets[uint32(row.Int(2))]
		known = known && row.Int(2) != int64(OwedMixed)
		for _, gone := range r.stored.Outside(hole) {
			if r.report.CursorsLost && gone.First >= front {
				r.addSinkless(gone)
			}
			before, err := committedBefore(conn, gone.First)
			if err != nil {
				return err
			}
			for _, sink := range r.sinks {
				sink.addHole(gone, !known && sink.servedAt(before) || known && slices.Contains(set, sink.ID))
			}
		}
		return nil
	}, reasonSkipped)
}

// addFront counts what lay in front of all frames for sinks that are lost. What a start
// does not read any more may have been removed by retention. Without the ledger nobody
// knows how much it was, only where.
func (r *rebuild) addFront(front edge.Position) {
	gone := Span{max(1, r.ledger.ReplayFrom), min(front, r.reach)}
	switch {
	case gone.First >= gone.End:
	case r.ledger.found:
		r.addSinkless(gone)
	default:
		r.sinklessIn = gone
	}
}

// addSinkless counts positions that sinks which are lost may have been owed.
func (r *rebuild) addSinkless(gone Span) {
	if r.sinklessIn.First == 0 {
		r.sinklessIn.First = gone.First
	}
	r.sinklessIn.End = gone.End
	r.sinkless += int64(gone.End - gone.First)
}

// committedBefore returns when the frame in front of a position was committed, zero when
// there is none.
func committedBefore(conn *sqlite.Conn, position edge.Position) (at time.Time, err error) {
	_, err = conn.One("SELECT committed FROM frame WHERE id < ? ORDER BY id DESC LIMIT 1", func(row sqlite.Row) { at = time.UnixMicro(row.Int(0)) }, int64(position))
	return at, err
}

// servedAt reports whether the sink may have been owed what was stored after a time.
func (s *sinkCount) servedAt(at time.Time) bool {
	return s.Removed == SinkServed || s.RemovedAt.IsZero() || at.Before(s.RemovedAt)
}

// addHole counts positions that are in no frame, where sets may have named the sink or
// not. Up to where the sink has counted, its counters say how many
// it was owed; it is only remembered where.
func (s *sinkCount) addHole(gone Span, named bool) {
	if s.Removed == SinkDeleted { // whatever it was owed was given up
		return
	}
	owed := Span{max(gone.First, s.BacklogFrom), gone.End}
	if !named {
		owed.End = min(owed.End, s.Start)
	}
	counted := s.countedTo()
	known := Span{gone.First, min(gone.End, counted)}
	s.cover(owed)
	owed.First = max(owed.First, counted)
	for _, span := range []Span{known, owed} {
		span.First = max(span.First, s.Cursor)
		for _, undecided := range s.ranges.Outside(span) {
			if s.holes.First == 0 {
				s.holes.First = undecided.First
			}
			s.holes.End = undecided.End
		}
	}
	s.inHoles += s.undecidedIn(owed)
}

// countedTo returns the position behind the last one that the sink's counters cover.
func (s *sinkCount) countedTo() edge.Position {
	if s.unsure {
		return 0
	}
	return s.Counted + 1
}

// cover counts positions that are in no frame, which the sink may have been owed, as far
// as its counters cover them.
func (s *sinkCount) cover(gone Span) {
	s.covered += s.undecidedIn(Span{max(gone.First, s.BacklogFrom), min(gone.End, s.countedTo())})
}

// undecidedIn returns how many positions of a span the sink has not decided.
func (s *sinkCount) undecidedIn(span Span) (count int64) {
	span.First = max(span.First, s.Cursor)
	for _, undecided := range s.ranges.Outside(span) {
		count += int64(undecided.End - undecided.First)
	}
	return count
}

// hiddenInFront returns the positions in front of all frames that some sink waits for,
// from its cursor on. One whose counters say nothing goes on where the frames begin.
func (r *rebuild) hiddenInFront(conn *sqlite.Conn) (hidden Spans, err error) {
	front := edge.Position(0)
	_, err = conn.One("SELECT min(first) FROM (SELECT min(id) AS first FROM frame UNION ALL SELECT min(position) FROM quarantine"+whereFrames+")",
		func(row sqlite.Row) { front = edge.Position(row.Int(0)) })
	needed := front
	for _, sink := range r.sinks {
		switch {
		case sink.Cursor >= front:
		case sink.unsure:
			sink.goOnAt(front)
		default:
			needed = min(needed, sink.Cursor)
		}
	}
	if needed < front {
		hidden.Add(Span{needed, front})
	}
	return hidden, err
}

// countApart counts what was in quarantine before, which the ledger has counted.
func (r *rebuild) countApart(conn *sqlite.Conn) (err error) {
	if r.ledger.found {
		r.apart, err = r.undecidedApart(conn, " AND found <> 0")
	}
	return err
}

// undecidedApart returns how many records are in quarantine that some sink has not
// decided.
func (r *rebuild) undecidedApart(conn *sqlite.Conn, condition string) (count int64, err error) {
	_, err = conn.One("SELECT coalesce(sum(n), 0) FROM quarantine"+whereFrames+" AND position + n > ? AND reason <> ?"+condition,
		func(row sqlite.Row) { count = row.Int(0) }, int64(r.undecided()), reasonSkipped)
	return count, err
}

// undecided returns the first position that some sink has not decided.
func (r *rebuild) undecided() edge.Position {
	first := edge.Position(MaxPosition)
	for _, sink := range r.sinks {
		first = min(first, sink.Cursor)
	}
	if len(r.sinks) == 0 {
		return 0
	}
	return first
}
