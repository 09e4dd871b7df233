package queue

import (
	"context"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// statsTimeout bounds the wait for a connection: figures are not worth more.
const statsTimeout = time.Second

// Stats returns a snapshot. What has to be read from the file and cannot be read
// is 0.
func (q *Queue) Stats() edge.QueueStats {
	totals := q.ledger.read()
	stats := edge.QueueStats{
		Head: q.Head(), LimitBytes: q.settings.MaxBytes, Headroom: q.forecast(q.history.since(headroomWindow)).TimeToFull, Accepting: q.intake.accepting(),
		Quarantined: totals.Quarantined, Salvaged: totals.Salvaged, LedgerMismatches: q.mismatches.Load(),
		Accepted: totals.Accepted, Unrouted: totals.Unrouted, IngressRefused: totals.Refused, IngressEvicted: totals.Evicted,
	}
	if refusal := q.intake.refused(); refusal != nil {
		stats.Refusal = refusal.Message
	}
	if room := q.room.Load(); room != nil {
		stats.ReserveBytes, stats.Filling, stats.Holder = room.usage.reserve, room.warned, room.holder
	}
	stats.IngressByReason, stats.IngressEverByReason = byReason(totals.deaths)
	for _, account := range q.registry.all() {
		if sink := account.stats(); account.isRemoved() && account.isEmpty() {
			stats.Ended = append(stats.Ended, sink) // nothing of it waits for anybody
		} else {
			stats.Sinks = append(stats.Sinks, sink)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	if err := q.read(ctx, func(conn *sqlite.Conn) error { return q.readStats(conn, &stats) }); err != nil {
		q.observer.Log.Warn("some figures of the queue are not known", "error", err)
	}
	return stats
}

func (a *account) stats() edge.SinkStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	stats := edge.SinkStats{
		ID: a.id, Name: a.name, Kind: a.kind, Removed: a.removed, Deleted: a.deleted,
		Owed: a.Owed, Delivered: a.Delivered, Dead: a.Dead, Held: a.Held, Discarded: a.Discarded, Expired: a.Expired,
		Pending: a.Pending(), InFlight: int64(a.inFlight), Cursor: a.cursor,
		Requeueing: a.requeue.waiting,
	}
	stats.DeadByReason, stats.DeadEverByReason = byReason(a.deaths)
	for why, count := range a.losses {
		if stats.LostByReason == nil {
			stats.LostByReason = make(map[edge.LossKind]map[string]int64)
		}
		if stats.LostByReason[why.Kind] == nil {
			stats.LostByReason[why.Kind] = make(map[string]int64)
		}
		stats.LostByReason[why.Kind][why.Reason] = count
	}
	for _, letter := range a.requeue.out {
		if letter.state != edge.InFlight {
			stats.Requeueing--
			continue
		}
		stats.InFlight-- // it is one of Dead, not of Pending
	}
	return stats
}

func byReason(counts map[string]queuefile.Deaths) (now, ever map[string]int64) {
	now, ever = make(map[string]int64, len(counts)), make(map[string]int64, len(counts))
	for reason, count := range counts {
		now[reason], ever[reason] = count.Now, count.Ever
	}
	return now, ever
}

// readStats adds what only the file knows.
func (q *Queue) readStats(conn *sqlite.Conn, stats *edge.QueueStats) error {
	usage, err := conn.Usage()
	if err != nil {
		return err
	}
	if stats.WALBytes, err = q.db.WALBytes(); err != nil {
		return err
	}
	stats.Bytes = usage.Used + stats.WALBytes + stats.ReserveBytes
	if stats.Oldest, err = oldestStored(conn); err != nil {
		return err
	}
	if stats.Oldest > 0 {
		apart, err := countApart(conn, stats.Oldest)
		if err != nil {
			return err
		}
		stats.Stored = max(0, int64(stats.Head-stats.Oldest)+1-apart)
	}
	for i := range stats.Sinks {
		sink := &stats.Sinks[i]
		if sink.DeadBytes, err = q.lettersBytes(conn, sink.ID, sink.Dead); err != nil {
			return err
		}
		if sink.Pending <= 0 {
			continue
		}
		_, err := conn.One("SELECT committed FROM frame WHERE id <= ? ORDER BY id DESC LIMIT 1", func(row sqlite.Row) {
			sink.OldestAge = max(0, q.clock.since(time.UnixMicro(row.Int(0))))
		}, int64(sink.Cursor))
		if err != nil {
			return err
		}
		sink.PinnedBytes = q.bytesFrom(sink.Cursor, stats.Oldest, usage.Used)
	}
	return nil
}

// countApart counts the positions from one on that are in no frame: what was
// set aside, and what a salvaged file skips.
func countApart(conn *sqlite.Conn, from edge.Position) (count int64, err error) {
	_, err = conn.One("SELECT coalesce(sum(n), 0) FROM quarantine WHERE sink = ? AND position >= ?", func(row sqlite.Row) { count = row.Int(0) }, int64(queuefile.FrameSink), int64(from))
	return count, err
}

// oldestStored returns the position of the oldest record that is stored, 0 when
// there is none.
func oldestStored(conn *sqlite.Conn) (oldest edge.Position, err error) {
	_, err = conn.One("SELECT id FROM frame ORDER BY id LIMIT 1", func(row sqlite.Row) { oldest = edge.Position(row.Int(0)) })
	return oldest, err
}
