package queue

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// framesPerCommit bounds how many frames one commit removes. More than one, so
// that removing catches up with appending.
const framesPerCommit = 64

// retention removes whole frames, oldest first, that every sink is done with and
// that are older than a delay, or more than a number of bytes, or that take the
// room of new ones. It knows the oldest frame, so that a commit which has nothing
// to remove pays nothing for it.
type retention struct {
	delay       time.Duration
	bytes       int64         // 0 is unlimited
	beyond      edge.Position // below lies what is more than that, when it was looked at last
	removed     edge.Position // frames below are gone; 0 when none went since the start
	end         edge.Position // behind the oldest frame; 0 when there is none
	committedAt time.Time     // of the oldest frame
}

// appended is told of a new frame.
func (r *retention) appended(g *group) {
	if r.end == 0 {
		r.end, r.committedAt = g.last()+1, g.committedAt
	}
}

// update finds out what is too much.
func (r *retention) update(q *Queue) {
	if r.bytes > 0 {
		r.beyond = q.sizes.beyond(q.pinned(), r.bytes)
	}
}

// due reports whether the oldest frame can go. It need not be old when that is
// urgent.
func (r *retention) due(q *Queue, now time.Time, urgent bool) bool {
	return r.end > 0 && r.over(r.end, r.committedAt, now, urgent) && r.end <= q.pinned()
}

// over reports whether a frame that every sink is done with is not kept any
// longer.
func (r *retention) over(end edge.Position, committedAt, now time.Time, urgent bool) bool {
	return urgent || end <= r.beyond || now.Sub(committedAt) > r.delay
}

// pinned returns the first position that some sink still needs. A removed sink
// keeps its backlog until an operator gives it up.
func (q *Queue) pinned() edge.Position {
	first := q.Head() + 1
	for _, account := range q.registry.all() {
		if position, pending := account.pinned(); pending {
			first = min(first, position)
		}
	}
	return first
}

// remove deletes frames, and finds the oldest one that stays.
func (r *retention) remove(conn *sqlite.Conn, q *Queue, replayFrom edge.Position, now time.Time, urgent bool) error {
	keep := min(q.pinned(), replayFrom)
	frames, last := 0, int64(0)
	r.end = 0
	err := conn.Query("SELECT id, "+queuefile.FrameEnd+", committed FROM frame ORDER BY id LIMIT ?", func(row sqlite.Row) error {
		end, committedAt := edge.Position(row.Int(1)), time.UnixMicro(row.Int(2))
		if frames == framesPerCommit || end > keep || !r.over(end, committedAt, now, urgent) {
			r.end, r.committedAt = end, committedAt
			return sqlite.ErrStop
		}
		last, r.removed = row.Int(0), end
		frames++
		return nil
	}, int64(framesPerCommit+1))
	if err != nil || frames == 0 {
		return err
	}
	return conn.Exec("DELETE FROM frame WHERE id <= ?", last)
}
