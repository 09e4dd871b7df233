package queue

import (
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// deaths count the dead letters of one reason.
type deaths struct {
	now, ever int64
	unsure    bool // they were found to be wrong
}

func writeDeaths(conn *sqlite.Conn, sink edge.SinkID, counts map[string]deaths) error {
	for reason, count := range counts {
		sum := int64(countsUnsure)
		if !count.unsure {
			sum = deathSum(sink, reason, count)
		}
		err := conn.Exec("INSERT INTO death VALUES(?, ?, ?, ?, ?) ON CONFLICT(sink, reason) DO UPDATE SET now = excluded.now, ever = excluded.ever, checksum = excluded.checksum",
			int64(sink), reason, count.now, count.ever, sum)
		if err != nil {
			return fmt.Errorf("count dead letters: %w", err)
		}
	}
	return nil
}

func readDeaths(conn *sqlite.Conn, sink edge.SinkID) (map[string]deaths, error) {
	counts := make(map[string]deaths)
	err := conn.Query("SELECT reason, now, ever, checksum FROM death WHERE sink = ?", func(row sqlite.Row) error {
		count := deaths{now: row.Int(1), ever: row.Int(2)}
		count.unsure = !sumHolds(row[3], deathSum(sink, row.Text(0), count))
		counts[row.Text(0)] = count
		return nil
	}, int64(sink))
	return counts, err
}
