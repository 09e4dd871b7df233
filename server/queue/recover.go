package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// recovered is what a start finds, for the committer to go on with.
type recovered struct {
	fileState
	letters *queuefile.Encoder
	small   []smallFrame // that may be merged
	merging *queuefile.Encoder
	damaged []damaged // for the committer to set aside
}

// recoverState brings the state in memory to what the file says. What the last
// commits appended is counted again and enters the identity window again; how
// much that is does not depend on the backlog.
func (q *Queue) recoverState(ctx context.Context) error {
	log := int64(rand.IntN(queuefile.LogMax))
	err := q.db.Write(ctx, func(conn *sqlite.Conn) error {
		if err := queuefile.BeginLedger(conn, log); err != nil {
			return err
		}
		return queuefile.KeepLog(conn)
	})
	if err != nil {
		return err
	}
	if err := q.db.Read(ctx, q.load); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	encoder, err := queuefile.NewEncoder()
	if err != nil {
		return err
	}
	refused, err := queuefile.NewEncoder()
	if err != nil {
		return err
	}
	if q.start.letters, err = queuefile.NewEncoder(); err != nil {
		return err
	}
	if q.start.merging, err = queuefile.NewMergeEncoder(); err != nil {
		return err
	}
	q.reportCounters()
	totals := q.ledger.read()
	q.durable.head.Store(int64(totals.Counted))
	q.durable.letters.Store(totals.Refused)
	q.sizes.begin(totals.Counted)
	q.assembler = &assembler{
		logs: &q.logs, clock: q.clock, tracer: q.observer.Tracer, window: q.window, sets: q.sets, encoder: encoder, letters: refused,
		durable: &q.durable, next: totals.Counted + 1, nextLetter: totals.Refused + 1,
	}
	return nil
}

// load reads everything in one snapshot.
func (q *Queue) load(conn *sqlite.Conn) error {
	if err := q.loadLedger(conn); err != nil {
		return err
	}
	var err error
	if q.start.sets, err = q.sets.load(conn); err != nil {
		return err
	}
	accounts, err := loadSinks(conn)
	if err != nil {
		return err
	}
	q.registry.list.Store(&accounts)
	damaged, err := q.window.load(conn, q.start.replayFrom)
	if err != nil {
		return err
	}
	if damaged > 0 {
		q.observer.Log.Warn("the identity window of some devices was damaged: repeated messages of theirs may be stored again", "devices", damaged)
	}
	if q.window.apart, err = queuefile.QuarantinedSpans(conn); err != nil {
		return err
	}
	if q.start.asideBytes, err = queuefile.QuarantinedBytes(conn); err != nil {
		return err
	}
	if q.start.ingress, err = loadIngress(conn); err != nil {
		return err
	}
	counted := q.ledger.read().Counted
	if err := q.replay(conn); err != nil {
		return err
	}
	if err := q.checkFront(conn, counted); err != nil {
		return err
	}
	if err := q.checkEnd(conn, counted); err != nil {
		return err
	}
	_, err = conn.One("SELECT id FROM attempt ORDER BY id DESC LIMIT 1", func(row sqlite.Row) { q.start.attempts.lastID = row.Int(0) })
	if err != nil {
		return err
	}
	q.start.retention = retention{delay: q.settings.RetentionDelivered, bytes: q.settings.RetentionDeliveredBytes}
	_, err = conn.One("SELECT "+queuefile.FrameEnd+", committed FROM frame ORDER BY id LIMIT 1", func(row sqlite.Row) {
		q.start.retention.end, q.start.retention.committedAt = edge.Position(row.Int(0)), time.UnixMicro(row.Int(1))
	})
	if err != nil {
		return err
	}
	q.start.small, err = loadSmallFrames(conn)
	return err
}

func (q *Queue) loadLedger(conn *sqlite.Conn) error {
	var stored queuefile.StoredLedger
	found, err := conn.One(queuefile.SelectLedger, func(row sqlite.Row) { stored = queuefile.ReadLedger(row) })
	if err != nil {
		return err
	}
	if !found || !stored.PlaceHolds() {
		return queuefile.NewRowError("ledger")
	}
	totals := totals{LedgerCounts: stored.LedgerCounts, unsure: !stored.CountsHold()}
	_, err = conn.One("SELECT coalesce(max(position), 0) FROM dead WHERE sink = 0", func(row sqlite.Row) {
		totals.Refused = max(totals.Refused, row.Int(0)) // no number is given twice
	})
	if err != nil {
		return err
	}
	if totals.deaths, err = queuefile.ReadDeaths(conn, edge.Ingress); err != nil {
		return err
	}
	q.ledger.replace(totals)
	q.registry.cursorsLost = stored.CursorsLost
	if !stored.RestoredAt.IsZero() {
		q.window.forgot = stored.RestoredAt.UnixMilli()
	}
	q.start.replayFrom, q.start.attempts.bytes = stored.ReplayFrom, stored.AttemptBytes
	committed, err := queuefile.LastCommit(conn)
	if err != nil {
		return err
	}
	q.clock = newClock(stored.Clock, committed, &q.settings, time.Now().Round(0))
	if q.logs, err = queuefile.LoadLogs(conn, uint16(stored.Log)); err != nil {
		return err
	}
	q.decoder, err = queuefile.NewDecoder(&q.logs)
	return err
}

