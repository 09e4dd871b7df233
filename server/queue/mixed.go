package queue

import (
	"context"
	"errors"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// mixedCount is what a damaged frame, whose owed sets are in the damaged bytes, must
// have held for one sink: what was pending at one moment and is in no other frame.
type mixedCount struct {
	owed      int64 // and not decided then, leased or not
	undecided int64 // positions of the frame
}

// mixedView is an account at one moment.
type mixedView struct {
	account     *account
	cursor      edge.Position
	counted     edge.Position
	start       edge.Position
	backlogFrom edge.Position
	settled     queuefile.Spans
	pending     int64
	elsewhere   int64 // pending in the frames that were counted, see countPiece
	undecided   int64 // positions of the damaged frame
}

// countMixed reads the backlog, once for all sinks and piece by piece, while commits
// and settlements go on. It returns nil when nothing has to be counted, or when what
// was about to be read was removed meanwhile; the commit then counts for itself.
func (q *Queue) countMixed(ctx context.Context, first edge.Position) (map[edge.SinkID]mixedCount, error) {
	var row *queuefile.DamagedFrame
	err := q.read(ctx, func(conn *sqlite.Conn) (err error) {
		row, err = queuefile.FindDamaged(conn, q.decoder, first)
		return err
	})
	if err != nil || row == nil || !q.isMixed(row) {
		return nil, err
	}
	views := q.viewMixed(row)
	needed := edge.Position(queuefile.MaxPosition)
	for i := range views {
		if views[i].pending > 0 {
			needed = min(needed, views[i].cursor)
		}
	}
	for next, ended := needed, false; !ended; {
		err := q.read(ctx, func(conn *sqlite.Conn) (err error) {
			next, ended, err = q.countPiece(conn, views, next)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	front := edge.Position(0)
	err = q.read(ctx, func(conn *sqlite.Conn) (err error) {
		front, err = oldestStored(conn)
		return err
	})
	if err != nil || front == 0 || front > needed {
		return nil, err
	}
	counts := make(map[edge.SinkID]mixedCount, len(views))
	for i := range views {
		view := &views[i]
		counts[view.account.id] = mixedCount{owed: max(0, view.pending-view.elsewhere), undecided: view.undecided}
	}
	return counts, nil
}

// isMixed reports whether the owed sets of a frame are in its body.
func (q *Queue) isMixed(row *queuefile.DamagedFrame) bool {
	set := uint32(row.Owed)
	return set == queuefile.OwedMixed || int(row.Owed) > q.sets.count()
}

func (q *Queue) viewMixed(row *queuefile.DamagedFrame) []mixedView {
	var views []mixedView
	for _, a := range q.registry.all() {
		a.mu.Lock()
		view := a.view()
		a.mu.Unlock()
		for position := row.First; position < row.End(); position++ {
			if !view.decided(position) {
				view.undecided++
			}
		}
		views = append(views, view)
	}
	return views
}

func (a *account) view() mixedView {
	return mixedView{
		account: a, cursor: a.cursor, counted: a.Counted, start: a.start, backlogFrom: a.backlogFrom, settled: slices.Clone(a.settled), pending: a.Pending(),
	}
}

func (v *mixedView) decided(position edge.Position) bool {
	return position < v.cursor || v.settled.Contains(queuefile.Span{First: position, End: position + 1})
}

func (v *mixedView) owes(position edge.Position, sinks []edge.SinkID) bool {
	if position < v.start {
		return position >= v.backlogFrom
	}
	return slices.Contains(sinks, v.account.id)
}

// countPiece counts what is pending in some frames, damaged ones left out, and returns
// where the next piece begins.
func (q *Queue) countPiece(conn *sqlite.Conn, views []mixedView, from edge.Position) (next edge.Position, ended bool, err error) {
	frames, bytes := 0, 0
	next, ended = from, true
	err = conn.Query(queuefile.SelectFrames+queuefile.FromFrameAt+" ORDER BY id", func(row sqlite.Row) error {
		stored := queuefile.ReadFrame(row)
		frame, err := q.decode(stored)
		if _, isDamage := errors.AsType[*queuefile.DamageError](err); isDamage { // it is this one, or its turn comes
			return nil
		}
		if err != nil || frame.End() <= from {
			return err
		}
		if frames++; frames > queuefile.PieceFrames || bytes >= queuefile.PieceBytes {
			ended = false
			return sqlite.ErrStop
		}
		bytes += len(stored.Body)
		for i := range frame.Records {
			position := frame.First + edge.Position(i)
			if position < from {
				continue
			}
			for v := range views {
				view := &views[v]
				if position <= view.counted && !view.decided(position) && view.owes(position, q.sets.sinks(frame.Owed[i])) {
					view.elsewhere++
				}
			}
		}
		next = max(next, frame.End())
		return nil
	}, int64(from))
	return next, ended, err
}
