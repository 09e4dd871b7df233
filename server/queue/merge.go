package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const (
	// mergeSmall is the size, before compression, below which a frame is merged.
	// A few dozen records compress nearly as well as thousands.
	mergeSmall = 8 << 10
	// mergeBytes and mergeRecords bound a merged frame, as groups are bounded, but
	// lower: lanes decode a frame as a whole.
	mergeBytes   = 256 << 10
	mergeRecords = groupRecords / 2
	// mergeRest is how old the frames are that are merged, so that a lane which
	// keeps up has had them.
	mergeRest = 5 * time.Second
	// mergeAge is how old a frame gets before it is merged with fewer others than
	// fit. The records of a merged frame lie no further apart, so that whatever
	// goes by its age is late by no more.
	mergeAge = 10 * time.Minute
	// mergesPerSecond bounds how much is read and written again.
	mergesPerSecond = 8
	// mergeMemory is how many small frames are remembered. Those that arrive
	// faster than they are merged stay as they are.
	mergeMemory = 1 << 14
)

// smallFrame is a frame that may be merged.
type smallFrame struct {
	first, end  edge.Position
	raw         int
	committedAt time.Time
}

// merged is a frame that takes the place of several.
type merged struct {
	smallFrame
	owed   uint32
	body   []byte
	frames int64 // how many
	change int64 // of the bytes of the file; 0 until it is written
}

// merger puts small frames together in the background: same positions, same
// order, one transaction. At a trickle a commit holds one record, which takes
// more room than its payload; a few hundred together take a seventh of it.
//
//	1 | 2 | 3 | 4..4096 | 4097 | 4098 | ...        frames
//	[   run   ]           [   run, still open
//
// The committer remembers the small frames and picks the runs. This goroutine
// reads, checks and encodes them. The committer then writes the result, if the
// frames are still what they were. A damaged frame is never merged, nor those that
// were to be merged with it. A merged frame has the time of its newest record: what
// goes by age is never early. A run that was not merged, for want of room or
// because the process ended, stays as it is, but for the last one, which a start
// picks up.
type merger struct {
	q        *Queue
	encoder  *queuefile.Encoder
	requests chan []smallFrame
	ready    chan *merged // nil when a run cannot be merged

	// Only the committer touches these.
	pending []smallFrame // oldest first
	busy    bool
	left    int // merges until the next second
}

func newMerger(q *Queue, encoder *queuefile.Encoder, pending []smallFrame) *merger {
	return &merger{q: q, encoder: encoder, requests: make(chan []smallFrame, 1), ready: make(chan *merged, 1), pending: pending}
}

// run is the goroutine beside the committer.
func (m *merger) run() {
	for run := range m.requests {
		result, err := m.merge(run)
		if err != nil {
			m.q.observer.Log.Warn("small frames are left as they are", "first", run[0].first, "error", err)
		}
		m.ready <- result
	}
}

func (m *merger) stop() { close(m.requests) }

// appended remembers a frame that is durable.
func (m *merger) appended(frame smallFrame) {
	if frame.raw >= mergeSmall {
		return
	}
	if len(m.pending) == mergeMemory {
		m.pending = append(m.pending[:0], m.pending[mergeMemory/2:]...)
	}
	m.pending = append(m.pending, frame)
}

// next begins a merge when a run is due and none is under way.
func (m *merger) next(now time.Time) {
	if m.busy || m.left == 0 {
		return
	}
	for len(m.pending) > 0 {
		size, due := m.runLength(now)
		if !due {
			return
		}
		run := append([]smallFrame(nil), m.pending[:size]...)
		m.pending = m.pending[size:]
		if size > 1 {
			m.busy = true
			m.left--
			m.requests <- run
			return
		}
	}
}

// runLength returns how many of the oldest frames can be merged into one, and
// whether to wait for no more. One that is due has at least one frame, whatever
// that says of itself: next goes on behind it.
func (m *merger) runLength(now time.Time) (size int, due bool) {
	raw := 0
	for size < len(m.pending) {
		frame := &m.pending[size]
		if size > 0 && (frame.first != m.pending[size-1].end || raw+frame.raw > mergeBytes || frame.end-m.pending[0].first > mergeRecords ||
			frame.committedAt.Sub(m.pending[0].committedAt) > mergeAge) {
			return size, true
		}
		if now.Sub(frame.committedAt) < mergeRest {
			break
		}
		raw += frame.raw
		size++
	}
	return size, size > 0 && now.Sub(m.pending[0].committedAt) > mergeAge
}

