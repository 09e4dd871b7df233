package queuefile

import (
	"slices"
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// StoredSink is a row of the table sink.
type StoredSink struct {
	ID          edge.SinkID
	Name        string // without what a deletion has added to it
	Kind        string
	Removed     int64 // SinkServed, SinkRemoved or SinkDeleted
	Start       edge.Position
	BacklogFrom edge.Position
	Cursor      edge.Position
	Settled     []byte // ranges, from the cursor on; see spans.go
	SinkCounts
	Sealed    []byte // see seal.go
	RemovedAt time.Time
	RemovedBy string

	placeSum  any // the checksums as they are stored
	countsSum any
}

// Values of the column removed.
const (
	SinkServed  = 0
	sinkRemoved = 1
	SinkDeleted = 2
)

// SelectSinks reads whole rows, in the order of the table's columns.
const SelectSinks = `SELECT id, name, kind, removed, start, backlog_from, cursor, settled, counted, owed, delivered, dead, held, discarded, expired,
	checksum, counts_checksum, sealed, removed_at, removed_by FROM sink`

// ReadSink reads a row of SelectSinks.
func ReadSink(row sqlite.Row) StoredSink {
	return StoredSink{
		ID: edge.SinkID(row.Int(0)), Name: storedName(row.Text(1)), Kind: row.Text(2), Removed: row.Int(3),
		Start: edge.Position(row.Int(4)), BacklogFrom: edge.Position(row.Int(5)), Cursor: edge.Position(row.Int(6)), Settled: row.Bytes(7),
		SinkCounts: SinkCounts{
			Counted: edge.Position(row.Int(8)), Owed: row.Int(9), Delivered: row.Int(10), Dead: row.Int(11),
			Held: row.Int(12), Discarded: row.Int(13), Expired: row.Int(14),
		},
		placeSum: row[15], countsSum: row[16], Sealed: row.Bytes(17), RemovedAt: fromUnixMicro(row.Int(18)), RemovedBy: row.Text(19),
	}
}

// storedName returns the name that a sink has, or had before it was deleted: the
// row of a deleted one is called name#id, so that the name is free.
func storedName(column string) string {
	name, _, _ := strings.Cut(column, "#")
	return name
}

// place is the checksum of where the sink is.
func (s *StoredSink) place() int64 {
	return sinkSum(s.ID, s.Name, s.Start, s.BacklogFrom, s.Cursor, s.Settled, s.Sealed)
}

// PlaceHolds reports whether where the sink is, is what was written.
func (s *StoredSink) PlaceHolds() bool { return sumHolds(s.placeSum, s.place()) }

// CountsHold reports whether what the sink counts is what was written.
func (s *StoredSink) CountsHold() bool { return sumHolds(s.countsSum, s.SinkCounts.sum(s.ID)) }

// Insert stores a new sink, which is served and has no sealed batches.
func (s *StoredSink) Insert(conn *sqlite.Conn) error {
	return conn.Exec(`INSERT INTO sink(id, name, kind, removed, start, backlog_from, cursor, settled, counted,
		owed, delivered, dead, held, discarded, expired, checksum, counts_checksum) VALUES(?, ?, ?, 0, ?, ?, ?, x'', ?, ?, ?, ?, ?, ?, ?, ?, ?)`, int64(s.ID), s.Name, s.Kind,
		int64(s.Start), int64(s.BacklogFrom), int64(s.Cursor), int64(s.Counted), s.Owed, s.Delivered, s.Dead, s.Held, s.Discarded, s.Expired,
		s.place(), s.SinkCounts.sum(s.ID))
}

// Save stores where the sink is and what it counts. Unsure counters stay known to
// be wrong.
func (s *StoredSink) Save(conn *sqlite.Conn, unsure bool) error {
	sum := int64(countsUnsure)
	if !unsure {
		sum = s.SinkCounts.sum(s.ID)
	}
	return conn.Exec(`UPDATE sink SET cursor = ?, settled = ?, sealed = ?, counted = ?, owed = ?, delivered = ?, dead = ?, held = ?, discarded = ?, expired = ?,
		checksum = ?, counts_checksum = ? WHERE id = ?`,
		int64(s.Cursor), whole(s.Settled), whole(s.Sealed), int64(s.Counted), s.Owed, s.Delivered, s.Dead, s.Held, s.Discarded, s.Expired,
		s.place(), sum, int64(s.ID))
}

// whole returns a blob that is not NULL.
func whole(blob []byte) []byte {
	if blob == nil {
		return []byte{}
	}
	return blob
}

// SaveServing stores what an operator decides about a sink: it is served, or it is
// removed since a gateway time that is not zero.
func SaveServing(conn *sqlite.Conn, id edge.SinkID, kind string, removedAt time.Time) error {
	return conn.Exec("UPDATE sink SET kind = ?, removed = ?, removed_at = ? WHERE id = ?", kind, boolean(!removedAt.IsZero()), unixMicro(removedAt), int64(id))
}

// SaveDeleted stores that a removed sink is never served again. Its row stays, so
// that its id is not given twice; its name is free.
func SaveDeleted(conn *sqlite.Conn, id edge.SinkID, actor string) error {
	return conn.Exec("UPDATE sink SET removed = ?, removed_by = ?, name = name || '#' || id WHERE id = ? AND removed = ?",
		int64(SinkDeleted), actor, int64(id), int64(sinkRemoved))
}

// Advance moves the cursor of a sink that waits for nothing behind everything that it
// has counted. What it was not owed there is kept for nobody, and may be gone; what a
// sink waits for from its cursor on never is.
func (s *StoredSink) Advance() {
	if s.CountsHold() && s.Pending() == 0 && s.Counted >= s.Cursor {
		s.Cursor, s.Settled = s.Counted+1, nil
	}
}

func boolean(value bool) int64 {
	if value {
		return 1
	}
	return 0
}

// checkSinks makes sure that every sink has its row: ids are given one after another, a
// row is never removed, and sets name only sinks that have one. A salvage that has lost a
// row leaves its id free. The error is [ErrRow].
func checkSinks(conn *sqlite.Conn) error {
	var ledger StoredLedger
	found, err := conn.One(SelectLedger, func(row sqlite.Row) { ledger = ReadLedger(row) })
	if err != nil || !found || !ledger.CountsHold() || ledger.Salvaged > 0 {
		return err
	}
	stored, last := make(map[edge.SinkID]bool), edge.Ingress
	err = conn.Query("SELECT id FROM sink", func(row sqlite.Row) error {
		id := edge.SinkID(row.Int(0))
		stored[id], last = true, max(last, id)
		return nil
	})
	if err != nil {
		return err
	}
	err = conn.Query(SelectSets, func(row sqlite.Row) error {
		set := ReadSet(row)
		if members, err := set.Members(); err == nil && set.Holds() {
			last = slices.Max(append(members, last))
		}
		return nil
	})
	for id := edge.Ingress + 1; err == nil && id <= last; id++ {
		if !stored[id] {
			err = NewRowError("sink %d of %d has no row", id, last)
		}
	}
	return err
}

// owes reports whether the sink is owed the record at position, which names the
// sinks it is owed to.
func (s *StoredSink) owes(position edge.Position, sinks []edge.SinkID) bool {
	if position < s.Start {
		return position >= s.BacklogFrom
	}
	return slices.Contains(sinks, s.ID)
}

// SinkCounts count records. owed counts up to position counted.
type SinkCounts struct {
	Counted   edge.Position
	Owed      int64
	Delivered int64
	Dead      int64
	Held      int64
	Discarded int64
	Expired   int64
}

// Pending is what is neither decided nor set aside.
func (t *SinkCounts) Pending() int64 {
	return t.Owed - t.Delivered - t.Dead - t.Held - t.Discarded - t.Expired
}
