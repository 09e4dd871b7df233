package queue

import (
	"strconv"
	"strings"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// storedSet is a row of the table owed: sinks that records are owed to. It is
// never changed.
type storedSet struct {
	number int64
	sinks  string // see formatSinks
	sum    any    // the checksum as it is stored
}

// selectSets reads whole rows.
const selectSets = "SELECT id, sinks, checksum FROM owed"

// readSet reads a row of selectSets.
func readSet(row sqlite.Row) storedSet {
	return storedSet{number: row.Int(0), sinks: row.Text(1), sum: row[2]}
}

// holds reports whether the set is what was written.
func (s *storedSet) holds() bool { return sumHolds(s.sum, owedSum(s.number, s.sinks)) }

// members returns the sinks of the set.
func (s *storedSet) members() ([]edge.SinkID, error) { return parseSinks(s.sinks) }

func insertSet(conn *sqlite.Conn, number int64, sinks string) error {
	return conn.Exec("INSERT INTO owed(id, sinks, checksum) VALUES(?, ?, ?)", number, sinks, owedSum(number, sinks))
}

// formatSinks lists ids that are in ascending order.
func formatSinks(sinks []edge.SinkID) string {
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