var errRun = errors.New("they are not what they were")

// merge reads a run and encodes it as one frame; nil when a part of it is gone.
func (m *merger) merge(run []smallFrame) (*merged, error) {
	result := &merged{smallFrame: smallFrame{first: run[0].first, end: run[len(run)-1].end}}
	m.encoder.Reset()
	next := result.first
	err := m.q.read(context.Background(), func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectFrames+" WHERE id >= ? AND id < ? ORDER BY id", func(row sqlite.Row) error {
			frame, err := m.q.decoder.DecodeStored(queuefile.ReadFrame(row))
			if err != nil {
				return err
			}
			if frame.First != next {
				return errRun
			}
			for i := range frame.Records {
				m.encoder.Add(&frame.Records[i], frame.Owed[i])
			}
			next = frame.End()
			result.frames++
			result.committedAt = later(result.committedAt, frame.CommittedAt)
			return nil
		}, int64(result.first), int64(result.end))
	})
	switch {
	case err != nil:
		return nil, err
	case next != result.end:
		return nil, nil // delivered and removed in the meantime
	}
	result.raw, result.owed, result.body = m.encoder.Size(), m.encoder.Set(), m.encoder.Body(result.first)
	return result, nil
}

// write puts the frame in the place of those that it was made from, unless one of
// them is gone.
func (m *merged) write(conn *sqlite.Conn, retention *retention) error {
	frames, positions, bytes := int64(0), edge.Position(0), int64(0)
	err := conn.Query("SELECT n, length(body) FROM frame WHERE id >= ? AND id < ?", func(row sqlite.Row) error {
		frames++
		positions += edge.Position(row.Int(0))
		bytes += fileBytes(int(row.Int(1)))
		return nil
	}, int64(m.first), int64(m.end))
	if err != nil || frames != m.frames || positions != m.end-m.first {
		return err
	}
	m.change = fileBytes(len(m.body)) - bytes
	if err := conn.Exec("DELETE FROM frame WHERE id >= ? AND id < ?", int64(m.first), int64(m.end)); err != nil {
		return fmt.Errorf("remove small frames: %w", err)
	}
	if m.first < retention.end && retention.end <= m.end {
		retention.end, retention.committedAt = m.end, m.committedAt
	}
	row := queuefile.StoredFrame{First: m.first, Count: int(m.end - m.first), CommittedAt: m.committedAt, Owed: int64(m.owed), Raw: int64(m.raw), Body: m.body}
	return row.Insert(conn)
}

// mergeFrames writes a merged frame and looks for the next run. While there is no
// room nothing is merged: that needs room before it makes some.
func (c *committer) mergeFrames(result *merged) {
	c.merger.busy = false
	if result != nil && !c.space.full.closed() {
		_ = c.transact(&transaction{merged: result, now: c.q.clock.now()}) // whatever failed is found by the next commit, too
	}
	c.mergeNext()
}

func (c *committer) mergeNext() {
	if !c.space.full.closed() && c.failed == nil {
		c.merger.next(c.q.clock.now())
	}
}

// loadSmallFrames finds the small frames that the last run before a stop or crash
// has left. Nobody has read them again, so it leaves out what no small frame says.
func loadSmallFrames(conn *sqlite.Conn) ([]smallFrame, error) {
	var newestFirst []smallFrame
	raw := 0
	err := conn.Query("SELECT id, n, raw, committed FROM frame ORDER BY id DESC LIMIT ?", func(row sqlite.Row) error {
		if count := row.Int(1); count < 1 || count > mergeRecords || row.Int(2) < 1 {
			return nil
		}
		frame := smallFrame{
			first: edge.Position(row.Int(0)), end: edge.Position(row.Int(0) + row.Int(1)), raw: int(row.Int(2)), committedAt: time.UnixMicro(row.Int(3)),
		}
		if raw += frame.raw; raw > 2*mergeBytes {
			return sqlite.ErrStop
		}
		if frame.raw < mergeSmall {
			newestFirst = append(newestFirst, frame)
		}
		return nil
	}, int64(mergeMemory/2))
	frames := make([]smallFrame, len(newestFirst))
	for i, frame := range newestFirst {
		frames[len(frames)-1-i] = frame
	}
	return frames, err
}
