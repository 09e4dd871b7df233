package queuefile

import (
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// Deaths count the dead letters of one reason.
type Deaths struct {
	Now, Ever int64
	Unsure    bool // they were found to be wrong
}

// WriteDeaths stores the counters of a sink, [edge.Ingress] included, by reason.
// Those that are unsure stay known to be wrong.
func WriteDeaths(conn *sqlite.Conn, sink edge.SinkID, counts map[string]Deaths) error {
	for reason, count := range counts {
		sum := int64(countsUnsure)
		if !count.Unsure {
			sum = deathSum(sink, reason, count)
		}
		err := conn.Exec("INSERT INTO death VALUES(?, ?, ?, ?, ?) ON CONFLICT(sink, reason) DO UPDATE SET now = excluded.now, ever = excluded.ever, checksum = excluded.checksum",
			int64(sink), reason, count.Now, count.Ever, sum)
		if err != nil {
			return fmt.Errorf("count dead letters: %w", err)
		}
	}
	return nil
}

// ReadDeaths reads the counters of a sink, by reason.
func ReadDeaths(conn *sqlite.Conn, sink edge.SinkID) (map[string]Deaths, error) {
	counts := make(map[string]Deaths)
	err := conn.Query("SELECT reason, now, ever, checksum FROM death WHERE sink = ?", func(row sqlite.Row) error {
		count := Deaths{Now: row.Int(1), Ever: row.Int(2)}
		count.Unsure = !sumHolds(row[3], deathSum(sink, row.Text(0), count))
		counts[row.Text(0)] = count
		return nil
	}, int64(sink))
	return counts, err
}
