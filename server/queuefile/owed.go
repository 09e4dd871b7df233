package queuefile

import (
	"strconv"
	"strings"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// StoredSet is a row of the table owed: sinks that records are owed to. It is
// never changed.
type StoredSet struct {
	Number int64
	Sinks  string // see FormatSinks
	sum    any    // the checksum as it is stored
}

// SelectSets reads whole rows.
const SelectSets = "SELECT id, sinks, checksum FROM owed"

// ReadSet reads a row of SelectSets.
func ReadSet(row sqlite.Row) StoredSet {
	return StoredSet{Number: row.Int(0), Sinks: row.Text(1), sum: row[2]}
}

// Holds reports whether the set is what was written.
func (s *StoredSet) Holds() bool { return sumHolds(s.sum, owedSum(s.Number, s.Sinks)) }

// Members returns the sinks of the set.
func (s *StoredSet) Members() ([]edge.SinkID, error) { return parseSinks(s.Sinks) }

// InsertSet stores a set of sinks, as FormatSinks writes them.
func InsertSet(conn *sqlite.Conn, number int64, sinks string) error {
	return conn.Exec("INSERT INTO owed(id, sinks, checksum) VALUES(?, ?, ?)", number, sinks, owedSum(number, sinks))
}

// FormatSinks lists ids that are in ascending order.
func FormatSinks(sinks []edge.SinkID) string {
	var text []byte
	for i, sink := range sinks {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendUint(text, uint64(sink), 10)
	}
	return string(text)
}

func parseSinks(text string) ([]edge.SinkID, error) {
	if text == "" {
		return nil, nil
	}
	var sinks []edge.SinkID
	for part := range strings.SplitSeq(text, ",") {
		number, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, edge.SinkID(number))
	}
	return sinks, nil
}

// NewUnknownSet is the [ErrRow] of a frame that names a set which has no row: nobody can
// tell what its records are owed to.
func NewUnknownSet(number uint32, frame edge.Position) error {
	return NewRowError("owed set %d, which frame %d names, has no row", number, frame)
}
