package queue

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
	slices.SortFunc(all, func(a, b *foundSink) int { return cmp.Compare(a.id, b.id) })
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
	at := r.ledger.clock.gateway
	if at.IsZero() {
		at = time.Now()
	}
	for _, sink := range r.sinks {
		totals, err := r.balance(conn, sink)
		if err != nil {
			return err
		}
		if err := r.insertOld(conn, "sink", sink.values); err != nil {
			return err
		}
		row := sink.storedSink
		row.accountTotals = totals
		if err := row.save(conn, false); err != nil {
			return fmt.Errorf("write sink %s: %w", sink.name, err)
		}
		if lost := totals.discarded - sink.discarded; lost > 0 && !sink.unsure {
			r.report.Lost += lost
			loss := newStretch(damagedReason, at, span{sink.cursor, max(sink.cursor, r.head) + 1}, lost, time.Time{}, unnamed)
			if err := loss.write(conn, sink.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// balance counts a sink's account anew from what is there.
func (r *rebuild) balance(conn *sqlite.Conn, sink *sinkCount) (accountTotals, error) {
	// A letter above the cursor was born after the row that was found: its record
	// is delivered again, and may die again.
	if err := r.dropUndecidedLetters(conn, sink); err != nil {
		return accountTotals{}, err
	}
	totals := sink.accountTotals
	_, err := conn.One("SELECT count(*) FROM dead WHERE sink = ?", func(row sqlite.Row) {
		r.report.DeadLetters += row.Int(0)
		totals.dead = row.Int(0)
	}, int64(sink.id))
	if err != nil {
		return totals, err
	}
	totals.counted = r.head + edge.Position(r.skipped)
	totals.owed += sink.beyond
	rest := totals.delivered + totals.dead + totals.held + totals.discarded + totals.expired + sink.pending
	switch missing := totals.owed - rest; {
	case sink.unsure || totals.owed < 0:
		totals.owed = rest
	case missing >= 0:
		totals.discarded += missing
	case totals.delivered >= -missing: // letters came back that had been delivered
		totals.delivered += missing
	default:
		totals.owed = rest
	}
	return totals, nil
}

func (r *rebuild) dropUndecidedLetters(conn *sqlite.Conn, sink *sinkCount) error {
	var undecided []edge.Position
	err := conn.Query("SELECT position FROM dead WHERE sink = ? AND position >= ?", func(row sqlite.Row) error {
		if position := edge.Position(row.Int(0)); !sink.decided(position) {
			undecided = append(undecided, position)
		}
		return nil
	}, int64(sink.id), int64(sink.cursor))
	for _, position := range undecided {
		if err == nil {
			err = deleteLetter(conn, sink.id, position)
		}
	}
	return err
}

// writeDeaths counts dead letters by reason. How many there ever were is
// believed when it was found.
func (r *rebuild) writeDeaths(conn *sqlite.Conn) error {
	// Letters of sinks that are lost cannot be told to anybody.
	if err := conn.Exec("DELETE FROM dead WHERE sink <> 0 AND sink NOT IN (SELECT id FROM sink)"); err != nil {
		return err
	}
	counts := map[deathKey]deaths{}
	err := conn.Query("SELECT sink, reason, count(*) FROM dead GROUP BY sink, reason", func(row sqlite.Row) error {
		counts[deathKey{edge.SinkID(row.Int(0)), row.Text(1)}] = deaths{now: row.Int(2), ever: row.Int(2)}
		return nil
	})
	if err != nil {
		return err
	}
	for key, ever := range r.deaths {
		count := counts[key]
		count.ever = max(count.ever, ever)
		counts[key] = count
	}
	for key, count := range counts {
		if err := writeDeaths(conn, key.sink, map[string]deaths{key.reason: count}); err != nil {
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
