package queuefile

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// rebuild makes a queue out of what was found.
type rebuild struct {
	*findings
	report  Salvaged
	sinks   []*sinkCount // in order of id
	sets    map[uint32][]edge.SinkID
	lastSet uint32
	uses    map[uint32]setUse // of sets that are lost
	stored  Spans             // what is in frames
	reach   edge.Position     // behind the last position that is known to have been stored
	head    edge.Position
	lost    int64 // records at positions that some sink had not decided
	apart   int64 // of these, in quarantine before
	skipped int64 // positions between head and what is stored next

	lostRound bool // of the WAL, and so nothing tells how far positions were given out

	sinkless   int64 // records and dead letters that are lost for sinks of which nothing is left
	sinklessIn Span  // where such records were
}

// sinkCount counts one sink's records anew.
type sinkCount struct {
	*foundSink
	beyond  int64 // owed, behind what the counters cover
	pending int64
	guessed int64 // of these: what the counters cover, and who it was owed to is not known
	inHoles int64 // may have been owed and is in no frame; not what the counters cover
	covered int64 // the same of what the counters cover, which say themselves how many of it were owed
	holes   Span  // from the first position to the last that are in no frame, and not decided
}

func (r *rebuild) run(conn *sqlite.Conn) error {
	return inOrder(conn, r.unite, r.openSinks, r.dropStale, r.recount, r.reportSinkless)
}

// recount finds out what there is and what is gone, and writes what follows from that.
func (r *rebuild) recount(conn *sqlite.Conn) error {
	return inOrder(conn, r.countApart, r.count, r.findReach, r.dropBeyond, r.nameHoles, r.countLost, r.moveHead, r.countHoles,
		r.writeSets, r.writeSinks, r.writeDeaths, r.writeLedger)
}

func inOrder(conn *sqlite.Conn, steps ...func(*sqlite.Conn) error) error {
	for _, step := range steps {
		if err := step(conn); err != nil {
			return err
		}
	}
	return nil
}

// isComplete reports whether nothing that the old file counts is missing. Whoever
// cannot tell says no.
func (r *rebuild) isComplete() bool {
	for _, sink := range r.sinks {
		if sink.unsure {
			return false
		}
	}
	return r.ledger.found && r.ledger.checked && r.rejected == 0 && r.lost == 0 && r.report.Lost == 0 && !r.report.CursorsLost
}

// unite leaves one frame at each position. Frames lie over one another when small
// ones were merged.
func (r *rebuild) unite(conn *sqlite.Conn) error {
	var covered []int64
	end, last := int64(0), int64(0)
	err := conn.Query("SELECT id, n FROM frame ORDER BY id, n DESC", func(row sqlite.Row) error {
		first, next := row.Int(0), row.Int(0)+row.Int(1)
		switch {
		case next <= end:
			covered = append(covered, first)
			return nil
		case first < end:
			covered = append(covered, last) // a part of a larger one
		}
		end, last = next, first
		return nil
	})
	if err != nil {
		return err
	}
	for _, first := range covered {
		if err := conn.Exec("DELETE FROM frame WHERE id = ?", first); err != nil {
			return err
		}
	}
	// What is whole somewhere else was damaged in a copy only.
	return conn.Exec("DELETE FROM quarantine" + whereFrames + ` AND EXISTS
		(SELECT 1 FROM frame WHERE frame.id < quarantine.position + quarantine.n AND frame.id + frame.n > quarantine.position)`)
}

// openSinks takes the sinks whose rows are believed. One that records name and
// that has no row is lost.
func (r *rebuild) openSinks(*sqlite.Conn) error {
	r.sets = make(map[uint32][]edge.SinkID)
	named := map[edge.SinkID]bool{}
	for number, text := range r.owed {
		set, err := parseSinks(text)
		if err != nil {
			continue // it was believed for its checksum
		}
		r.sets[uint32(number)] = set
		r.lastSet = max(r.lastSet, uint32(number))
		for _, sink := range set {
			named[sink] = true
		}
	}
	for _, sink := range r.foundSinks() {
		sink.advance()
		r.sinks = append(r.sinks, &sinkCount{foundSink: sink})
		r.report.Sinks = append(r.report.Sinks, sink.Name)
		delete(named, sink.ID)
	}
	// A file without any sink may have lost all of them. One that is new then
	// gets what there is, which is nothing when there never was a sink.
	r.report.CursorsLost = len(named) > 0 || len(r.sinks) == 0
	return nil
}

