package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const (
	cacheBodyBytes    = 4 << 20  // of the newest frames, as stored
	cacheDecodedBytes = 12 << 20 // of the frames that were read last
	cacheDecodedMax   = 256
	// cacheOverhead is what a frame takes in the cache besides its bytes.
	cacheOverhead = 96
	// readAhead bounds the frames that one visit to the disk brings.
	readAheadFrames = 32
	readAheadBytes  = 256 << 10
)

// frameCache keeps frames in memory: the bodies of the newest commits, so that a lane
// which keeps up never reads from the disk, and the frames that were decoded
// last, so that lanes which are at the same place share them.
type frameCache struct {
	mu           sync.Mutex
	bodies       []queuefile.StoredFrame // ascending
	bodyBytes    int
	decoded      []*queuefile.Frame // the one that was used last comes first
	decodedBytes int
}

// put adds the frame of a commit.
func (s *frameCache) put(stored queuefile.StoredFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, stored)
	s.bodyBytes += len(stored.Body) + cacheOverhead
	drop := 0
	for s.bodyBytes > cacheBodyBytes && drop < len(s.bodies)-1 {
		s.bodyBytes -= len(s.bodies[drop].Body) + cacheOverhead
		drop++
	}
	clear(s.bodies[:drop])
	s.bodies = s.bodies[drop:] // append makes room again when it moves the rest
}

// find returns the decoded frame that holds a position, or else its body.
func (s *frameCache) find(position edge.Position) (*queuefile.Frame, queuefile.StoredFrame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, frame := range s.decoded {
		if frame.First <= position && position < frame.End() {
			copy(s.decoded[1:i+1], s.decoded[:i])
			s.decoded[0] = frame
			return frame, queuefile.StoredFrame{}, true
		}
	}
	index, found := slices.BinarySearchFunc(s.bodies, position, func(stored queuefile.StoredFrame, position edge.Position) int {
		switch {
		case stored.First > position:
			return 1
		case stored.First+edge.Position(stored.Count) <= position:
			return -1
		}
		return 0
	})
	if !found {
		return nil, queuefile.StoredFrame{}, false
	}
	return nil, s.bodies[index], true
}

// keep adds a decoded frame.
func (s *frameCache) keep(decoded *queuefile.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.decoded, func(kept *queuefile.Frame) bool { return kept.First <= decoded.First && decoded.End() <= kept.End() }) {
		return
	}
	s.decoded = slices.Insert(s.decoded, 0, decoded)
	s.decodedBytes += decoded.Bytes + cacheOverhead
	for len(s.decoded) > 1 && (s.decodedBytes > cacheDecodedBytes || len(s.decoded) > cacheDecodedMax) {
		last := len(s.decoded) - 1
		s.decodedBytes -= s.decoded[last].Bytes + cacheOverhead
		s.decoded = slices.Delete(s.decoded, last, last+1)
	}
}

// drop forgets a frame.
func (s *frameCache) drop(first edge.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decoded = slices.DeleteFunc(s.decoded, func(kept *queuefile.Frame) bool {
		if kept.First == first {
			s.decodedBytes -= kept.Bytes + cacheOverhead
		}
		return kept.First == first
	})
	s.bodies = slices.DeleteFunc(s.bodies, func(kept queuefile.StoredFrame) bool {
		if kept.First == first {
			s.bodyBytes -= len(kept.Body) + cacheOverhead
		}
		return kept.First == first
	})
}

// frameAt returns the frame that holds a position, or the first one behind it;
// nil when there is none. Frames that are damaged are set aside on the way; where
// that does not help, the trees of the database are damaged.
func (q *Queue) frameAt(ctx context.Context, position edge.Position) (*queuefile.Frame, error) {
	for last := edge.Position(0); ; {
		found, err := q.findFrame(ctx, position)
		damage, isDamage := errors.AsType[*queuefile.DamageError](err)
		if !isDamage {
			return found, q.readFailed(err)
		}
		if damage.Frame == last {
			return nil, q.readFailed(queuefile.NewRowError("frame %d is damaged, and is not found where it should be", last))
		}
		last = damage.Frame
		if err := q.setAside(ctx, damaged{sink: queuefile.FrameSink, position: damage.Frame}); err != nil {
			return nil, err
		}
	}
}

func (q *Queue) findFrame(ctx context.Context, position edge.Position) (*queuefile.Frame, error) {
	decoded, stored, found := q.cache.find(position)
	if decoded != nil {
		return decoded, nil
	}
	if !found {
		return q.readAhead(ctx, position)
	}
	decoded, err := q.decode(stored)
	if err != nil {
		return nil, err
	}
	q.cache.keep(decoded)
	return decoded, nil
}

// readAhead reads the frame at a position, and those behind it that are likely
// to be wanted next. Whether the last frame in front of the position reaches as far,
// its row says; one that is damaged may hold it, whatever the row says.
func (q *Queue) readAhead(ctx context.Context, position edge.Position) (wanted *queuefile.Frame, err error) {
	var rows []queuefile.StoredFrame
	bytes := 0
	err = q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectFrames+queuefile.FromFrameAt+" ORDER BY id LIMIT ?2",
			func(row sqlite.Row) error {
				stored := queuefile.ReadFrame(row)
				rows = append(rows, stored)
				if stored.End() <= position {
					return nil
				}
				if bytes += len(stored.Body); bytes >= readAheadBytes {
					return sqlite.ErrStop
				}
				return nil
			}, int64(position), int64(readAheadFrames))
	})
	if err != nil {
		return nil, fmt.Errorf("read frames from %d: %w", position, err)
	}
	for _, stored := range slices.Backward(rows) { // so that the nearest one is kept longest
		decoded, failed := q.decode(stored)
		if failed == nil && decoded.End() <= position {
			continue
		}
		if failed == nil {
			q.cache.keep(decoded)
		}
		wanted, err = decoded, failed // whoever comes to a damaged frame further on hears of it then
	}
	return wanted, err
}

// readFrame reads the one frame that a query yields, nil when it yields none.
func (q *Queue) readFrame(conn *sqlite.Conn, query string, position edge.Position) (*queuefile.Frame, error) {
	var found *queuefile.Frame
	err := conn.Query(query, func(row sqlite.Row) (err error) {
		found, err = q.decode(queuefile.ReadFrame(row))
		return err
	}, int64(position))
	return found, err
}