// checkEnd makes sure that the frames reach as far as the ledger has counted them: a
// write that the disk has lost, or one bit in the head of a page, hides the newest
// ones without an error. Positions in quarantine are known to be gone. When there is
// no frame at all, every record must have been decided.
func (q *Queue) checkEnd(conn *sqlite.Conn, counted edge.Position) error {
	end := edge.Position(0)
	found, err := conn.One("SELECT id + n FROM frame ORDER BY id DESC LIMIT 1", func(row sqlite.Row) { end = edge.Position(row.Int(0)) })
	if err != nil || end > counted {
		return err
	}
	missing := found && !q.window.apart.Contains(queuefile.Span{First: end, End: counted + 1})
	for _, account := range q.registry.all() {
		waits := !found && !account.unsure && account.Pending() > 0
		missing = missing || waits && !q.window.apart.Contains(queuefile.Span{First: account.cursor, End: counted + 1})
	}
	if missing {
		return queuefile.NewRowError("positions %d to %d are in no frame", end, counted)
	}
	return nil
}

// checkFront makes sure that the frames begin where somebody needs them at the
// latest: a sink that waits for something, from its cursor on, and this start, behind
// what was counted before. Retention has removed none of these.
func (q *Queue) checkFront(conn *sqlite.Conn, counted edge.Position) error {
	front, err := oldestStored(conn)
	if err != nil || front == 0 {
		return err
	}
	if gap := (queuefile.Span{First: counted + 1, End: front}); gap.First < gap.End && !q.window.apart.Contains(gap) {
		return queuefile.NewRowError("positions %d to %d are in no frame", gap.First, gap.End-1)
	}
	for _, account := range q.registry.all() {
		gap := queuefile.Span{First: account.cursor, End: front}
		switch {
		case gap.First >= gap.End || account.Pending() == 0 && !account.unsure:
		case account.unsure: // nobody can tell whether it waited for anything there
			account.decide(gap)
			account.next, account.frontier = account.cursor, max(account.frontier, account.cursor)
		case !q.window.apart.Contains(gap):
			return queuefile.NewRowError("positions %d to %d, of which sink %s waits for some, are in no frame", gap.First, gap.End-1, account.name)
		}
	}
	return nil
}

// replay reads the frames that the saved state does not cover. It always reads
// the last frame, so that one which is damaged is set aside before anything is
// appended behind it.
func (q *Queue) replay(conn *sqlite.Conn) error {
	from := q.start.replayFrom
	_, err := conn.One("SELECT id FROM frame ORDER BY id DESC LIMIT 1", func(row sqlite.Row) { from = min(from, edge.Position(row.Int(0))) })
	if err != nil {
		return err
	}
	// The state is that before the group of the last commit that saved it, so the
	// first position may lie inside a frame.
	next := edge.Position(0)
	return conn.Query(queuefile.SelectFrames+queuefile.FromFrameAt+" ORDER BY id", func(row sqlite.Row) error {
		first := edge.Position(row.Int(0))
		if gap := (queuefile.Span{First: next, End: first}); next > 0 && next != first && !q.window.apart.Contains(gap) {
			return queuefile.NewRowError("positions %d to %d are in no frame", next, first-1) // or nobody would ever count them
		}
		frame, err := q.decode(queuefile.ReadFrame(row))
		if err == nil {
			next = frame.End()
			q.replayFrame(frame)
			return nil
		}
		if _, isDamage := errors.AsType[*queuefile.DamageError](err); !isDamage {
			return err
		}
		damaged, err := queuefile.FindDamaged(conn, q.decoder, first)
		if err == nil && damaged != nil {
			next = damaged.End()
			q.replayDamaged(damaged)
		}
		return err
	}, int64(from))
}

// replayFrame counts the records of a frame that were not counted when the state
// was saved. Each account and the totals may have been saved at another time.
func (q *Queue) replayFrame(frame *queuefile.Frame) {
	totals := q.ledger.read()
	q.window.mu.Lock()
	q.window.now = frame.CommittedAt.UnixMilli()
	for i := range frame.Records {
		record := &frame.Records[i]
		q.window.replayed(record)
		set := q.sets.sinks(frame.Owed[i])
		if record.Position > totals.Counted {
			totals.Counted = record.Position
			totals.Accepted++
			if len(set) == 0 {
				totals.Unrouted++
			}
		}
		for _, account := range q.registry.all() {
			if record.Position > account.Counted {
				account.Counted = record.Position
				if account.owes(record.Position, set) {
					account.Owed++
				}
			}
		}
	}
	q.window.mu.Unlock()
	q.ledger.replace(totals)
}
