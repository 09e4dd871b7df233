package queuefile

import (
	"math/rand/v2"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// LogMax bounds the numbers of logs: ten bits of a correlation id.
const LogMax = 1 << 10

// Logs tells which log a position belongs to.
type Logs struct {
	Current uint16
	earlier []earlierLog // ascending
}

// Of returns the log of a record.
func (l *Logs) Of(position edge.Position) uint16 {
	for i := range l.earlier {
		if position < l.earlier[i].before {
			return l.earlier[i].log
		}
	}
	return l.Current
}

// knows reports whether a log is the current one, or was an earlier one.
func (l *Logs) knows(log uint16) bool {
	return l.Current == log || slices.ContainsFunc(l.earlier, func(e earlierLog) bool { return e.log == log })
}

// ofLetter is the same for the numbers of refused messages.
func (l *Logs) ofLetter(number edge.Position) uint16 {
	for i := range l.earlier {
		if int64(number) < l.earlier[i].letters {
			return l.earlier[i].log
		}
	}
	return l.Current
}

// earlierLog is what the correlation ids of a file said before it was replaced.
type earlierLog struct {
	before  edge.Position // of records
	letters int64         // numbers of refused messages below this
	log     uint16
}

func (e *earlierLog) sum() int64 {
	return rowSum("earlier_log", int64(e.before), e.letters, int64(e.log))
}

func (e *earlierLog) insert(conn *sqlite.Conn) error {
	return conn.Exec("INSERT OR REPLACE INTO earlier_log VALUES(?, ?, ?, ?)", int64(e.before), e.letters, int64(e.log), e.sum())
}

// beforeAll is where the log of the file as it is now ends: all positions lie below. The
// ledger says which log that is, and its row among the earlier ones says it once more.
const beforeAll = MaxPosition

// KeepLog writes the log of the ledger a second time. Records that wait carry it in
// the correlation ids that their devices were answered, and only the log tells it when
// the ledger is lost.
func KeepLog(conn *sqlite.Conn) error {
	var ledger StoredLedger
	if found, err := conn.One(SelectLedger, func(row sqlite.Row) { ledger = ReadLedger(row) }); err != nil || !found || !ledger.PlaceHolds() {
		return err
	}
	current := earlierLog{before: beforeAll, log: uint16(ledger.Log)}
	kept, err := conn.One("SELECT 1 FROM earlier_log WHERE before = ? AND checksum = ?", func(sqlite.Row) {}, int64(beforeAll), current.sum())
	if err != nil || kept {
		return err
	}
	return current.insert(conn)
}

// LoadLogs reads the logs before the current one, which is that of the ledger. It
// fails with [ErrRow] when a row is not what was written.
func LoadLogs(conn *sqlite.Conn, current uint16) (l Logs, err error) {
	l.Current = current
	err = conn.Query("SELECT before, letters, log, checksum FROM earlier_log ORDER BY before", func(row sqlite.Row) error {
		earlier := earlierLog{before: edge.Position(row.Int(0)), letters: row.Int(1), log: uint16(row.Int(2))}
		if row.Int(3) != earlier.sum() {
			return NewRowError("earlier log before %d", earlier.before)
		}
		if earlier.before != beforeAll {
			l.earlier = append(l.earlier, earlier)
		}
		return nil
	})
	return l, err
}

// renewLog gives a file a log that it has not had, and keeps the earlier ones for
// the positions below.
func renewLog(conn *sqlite.Conn, known Logs, before edge.Position, letters int64, keep bool) (uint16, error) {
	used := map[uint16]bool{known.Current: true}
	for i := range known.earlier {
		used[known.earlier[i].log] = true
		if err := known.earlier[i].insert(conn); err != nil {
			return 0, err
		}
	}
	if keep {
		last := earlierLog{before: before, letters: letters, log: known.Current}
		if err := last.insert(conn); err != nil {
			return 0, err
		}
	}
	for {
		log := uint16(rand.IntN(LogMax))
		if !used[log] || len(used) == LogMax {
			return log, nil
		}
	}
}
