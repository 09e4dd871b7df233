package queuefile

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// StoredLedger is the one row of the table ledger.
type StoredLedger struct {
	Log        int64         // ten bits in every correlation id of this file
	ReplayFrom edge.Position // the first position that a start reads again
	LedgerCounts
	Clock       StoredClock
	CursorsLost bool      // a sink that is new gets all there is
	RestoredAt  time.Time // gateway time; zero when the file was not made from a backup

	placeSum  any // the checksums as they are stored
	countsSum any
}

// LedgerCounts count what the whole queue ever stored, up to position counted.
// accepted is what is owed to at least one sink, plus unrouted.
type LedgerCounts struct {
	Counted      edge.Position
	Accepted     int64
	Unrouted     int64
	Refused      int64 // messages kept as dead letters of ingress; also the number of the last one
	Evicted      int64 // of those
	AttemptBytes int64 // what the rows of attempt take
	Quarantined  int64 // records ever found damaged
	Salvaged     int64 // files ever replaced because of damage
	Skipped      int64 // positions that nothing was ever stored at
}

// ReplayRecords is how many records a start reads again at most.
const ReplayRecords = 1 << 18

// StoredClock is what the file knows of its clocks.
type StoredClock struct {
	Gateway time.Time // zero in a file that is new, or from before there was gateway time
	Wall    time.Time // zero when it could not be believed
	Up      time.Duration
	Boot    string
}

// SelectLedger reads the whole row, in the order of the table's columns.
const SelectLedger = `SELECT id, log, counted, replay_from, accepted, unrouted, ingress_refused, ingress_evicted, attempt_bytes,
	gateway_time, wall_time, boot_time, boot_id, checksum, quarantined, salvaged, skipped, cursors_lost, restored_at, counts_checksum FROM ledger`

// ReadLedger reads a row of SelectLedger.
func ReadLedger(row sqlite.Row) StoredLedger {
	return StoredLedger{
		Log: row.Int(1), ReplayFrom: edge.Position(row.Int(3)),
		LedgerCounts: LedgerCounts{
			Counted: edge.Position(row.Int(2)), Accepted: row.Int(4), Unrouted: row.Int(5), Refused: row.Int(6), Evicted: row.Int(7), AttemptBytes: row.Int(8),
			Quarantined: row.Int(14), Salvaged: row.Int(15), Skipped: row.Int(16),
		},
		Clock: StoredClock{
			Gateway: fromUnixMicro(row.Int(9)), Wall: fromUnixMicro(row.Int(10)), Up: time.Duration(row.Int(11)) * time.Microsecond, Boot: row.Text(12),
		},
		placeSum: row[13], CursorsLost: row.Int(17) != 0, RestoredAt: fromUnixMicro(row.Int(18)), countsSum: row[19],
	}
}

// place is the checksum of where the file is.
func (l *StoredLedger) place() int64 {
	return ledgerSum(l.Log, int64(l.Counted), int64(l.ReplayFrom))
}

// PlaceHolds reports whether where the file is, is what was written.
func (l *StoredLedger) PlaceHolds() bool { return sumHolds(l.placeSum, l.place()) }

// CountsHold reports whether the counters are what was written.
func (l *StoredLedger) CountsHold() bool { return sumHolds(l.countsSum, l.sum()) }

// BeginLedger gives a new file its row. A file that holds anything had one, whose
// loss is damage: positions that were given out must not be given again.
func BeginLedger(conn *sqlite.Conn, log int64) error {
	return conn.Exec(`INSERT OR IGNORE INTO ledger(id, log, counted, replay_from, accepted, unrouted, ingress_refused, ingress_evicted, attempt_bytes, checksum)
		SELECT 1, ?1, 0, 1, 0, 0, 0, 0, 0, ?2 WHERE NOT EXISTS (SELECT 1 FROM sink) AND NOT EXISTS (SELECT 1 FROM frame) AND NOT EXISTS (SELECT 1 FROM dead)`,
		log, ledgerSum(log, 0, 1))
}

// Save stores what a running queue changes, but for the clock. What only a salvage
// or a restore writes is part of the checksum, and stays as it is. Unsure counters
// stay known to be wrong.
func (l *StoredLedger) Save(conn *sqlite.Conn, unsure bool) error {
	sum := int64(countsUnsure)
	if !unsure {
		sum = l.sum()
	}
	return conn.Exec(`UPDATE ledger SET counted = ?, replay_from = ?, accepted = ?, unrouted = ?, ingress_refused = ?, ingress_evicted = ?,
		attempt_bytes = ?, quarantined = ?, checksum = ?, counts_checksum = ?`,
		int64(l.Counted), int64(l.ReplayFrom), l.Accepted, l.Unrouted, l.Refused, l.Evicted, l.AttemptBytes, l.Quarantined, l.place(), sum)
}

// replace stores who the file is and what it counts, as a salvage does.
func (l *StoredLedger) replace(conn *sqlite.Conn) error {
	err := conn.Exec("UPDATE ledger SET log = ?, salvaged = ?, skipped = ?, cursors_lost = ?", l.Log, l.Salvaged, l.Skipped, boolean(l.CursorsLost))
	if err != nil {
		return err
	}
	return l.Save(conn, false)
}

// SaveCursorsFound stores that a sink which is new begins where it says.
func SaveCursorsFound(conn *sqlite.Conn) error {
	return conn.Exec("UPDATE ledger SET cursors_lost = 0")
}

// Write stores what the next open leads on from.
func (c *StoredClock) Write(conn *sqlite.Conn) error {
	return conn.Exec("UPDATE ledger SET gateway_time = ?, wall_time = ?, boot_time = ?, boot_id = ?",
		c.Gateway.UnixMicro(), unixMicro(c.Wall), c.Up.Microseconds(), c.Boot)
}

// unixMicro writes the zero time as 0.
func unixMicro(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}

func fromUnixMicro(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}