// dropStale removes frames in front of a hole that no sink needs: they were
// deleted before, and only their bytes were still there.
func (r *rebuild) dropStale(conn *sqlite.Conn) error {
	if r.report.CursorsLost {
		return nil
	}
	needed := edge.Position(MaxPosition)
	for _, sink := range r.sinks {
		needed = min(needed, sink.Cursor)
	}
	end, keep := int64(0), int64(0)
	err := conn.Query("SELECT id, n FROM frame ORDER BY id", func(row sqlite.Row) error {
		if first := row.Int(0); first > end && edge.Position(first) <= needed {
			keep = first
		}
		end = row.Int(0) + row.Int(1)
		return nil
	})
	if err != nil {
		return err
	}
	if err := conn.Exec("DELETE FROM quarantine"+whereFrames+" AND position + n <= ?", keep); err != nil {
		return err
	}
	return conn.Exec("DELETE FROM frame WHERE id < ?", keep)
}

// add counts a record. Where its set is a guess, the sink may not have been owed it.
func (s *sinkCount) add(position edge.Position, set []edge.SinkID, guess bool) {
	if !s.owes(position, set) {
		return
	}
	if position > s.Counted {
		s.beyond++
	}
	if s.decided(position) {
		return
	}
	s.pending++
	if guess && position >= s.Start && position <= s.Counted {
		s.guessed++
	}
}

// writeLedger writes totals that follow from positions, and a new log.
func (r *rebuild) writeLedger(conn *sqlite.Conn) error {
	old := &r.ledger
	if !old.found {
		old.values = []any{int64(1), int64(0), int64(0), int64(1), int64(0), int64(0), int64(0), int64(0), int64(0)}
	}
	var letters, lettersLast, attemptBytes int64
	if _, err := conn.One("SELECT count(*), coalesce(max(position), 0) FROM dead WHERE sink = 0", func(row sqlite.Row) {
		letters, lettersLast = row.Int(0), row.Int(1)
	}); err != nil {
		return err
	}
	if _, err := conn.One("SELECT coalesce(sum(? + length(CAST(status AS BLOB)) + length(CAST(excerpt AS BLOB))), 0) FROM attempt", func(row sqlite.Row) {
		attemptBytes = row.Int(0)
	}, int64(AttemptRowBytes)); err != nil {
		return err
	}
	refused := max(old.Refused, lettersLast)
	if !old.found && old.logKept {
		old.logs.Current = old.kept
	}
	if err := r.insertOld(conn, "ledger", r.ledger.values); err != nil {
		return err
	}
	log, err := renewLog(conn, old.logs, r.head+1, refused+1, old.found || old.logKept)
	if err != nil {
		return err
	}
	head := r.head + edge.Position(r.skipped)
	if err := insertHole(conn, Span{r.head + 1, head + 1}, reasonSkipped); err != nil {
		return err
	}
	row := StoredLedger{Log: int64(log), ReplayFrom: max(1, r.head-ReplayRecords), CursorsLost: r.report.CursorsLost, LedgerCounts: LedgerCounts{
		Counted: head, Accepted: int64(head) - old.Skipped - r.skipped, Unrouted: old.Unrouted, Refused: refused, Evicted: refused - letters,
		AttemptBytes: attemptBytes, Quarantined: old.Quarantined + r.lost, Salvaged: old.Salvaged + 1, Skipped: old.Skipped + r.skipped,
	}}
	return row.replace(conn)
}

// reportSinkless reports under _ingress what may be lost for sinks that nothing is known of
// any more: messages of which nothing is left, and dead letters. Of a file of which
// nothing was found, neither what it held nor which sinks were owed it, the count says
// that it was something, and so it does where nobody knows how much lay in front.
func (r *rebuild) reportSinkless(conn *sqlite.Conn) error {
	why, lost := LossReason{Kind: edge.LossQuarantined, Reason: "damaged_file"}, r.sinkless
	where := r.sinklessIn
	switch {
	case !r.report.CursorsLost:
		return nil
	case !r.ledger.found && len(r.sinks) == 0 && r.report.Records == 0:
		lost, where = r.lost, Span{1, r.head + 2}
	case !r.ledger.found && where.First > 0:
		lost = max(lost, 1)
	}
	if lost == 0 {
		return nil
	}
	if where.First == 0 { // dead letters
		where = Span{1, r.head + 1}
	}
	return NewStretch(why, time.Now(), where, lost, time.Time{}, Unnamed).Write(conn, edge.Ingress)
}
