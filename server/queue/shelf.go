package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

const (
	shelfBodyBytes    = 4 << 20  // of the newest frames, as stored
	shelfDecodedBytes = 12 << 20 // of the frames that were read last
	shelfDecodedMax   = 256
	// shelfOverhead is what a frame takes on the shelf besides its bytes.
	shelfOverhead = 96
	// readAhead bounds the frames that one visit to the disk brings.
	readAheadFrames = 32
	readAheadBytes  = 256 << 10
)

// shelf keeps frames in memory: the bodies of the newest commits, so that a lane
// which keeps up never reads from the disk, and the frames that were decoded
// last, so that lanes which are at the same place share them.
type shelf struct {
	mu           sync.Mutex
	bodies       []storedFrame // ascending
	bodyBytes    int
	decoded      []*frame // the one that was used last comes first
	decodedBytes int
}

// put adds the frame of a commit.
func (s *shelf) put(stored storedFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, stored)
	s.bodyBytes += len(stored.body) + shelfOverhead
	drop := 0
	for s.bodyBytes > shelfBodyBytes && drop < len(s.bodies)-1 {
		s.bodyBytes -= len(s.bodies[drop].body) + shelfOverhead
		drop++
	}
	clear(s.bodies[:drop])
	s.bodies = s.bodies[drop:] // append makes room again when it moves the rest
}

// find returns the decoded frame that holds a position, or else its body.
func (s *shelf) find(position edge.Position) (*frame, storedFrame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, frame := range s.decoded {
		if frame.first <= position && position < frame.end() {
			copy(s.decoded[1:i+1], s.decoded[:i])
			s.decoded[0] = frame
			return frame, storedFrame{}, true
		}
	}
	index, found := slices.BinarySearchFunc(s.bodies, position, func(stored storedFrame, position edge.Position) int {
		switch {
		case stored.first > position:
			return 1
		case stored.first+edge.Position(stored.count) <= position:
			return -1
		}
		return 0
	})
	if !found {
		return nil, storedFrame{}, false
	}
	return nil, s.bodies[index], true
}

// keep adds a decoded frame.
func (s *shelf) keep(decoded *frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.decoded, func(kept *frame) bool { return kept.first <= decoded.first && decoded.end() <= kept.end() }) {
		return
	}
	s.decoded = slices.Insert(s.decoded, 0, decoded)
	s.decodedBytes += decoded.bytes + shelfOverhead
	for len(s.decoded) > 1 && (s.decodedBytes > shelfDecodedBytes || len(s.decoded) > shelfDecodedMax) {
		last := len(s.decoded) - 1
		s.decodedBytes -= s.decoded[last].bytes + shelfOverhead
		s.decoded = slices.Delete(s.decoded, last, last+1)
	}
}

// drop forgets a frame.
func (s *shelf) drop(first edge.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decoded = slices.DeleteFunc(s.decoded, func(kept *frame) bool {
		if kept.first == first {
			s.decodedBytes -= kept.bytes + shelfOverhead
		}
		return kept.first == first
	})
	s.bodies = slices.DeleteFunc(s.bodies, func(kept storedFrame) bool {
		if kept.first == first {
			s.bodyBytes -= len(kept.body) + shelfOverhead
		}
		return kept.first == first
	})
}

// frameAt returns the frame that holds a position, or the first one behind it;
// nil when there is none. Frames that are damaged are set aside on the way; where
// that does not help, the trees of the database are damaged.
func (q *Queue) frameAt(ctx context.Context, position edge.Position) (*frame, error) {
	for last := edge.Position(0); ; {
		found, err := q.findFrame(ctx, position)
		damage, isDamage := errors.AsType[*DamageError](err)
		if !isDamage {
			return found, err
		}
		if damage.Frame == last {
			return nil, q.readFailed(damagedRowError("frame %d is damaged, and is not found where it should be", last))
		}
		last = damage.Frame
		if err := q.setAside(ctx, damaged{sink: frameSink, position: damage.Frame}); err != nil {
			return nil, err
		}
	}
}

func (q *Queue) findFrame(ctx context.Context, position edge.Position) (*frame, error) {
	decoded, stored, found := q.shelf.find(position)
	if decoded != nil {
		return decoded, nil
	}
	if !found {
		return q.readAhead(ctx, position)
	}
	decoded, err := q.decoder.decodeStored(stored)
	if err != nil {
		return nil, err
	}
	q.shelf.keep(decoded)
	return decoded, nil
}

// readAhead reads the frame at a position, and those behind it that are likely
// to be wanted next.
func (q *Queue) readAhead(ctx context.Context, position edge.Position) (wanted *frame, err error) {
	var rows []storedFrame
	bytes := 0
	err = q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(selectFrames+fromFrameAt+" AND id + n > ?1 ORDER BY id LIMIT ?2",
			func(row sqlite.Row) error {
				stored := scanFrame(row)
				rows = append(rows, stored)
				if bytes += len(stored.body); bytes >= readAheadBytes {
					return sqlite.ErrStop
				}
				return nil
			}, int64(position), int64(readAheadFrames))
	})
	if err != nil {
		return nil, fmt.Errorf("read frames from %d: %w", position, err)
	}
	for i, stored := range slices.Backward(rows) { // so that the nearest one is kept longest
		decoded, err := q.decoder.decodeStored(stored)
		if err == nil {
			q.shelf.keep(decoded)
		}
		if i == 0 {
			return decoded, err
		}
		// Whoever comes to a damaged frame further on hears of it then.
	}
	return nil, nil
}
