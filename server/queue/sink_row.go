package queue

import (
	"slices"
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// storedSink is a row of the table sink.
type storedSink struct {
	id          edge.SinkID
	name        string // without what a deletion has added to it
	kind        string
	removed     int64 // sinkServed, sinkRemoved or sinkDeleted
	start       edge.Position
	backlogFrom edge.Position
	cursor      edge.Position
	settled     []byte // ranges, from the cursor on; see spans.go
	accountTotals
	sealed    []byte // see seal.go
	removedAt time.Time
	removedBy string

	placeSum  any // the checksums as they are stored
	countsSum any
}

// Values of the column removed.
const (
	sinkServed  = 0
	sinkRemoved = 1
	sinkDeleted = 2
)

// selectSinks reads whole rows, in the order of the table's columns.
const selectSinks = `SELECT id, name, kind, removed, start, backlog_from, cursor, settled, counted, owed, delivered, dead, held, discarded, expired,
	checksum, counts_checksum, sealed, removed_at, removed_by FROM sink`

// readSink reads a row of selectSinks.
func readSink(row sqlite.Row) storedSink {
	return storedSink{
		id: edge.SinkID(row.Int(0)), name: storedName(row.Text(1)), kind: row.Text(2), removed: row.Int(3),
		start: edge.Position(row.Int(4)), backlogFrom: edge.Position(row.Int(5)), cursor: edge.Position(row.Int(6)), settled: row.Bytes(7),
		accountTotals: accountTotals{
			counted: edge.Position(row.Int(8)), owed: row.Int(9), delivered: row.Int(10), dead: row.Int(11),
			held: row.Int(12), discarded: row.Int(13), expired: row.Int(14),
		},
		placeSum: row[15], countsSum: row[16], sealed: row.Bytes(17), removedAt: fromUnixMicro(row.Int(18)), removedBy: row.Text(19),
	}
}

// storedName returns the name that a sink has, or had before it was deleted: the
// row of a deleted one is called name#id, so that the name is free.
func storedName(column string) string {
	name, _, _ := strings.Cut(column, "#")
	return name
}

// place is the checksum of where the sink is.
func (s *storedSink) place() int64 {
	return sinkSum(s.id, s.name, s.start, s.backlogFrom, s.cursor, s.settled, s.sealed)
}

// placeHolds reports whether where the sink is, is what was written.
func (s *storedSink) placeHolds() bool { return sumHolds(s.placeSum, s.place()) }

// countsHold reports whether what the sink counts is what was written.
func (s *storedSink) countsHold() bool { return sumHolds(s.countsSum, s.accountTotals.sum(s.id)) }

// insert stores a new sink, which is served and has no sealed batches.
func (s *storedSink) insert(conn *sqlite.Conn) error {
	return conn.Exec(`INSERT INTO sink(id, name, kind, removed, start, backlog_from, cursor, settled, counted, owed, delivered, dead, held, discarded, expired, checksum, counts_checksum)
		VALUES(?, ?, ?, 0, ?, ?, ?, x'', ?, ?, ?, ?, ?, ?, ?, ?, ?)`, int64(s.id), s.name, s.kind,
		int64(s.start), int64(s.backlogFrom), int64(s.cursor), int64(s.counted), s.owed, s.delivered, s.dead, s.held, s.discarded, s.expired,
		s.place(), s.accountTotals.sum(s.id))
}

// save stores where the sink is and what it counts. Unsure counters stay known to
// be wrong.
func (s *storedSink) save(conn *sqlite.Conn, unsure bool) error {
	sum := int64(countsUnsure)
	if !unsure {
		sum = s.accountTotals.sum(s.id)
	}
	return conn.Exec(`UPDATE sink SET cursor = ?, settled = ?, sealed = ?, counted = ?, owed = ?, delivered = ?, dead = ?, held = ?, discarded = ?, expired = ?, checksum = ?, counts_checksum = ? WHERE id = ?`,
		int64(s.cursor), whole(s.settled), whole(s.sealed), int64(s.counted), s.owed, s.delivered, s.dead, s.held, s.discarded, s.expired,
		s.place(), sum, int64(s.id))
}

// whole returns a blob that is not NULL.
func whole(blob []byte) []byte {
	if blob == nil {
		return []byte{}
	}
	return blob
}

// saveServing stores what an operator decides about a sink: it is served, or it is
// removed since a gateway time that is not zero.
func saveServing(conn *sqlite.Conn, id edge.SinkID, kind string, removedAt time.Time) error {
	return conn.Exec("UPDATE sink SET kind = ?, removed = ?, removed_at = ? WHERE id = ?", kind, boolean(!removedAt.IsZero()), unixMicro(removedAt), int64(id))
}

// saveDeleted stores that a removed sink is never served again. Its row stays, so
// that its id is not given twice; its name is free.
func saveDeleted(conn *sqlite.Conn, id edge.SinkID, actor string) error {
	return conn.Exec("UPDATE sink SET removed = ?, removed_by = ?, name = name || '#' || id WHERE id = ? AND removed = ?",
		int64(sinkDeleted), actor, int64(id), int64(sinkRemoved))
}

func boolean(value bool) int64 {
	if value {
		return 1
	}
	return 0
}

// owes reports whether the sink is owed the record at position, which names the
// sinks it is owed to.
func (s *storedSink) owes(position edge.Position, sinks []edge.SinkID) bool {
	if position < s.start {
		return position >= s.backlogFrom
	}
	return slices.Contains(sinks, s.id)
}

// accountTotals count records. owed counts up to position counted.
type accountTotals struct {
	counted   edge.Position
	owed      int64
	delivered int64
	dead      int64
	held      int64
	discarded int64
	expired   int64
}

// pending is what is neither decided nor set aside.
func (t *accountTotals) pending() int64 {
	return t.owed - t.delivered - t.dead - t.held - t.discarded - t.expired
}
