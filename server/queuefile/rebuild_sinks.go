package queuefile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// foundSinks returns the believed rows in order of id, the newest of each.
func (f *findings) foundSinks() []*foundSink {
	var all []*foundSink
	names := map[string]bool{}
	for _, sink := range f.sinks {
		all = append(all, sink)
	}
	slices.SortFunc(all, func(a, b *foundSink) int { return cmp.Compare(a.ID, b.ID) })
	return slices.DeleteFunc(all, func(sink *foundSink) bool {
		name, _ := sink.values[1].(string) // that of a deleted one differs
		twice := names[name]
		names[name] = true
		return twice
	})
}

// writeSinks writes each sink where it was, with counters that balance: what it
// was owed and is in no frame any more is lost.
func (r *rebuild) writeSinks(conn *sqlite.Conn) error {
	at := r.ledger.Clock.Gateway
	if at.IsZero() {
		at = time.Now()
	}
	for _, sink := range r.sinks {
		totals, lost, err := r.balance(conn, sink)
		if err != nil {
			return err
		}
		if err := r.insertOld(conn, "sink", sink.values); err != nil {
			return err
		}
		row := sink.StoredSink
		row.SinkCounts = totals
		if err := row.Save(conn, false); err != nil {
			return fmt.Errorf("write sink %s: %w", sink.Name, err)
		}
		if lost == 0 {
			continue
		}
		r.report.Lost += lost
		where := sink.holes
		if where.First == 0 { // a dead letter of which nothing is left
			where = Span{sink.Cursor, max(sink.Cursor, r.head) + 1}
		}
		loss := NewStretch(DamagedReason, at, where, lost, time.Time{}, Unnamed)
		if err := loss.Write(conn, sink.ID); err != nil {
			return err
		}
	}
	return nil
}

// balance counts a sink's account anew from what is there, and what is lost by that:
// what it was owed, as it has counted and as frames and holes say above that, and
// what is neither decided, nor due, nor in the loss report.
func (r *rebuild) balance(conn *sqlite.Conn, sink *sinkCount) (totals SinkCounts, lost int64, err error) {
	// A letter above the cursor was born after the row that was found: its record
	// is delivered again, and may die again.
	if err := r.dropUndecidedLetters(conn, sink); err != nil {
		return totals, 0, err
	}
	totals = sink.SinkCounts
	_, err = conn.One("SELECT count(*) FROM dead WHERE sink = ?", func(row sqlite.Row) {
		r.report.DeadLetters += row.Int(0)
		totals.Dead = row.Int(0)
	}, int64(sink.ID))
	if err != nil {
		return totals, 0, err
	}
	if err := totals.countGivenUp(conn, sink.ID); err != nil {
		return totals, 0, err
	}
	totals.Counted = r.head + edge.Position(r.skipped)
	totals.Owed += sink.beyond + sink.inHoles
	rest := totals.Delivered + totals.Dead + totals.Held + totals.Discarded + totals.Expired + sink.pending
	lost = totals.Owed - rest
	if sink.guessed > 0 {
		lost = max(lost, min(lost+sink.guessed, sink.mayMiss(&totals)))
	}
	switch {
	case sink.unsure || totals.Owed < 0:
		lost = sink.inHoles
		totals.Owed = rest + lost
	case lost >= 0:
		totals.Owed = rest + lost
	case totals.Delivered >= -lost: // letters came back that had been delivered
		totals.Delivered += lost
		totals.Owed, lost = rest+lost, 0
	default:
		totals.Owed, lost = rest, 0
	}
	totals.Discarded += lost
	return totals, lost, nil
}

// mayMiss returns how many records and dead letters the sink can have lost at most. It
// was not owed all that it gets where rows of sets are lost, and so its counters do not
// tell what it misses: what it gets too much would hide that.
func (s *sinkCount) mayMiss(found *SinkCounts) int64 {
	return s.inHoles + s.covered + max(0, s.Dead-found.Dead) + max(0, s.Discarded+s.Expired-found.Discarded-found.Expired)
}

// countGivenUp counts from the loss report what a sink has lost: the row may be older,
// and what the report has lost is to be in it again.
func (t *SinkCounts) countGivenUp(conn *sqlite.Conn, sink edge.SinkID) error {
	t.Discarded, t.Expired = 0, 0
	return conn.Query("SELECT kind, sum(count) FROM loss WHERE sink = ? GROUP BY kind", func(row sqlite.Row) error {
		if edge.LossKind(row.Int(0)) == edge.LossExpired {
			t.Expired += row.Int(1)
		} else {
			t.Discarded += row.Int(1)
		}
		return nil
	}, int64(sink))
}

func (r *rebuild) dropUndecidedLetters(conn *sqlite.Conn, sink *sinkCount) error {
	var undecided []edge.Position
	err := conn.Query("SELECT position FROM dead WHERE sink = ? AND position >= ?", func(row sqlite.Row) error {
		if position := edge.Position(row.Int(0)); !sink.decided(position) {
			undecided = append(undecided, position)
		}
		return nil
	}, int64(sink.ID), int64(sink.Cursor))
	for _, position := range undecided {
		if err == nil {
			_, err = DeleteLetter(conn, sink.ID, position)
		}
	}
	return err
}

// writeDeaths counts dead letters by reason. How many there ever were is
// believed when it was found.
func (r *rebuild) writeDeaths(conn *sqlite.Conn) error {
	// Letters of sinks that are lost cannot be told to anybody.
	const sinkless = " FROM dead WHERE sink <> 0 AND sink NOT IN (SELECT id FROM sink)"
	if _, err := conn.One("SELECT count(*)"+sinkless, func(row sqlite.Row) { r.sinkless += row.Int(0) }); err != nil {
		return err
	}
	if err := conn.Exec("DELETE" + sinkless); err != nil {
		return err
	}
	counts := map[deathKey]Deaths{}
	err := conn.Query("SELECT sink, reason, count(*) FROM dead GROUP BY sink, reason", func(row sqlite.Row) error {
		counts[deathKey{edge.SinkID(row.Int(0)), row.Text(1)}] = Deaths{Now: row.Int(2), Ever: row.Int(2)}
		return nil
	})
	if err != nil {
		return err
	}
	for key, ever := range r.deaths {
		count := counts[key]
		count.Ever = max(count.Ever, ever)
		counts[key] = count
	}
	for key, count := range counts {
		if err := WriteDeaths(conn, key.sink, map[string]Deaths{key.reason: count}); err != nil {
			return err
		}
	}
	return nil
}

// insertOld puts a row back with every column that it had, so that those which
// only others know are kept too.
func (f *findings) insertOld(conn *sqlite.Conn, table string, values []any) error {
	names := f.columns[table]
	values = slices.Clone(values[:min(len(values), len(names))])
	if len(values) == 0 {
		return fmt.Errorf("no row of %s", table)
	}
	marks := strings.Repeat(", ?", len(values))[2:]
	err := conn.Exec("INSERT INTO "+table+"("+strings.Join(names[:len(values)], ", ")+") VALUES("+marks+")", values...)
	if err != nil {
		return fmt.Errorf("put a row of %s back: %w", table, err)
	}
	return nil
}
