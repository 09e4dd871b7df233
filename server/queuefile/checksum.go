package queuefile

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"combotto.io/gateway/server/edge"
)

// SQLite has no checksums for the pages of a database, so every row that a
// record's fate depends on has one of its own: frames and dead letters in their
// bodies, devices of the identity window in theirs, and where a sink is, what it
// counts, the owed sets, the ledger and the counters of dead letters in a column.
//
// A row whose place is wrong cannot be served from: the file is salvaged. A row
// whose counters are wrong says nothing about records, so it is kept as it is,
// for an operator to see, and nothing is decided by it.

// countsUnsure stands for the checksum of counters that are known to be wrong.
const countsUnsure = 0

// rowSum returns the checksum of some columns of a row, never countsUnsure.
func rowSum(table string, values ...any) int64 {
	text := append([]byte(table), 0)
	for _, value := range values {
		switch value := value.(type) {
		case int64:
			text = binary.LittleEndian.AppendUint64(text, uint64(value))
		case string:
			text = appendText(text, value)
		case []byte:
			text = appendText(text, string(value))
		}
	}
	return int64(xxhash.Sum64(text) | 1)
}

// sumHolds compares a stored checksum. Rows of the first schema have none until
// they are saved again, and are believed.
func sumHolds(stored any, want int64) bool {
	return stored == nil || stored == want
}

func ledgerSum(log, counted, replayFrom int64) int64 {
	return rowSum("ledger", log, counted, replayFrom)
}

func sinkSum(id edge.SinkID, name string, start, backlogFrom, cursor edge.Position, settled, sealed []byte) int64 {
	return rowSum("sink", int64(id), name, int64(start), int64(backlogFrom), int64(cursor), settled, sealed)
}

func (t *SinkCounts) sum(id edge.SinkID) int64 {
	return rowSum("counts", int64(id), int64(t.Counted), t.Owed, t.Delivered, t.Dead, t.Held, t.Discarded, t.Expired)
}

func (c *LedgerCounts) sum() int64 {
	return rowSum("ledger_counts", int64(c.Counted), c.Accepted, c.Unrouted, c.Refused, c.Evicted, c.AttemptBytes, c.Quarantined, c.Salvaged, c.Skipped)
}

func deathSum(sink edge.SinkID, reason string, count Deaths) int64 {
	return rowSum("death", int64(sink), reason, count.Now, count.Ever)
}

func owedSum(id int64, sinks string) int64 { return rowSum("owed", id, sinks) }
