package queue

import (
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// totals are the counters of everything. What attempts take is counted by whoever
// writes, and filled in when they are saved.
type totals struct {
	queuefile.LedgerCounts
	unsure bool                        // the counters were found to be wrong
	deaths map[string]queuefile.Deaths // of refused messages, by reason; replaced, never changed
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
	t.Counted = max(t.Counted, g.last())
	t.Accepted += int64(g.count)
	t.Unrouted += g.unrouted
	return t
}

// write saves the totals, the first position that a start reads again, and what
// the stored attempts take.
func (t totals) write(conn *sqlite.Conn, log uint16, replayFrom edge.Position, attemptBytes int64) error {
	row := queuefile.StoredLedger{Log: int64(log), ReplayFrom: replayFrom, LedgerCounts: t.LedgerCounts}
	row.AttemptBytes = attemptBytes
	return row.Save(conn, t.unsure)
}
