package queuefile

import (
	"context"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// findings gathers the rows of a damaged file that are believed. What there may
// be much of goes into the fresh file at once.
type findings struct {
	columns map[string][]string // names of a table's columns, in order
	decoder *Decoder
	save    func([]statement) error
	pending []statement
	bytes   int
	err     error
	frugal  bool // leave out what a free page holds besides messages

	rejected int // messages and dead letters that a page lists and that are not whole
	ledger   foundLedger
	sinks    map[edge.SinkID]*foundSink
	owed     map[int64]string
	deaths   map[deathKey]int64 // ever
	covered  map[string]edge.Position
}

type statement struct {
	text   string
	values []any
}

type deathKey struct {
	sink   edge.SinkID
	reason string
}

// foundLedger is the newest believed row of ledger.
type foundLedger struct {
	found, checked bool
	values         []any
	logs           Logs
	kept           uint16 // the log as KeepLog has written it, if logKept
	logKept        bool
	StoredLedger
}

// foundSink is the newest believed row of one sink.
type foundSink struct {
	StoredSink
	ranges  Spans // that are settled
	unsure  bool  // what it counts is not what was written
	values  []any
	checked bool
}

// decided reports whether nothing is to be done any more at position.
func (s *foundSink) decided(position edge.Position) bool {
	return position < s.Cursor || s.ranges.Contains(Span{position, position + 1})
}

// advance moves a sink that waits for nothing behind all that it has counted.
func (s *foundSink) advance() {
	if s.Advance(); len(s.Settled) == 0 {
		s.ranges = nil
	}
}

// goOnAt decides everything below a position above the cursor.
func (s *foundSink) goOnAt(position edge.Position) {
	s.ranges.Add(Span{s.Cursor, position})
	s.Cursor, s.ranges = s.ranges[0].End, s.ranges[1:]
	s.Settled = s.ranges.AppendTo(nil, s.Cursor)
}

func newFindings(ctx context.Context, fresh *sqlite.DB) (*findings, error) {
	f := &findings{
		columns: make(map[string][]string), sinks: make(map[edge.SinkID]*foundSink),
		owed: make(map[int64]string), deaths: make(map[deathKey]int64), covered: make(map[string]edge.Position),
	}
	f.save = func(rows []statement) error {
		err := fresh.Write(ctx, func(conn *sqlite.Conn) error {
			for _, row := range rows {
				if err := conn.Exec(row.text, row.values...); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil { // or the WAL would come to hold all of it
			_, err = fresh.Checkpoint()
		}
		return err
	}
	err := fresh.Read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(`SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
			WHERE tables.type = 'table' ORDER BY tables.name, columns.cid`, func(row sqlite.Row) error {
			f.columns[row.Text(0)] = append(f.columns[row.Text(0)], row.Text(1))
			return nil
		})
	})
	if err == nil {
		f.decoder, err = NewDecoder(new(Logs))
	}
	return f, err
}

// take judges a row, and returns whether it is what was written.
func (f *findings) take(row *sqlite.CarvedRow) bool {
	if f.err != nil {
		return true // nothing more can be kept
	}
	found := &carved{CarvedRow: row, findings: f}
	if row.Keyed {
		return found.device() || found.letter() || found.death() || found.apart()
	}
	if len(row.Values) < 2 || row.Values[0] != nil {
		return false // the id stands elsewhere
	}
	row.Values[0] = row.ID
	return found.frame() || found.ledgerRow() || found.sink() || found.set() || found.earlierLog() || found.attempt() || found.loss()
}

const (
	findingsBytes = 8 << 20
	// statementOverhead is what a row takes in memory besides its values.
	statementOverhead = 200
)

// keep puts a row into the fresh file.
func (f *findings) keep(text string, bytes int, values ...any) {
	f.pending = append(f.pending, statement{text: text, values: values})
	if f.bytes += bytes + statementOverhead; f.bytes > findingsBytes {
		f.flush()
	}
}

func (f *findings) flush() {
	if f.err == nil {
		f.err = f.save(f.pending)
	}
	f.pending, f.bytes = f.pending[:0], 0
}

// awaited reports whether a sink that is known so far waits for anything below a
// position.
func (f *findings) awaited(end edge.Position) bool {
	for _, found := range f.sinks {
		sink := *found
		if sink.advance(); sink.Cursor < end {
			return true
		}
	}
	return false
}
