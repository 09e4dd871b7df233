package queue

import (
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// totals count what the whole queue ever stored, up to position counted.
// accepted is what is owed to at least one sink, plus unrouted.
type totals struct {
	counted     edge.Position
	accepted    int64
	unrouted    int64
	refused     int64             // messages kept as dead letters of ingress; also the number of the last one
	evicted     int64             // of those
	quarantined int64             // records ever found damaged
	salvaged    int64             // files ever replaced because of damage; written by whoever does that
	skipped     int64             // positions that nothing was ever stored at; likewise
	unsure      bool              // the totals were found to be wrong
	deaths      map[string]deaths // of refused messages, by reason; replaced, never changed
}

// ledger holds the totals.
type ledger struct {
	mu     sync.Mutex
	totals totals
}

func (l *ledger) read() totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}

func (l *ledger) replace(totals totals) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals = totals
}

// add counts a commit.
func (t totals) add(g *group) totals {
	t.counted = max(t.counted, g.last())
	t.accepted += int64(g.count)
	t.unrouted += g.unrouted
	return t
}

// write saves the totals, the first position that a start reads again, and what
// the stored attempts take.
func (t totals) write(conn *sqlite.Conn, log uint16, replayFrom edge.Position, attemptBytes int64) error {
	sum := int64(countsUnsure)
	if !t.unsure {
		sum = t.sum(attemptBytes)
	}
	return conn.Exec(`UPDATE ledger SET counted = ?, replay_from = ?, accepted = ?, unrouted = ?, ingress_refused = ?, ingress_evicted = ?, attempt_bytes = ?, quarantined = ?, checksum = ?, counts_checksum = ?`,
		int64(t.counted), int64(replayFrom), t.accepted, t.unrouted, t.refused, t.evicted, attemptBytes, t.quarantined, ledgerSum(int64(log), int64(t.counted), int64(replayFrom)), sum)
}
