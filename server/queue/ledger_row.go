package queue

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// storedLedger is the one row of the table ledger.
type storedLedger struct {
	log        int64         // ten bits in every correlation id of this file
	replayFrom edge.Position // the first position that a start reads again
	ledgerCounts
	clock       storedClock
	cursorsLost bool      // a sink that is new gets all there is
	restoredAt  time.Time // gateway time; zero when the file was not made from a backup

	placeSum  any // the checksums as they are stored
	countsSum any
}

// ledgerCounts count what the whole queue ever stored, up to position counted.
// accepted is what is owed to at least one sink, plus unrouted.
type ledgerCounts struct {
	counted      edge.Position
	accepted     int64
	unrouted     int64
	refused      int64 // messages kept as dead letters of ingress; also the number of the last one
	evicted      int64 // of those
	attemptBytes int64 // what the rows of attempt take
	quarantined  int64 // records ever found damaged
	salvaged     int64 // files ever replaced because of damage
	skipped      int64 // positions that nothing was ever stored at
}

// replayRecords is how many records a start reads again at most.
const replayRecords = 1 << 18

// storedClock is what the file knows of its clocks.
type storedClock struct {
	gateway time.Time // zero in a file that is new, or from before there was gateway time
	wall    time.Time // zero when it could not be believed
	up      time.Duration
	boot    string
}

// selectLedger reads the whole row, in the order of the table's columns.
const selectLedger = `SELECT id, log, counted, replay_from, accepted, unrouted, ingress_refused, ingress_evicted, attempt_bytes, gateway_time, wall_time, boot_time, boot_id,
	checksum, quarantined, salvaged, skipped, cursors_lost, restored_at, counts_checksum FROM ledger`

// readLedger reads a row of selectLedger.
func readLedger(row sqlite.Row) storedLedger {
	return storedLedger{
		log: row.Int(1), replayFrom: edge.Position(row.Int(3)),
		ledgerCounts: ledgerCounts{
			counted: edge.Position(row.Int(2)), accepted: row.Int(4), unrouted: row.Int(5), refused: row.Int(6), evicted: row.Int(7), attemptBytes: row.Int(8),
			quarantined: row.Int(14), salvaged: row.Int(15), skipped: row.Int(16),
		},
		clock: storedClock{
			gateway: fromUnixMicro(row.Int(9)), wall: fromUnixMicro(row.Int(10)), up: time.Duration(row.Int(11)) * time.Microsecond, boot: row.Text(12),
		},
		placeSum: row[13], cursorsLost: row.Int(17) != 0, restoredAt: fromUnixMicro(row.Int(18)), countsSum: row[19],
	}
}

// place is the checksum of where the file is.
func (l *storedLedger) place() int64 {
	return ledgerSum(l.log, int64(l.counted), int64(l.replayFrom))
}

// placeHolds reports whether where the file is, is what was written.
func (l *storedLedger) placeHolds() bool { return sumHolds(l.placeSum, l.place()) }

// countsHold reports whether the counters are what was written.
func (l *storedLedger) countsHold() bool { return sumHolds(l.countsSum, l.sum()) }

// beginLedger gives a new file its row. A file that holds anything had one, whose
// loss is damage: positions that were given out must not be given again.
func beginLedger(conn *sqlite.Conn, log int64) error {
	return conn.Exec(`INSERT OR IGNORE INTO ledger(id, log, counted, replay_from, accepted, unrouted, ingress_refused, ingress_evicted, attempt_bytes, checksum)
		SELECT 1, ?1, 0, 1, 0, 0, 0, 0, 0, ?2 WHERE NOT EXISTS (SELECT 1 FROM sink) AND NOT EXISTS (SELECT 1 FROM frame) AND NOT EXISTS (SELECT 1 FROM dead)`,
		log, ledgerSum(log, 0, 1))
}

// save stores what a running queue changes, but for the clock. What only a salvage
// or a restore writes is part of the checksum, and stays as it is. Unsure counters
// stay known to be wrong.
func (l *storedLedger) save(conn *sqlite.Conn, unsure bool) error {
	sum := int64(countsUnsure)
	if !unsure {
		sum = l.sum()
	}
	return conn.Exec(`UPDATE ledger SET counted = ?, replay_from = ?, accepted = ?, unrouted = ?, ingress_refused = ?, ingress_evicted = ?, attempt_bytes = ?, quarantined = ?, checksum = ?, counts_checksum = ?`,
		int64(l.counted), int64(l.replayFrom), l.accepted, l.unrouted, l.refused, l.evicted, l.attemptBytes, l.quarantined, l.place(), sum)
}

// replace stores who the file is and what it counts, as a salvage does.
func (l *storedLedger) replace(conn *sqlite.Conn) error {
	err := conn.Exec("UPDATE ledger SET log = ?, salvaged = ?, skipped = ?, cursors_lost = ?", l.log, l.salvaged, l.skipped, boolean(l.cursorsLost))
	if err != nil {
		return err
	}
	return l.save(conn, false)
}

// saveCursorsFound stores that a sink which is new begins where it says.
func saveCursorsFound(conn *sqlite.Conn) error {
	return conn.Exec("UPDATE ledger SET cursors_lost = 0")
}

// write stores what the next open leads on from.
func (c *storedClock) write(conn *sqlite.Conn) error {
	return conn.Exec("UPDATE ledger SET gateway_time = ?, wall_time = ?, boot_time = ?, boot_id = ?",
		c.gateway.UnixMicro(), unixMicro(c.wall), c.up.Microseconds(), c.boot)
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
