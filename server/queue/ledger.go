package queue

import (
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// totals are the counters of everything. What attempts take is counted by whoever
// writes, and filled in when they are saved.
type totals struct {
	ledgerCounts
	unsure bool              // the counters were found to be wrong
	deaths map[string]deaths // of refused messages, by reason; replaced, never changed
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
	row := storedLedger{log: int64(log), replayFrom: replayFrom, ledgerCounts: t.ledgerCounts}
	row.attemptBytes = attemptBytes
	return row.save(conn, t.unsure)
}
