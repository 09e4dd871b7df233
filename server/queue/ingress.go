package queue

import (
	"maps"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const ingressMax = 10_000 // refused messages; their bytes are bounded, too

// ingressKept is how many messages refused at the door are kept, and what they
// take. The newest stay.
type ingressKept struct{ letters, bytes int64 }

// exceeds reports whether some have to go.
func (k ingressKept) exceeds(bytesMax int64) bool {
	return k.letters > ingressMax || k.bytes > bytesMax
}

// keep stores refused messages and evicts the oldest ones beyond the bound, which
// are in the loss report from then on.
func (k *ingressKept) keep(conn *sqlite.Conn, letters []queuefile.Letter, bytesMax int64, totals *totals, now time.Time) error {
	totals.deaths = maps.Clone(totals.deaths)
	for i := range letters {
		letter := &letters[i]
		if err := letter.Insert(conn); err != nil {
			return err
		}
		k.letters++
		k.bytes += letter.Bytes()
		totals.Refused = int64(letter.Position)
		countDeath(totals.deaths, letter.Reason, 1, 1)
	}
	var evicted lossReport
	for k.exceeds(bytesMax) {
		if err := k.evict(conn, bytesMax, totals, &evicted, now); err != nil {
			return err
		}
	}
	if err := evicted.write(conn, edge.Ingress); err != nil {
		return err
	}
	return queuefile.WriteDeaths(conn, edge.Ingress, totals.deaths)
}

var evictedReason = queuefile.LossReason{Kind: edge.LossExpired, Reason: edge.LossEvicted}

// evict removes some of the oldest.
func (k *ingressKept) evict(conn *sqlite.Conn, bytesMax int64, totals *totals, evicted *lossReport, now time.Time) error {
	var last int64
	err := conn.Query("SELECT position, "+queuefile.LetterBytes+", reason, device, first_at FROM dead WHERE sink = 0 ORDER BY position LIMIT 256", func(row sqlite.Row) error {
		if !k.exceeds(bytesMax) {
			return sqlite.ErrStop
		}
		last = row.Int(0)
		number := edge.Position(last)
		evicted.add(evictedReason, now, queuefile.Span{First: number, End: number + 1}, 1, time.UnixMicro(row.Int(4)), edge.DeviceID(row.Text(3)))
		k.letters--
		k.bytes -= row.Int(1)
		totals.Evicted++
		countDeath(totals.deaths, row.Text(2), -1, 0)
		return nil
	})
	if err != nil {
		return err
	}
	return conn.Exec("DELETE FROM dead WHERE sink = 0 AND position <= ?", last)
}

func loadIngress(conn *sqlite.Conn) (kept ingressKept, err error) {
	_, err = conn.One("SELECT count(*), coalesce(sum("+queuefile.LetterBytes+"), 0) FROM dead WHERE sink = 0", func(row sqlite.Row) {
		kept = ingressKept{letters: row.Int(0), bytes: row.Int(1)}
	})
	return kept, err
}

// isIngress reports whether a correlation id belongs to a refused message.
func isIngress(id edge.CorrelationID) bool {
	return id == edge.NewCorrelationID(id.ReceivedAt(), id.Position(), queuefile.IngressIndex, id.Log())
}
