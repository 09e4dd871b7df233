package queue

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const (
	segmentsMax  = 4096
	segmentBytes = 64 << 10 // of a segment at first; doubled whenever there are too many
	// framesPerRead bounds the frames that one visit to the disk looks at.
	framesPerRead = 4096
)

// sizes knows how many bytes of the file lie from a position on, without a look
// at the file. Stored frames are summed up in segments, so that it takes the same
// memory whatever the backlog:
//
//	frames    | | || |  ||  | | |  |   |
//	segments  |      |      |      |    ...
//
// What was stored before the start is measured in the background. Until then
// nothing is known.
type sizes struct {
	mu       sync.Mutex
	segments []segment // ascending
	grain    int64     // a segment with so many bytes is closed
	scanned  edge.Position
	upTo     edge.Position // where measuring ends
	gone     edge.Position // frames that begin below are removed
	end      edge.Position // of the newest frame
}

// segment is the frames from first up to the next segment.
type segment struct {
	first edge.Position
	bytes int64
}

// begin says which frames are to be measured: those up to the head of the start.
func (s *sizes) begin(head edge.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grain, s.scanned, s.upTo, s.end = segmentBytes, 1, head+1, head+1
}

// appended adds a new frame.
func (s *sizes) appended(first, end edge.Position, bodyBytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(first, fileBytes(bodyBytes))
	s.end = end
}

// add adds a frame behind those that it belongs to: new ones, or those from
// before the start.
func (s *sizes) add(first edge.Position, bytes int64) {
	index := s.find(first)
	if index >= 0 && s.segments[index].bytes < s.grain && (first >= s.upTo) == (s.segments[index].first >= s.upTo) {
		s.segments[index].bytes += bytes
		return
	}
	s.segments = slices.Insert(s.segments, index+1, segment{first, bytes})
	if len(s.segments) > segmentsMax {
		s.coarsen()
	}
}

// find returns the index of the segment that holds a position, -1 when it lies
// below the first one.
func (s *sizes) find(position edge.Position) int {
	index, found := slices.BinarySearchFunc(s.segments, position, func(candidate segment, position edge.Position) int {
		return int(candidate.first - position)
	})
	if found {
		return index
	}
	return index - 1
}

// coarsen joins every two segments.
func (s *sizes) coarsen() {
	s.grain *= 2
	half := s.segments[:0]
	for i := 0; i < len(s.segments); i += 2 {
		joined := s.segments[i]
		if i+1 < len(s.segments) {
			joined.bytes += s.segments[i+1].bytes
		}
		half = append(half, joined)
	}
	s.segments = half
}

// removed is told that the frames below a position are gone. A segment stays
// until all of it is.
func (s *sizes) removed(end edge.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = end
	gone := max(0, s.find(end)) // of the segments; the one that holds end stays
	if end >= s.end {
		gone = len(s.segments)
	}
	s.segments = slices.Delete(s.segments, 0, gone)
}

// replaced is told that one frame, from first up to end, has taken the place of
// several, and by how much that changed what they take.
func (s *sizes) replaced(first, end edge.Position, change int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	index := s.find(first)
	if index < 0 {
		return
	}
	from := index + 1 // of the segments that began inside the new frame
	to := from
	for ; to < len(s.segments) && s.segments[to].first < end; to++ {
		change += s.segments[to].bytes
	}
	s.segments = slices.Delete(s.segments, from, to)
	s.segments[index].bytes = max(0, s.segments[index].bytes+change)
}

// from returns the bytes of the frames from a position on. The segment that holds
// it counts by the share of its positions that lie from there on, so that what
// is told of a sink goes down as the sink delivers, and not in steps.
func (s *sizes) from(position edge.Position) (bytes int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	position = max(position, s.gone)
	index, end := s.find(position), s.end // of the segment
	for i := len(s.segments) - 1; i > index; i-- {
		bytes, end = bytes+s.segments[i].bytes, s.segments[i].first
	}
	if index >= 0 && position < end {
		held := &s.segments[index]
		bytes += int64(math.Ceil(float64(held.bytes) * float64(end-position) / float64(end-held.first)))
	}
	return bytes, s.scanned >= s.upTo
}

// bytesFrom returns the bytes of the file that the records from a position on
// take. Until that is measured it is what they would take if all were equally
// large: used is the bytes of the file that hold something, oldest the first
// position that is stored, 0 when there is none.
func (q *Queue) bytesFrom(position, oldest edge.Position, used int64) int64 {
	if bytes, known := q.sizes.from(position); known {
		return bytes
	}
	head := q.Head()
	if oldest == 0 || head < oldest {
		return 0
	}
	return int64(float64(used) * float64(head-max(position, oldest)+1) / float64(head-oldest+1))
}

// known reports whether what was stored before the start is measured.
func (s *sizes) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scanned >= s.upTo
}

// beyond returns the position below which lies what exceeds a number of bytes,
// counted down from an end. So many bytes, and at most a segment more, are from
// there on. 0 is nothing, or not known.
func (s *sizes) beyond(end edge.Position, limit int64) edge.Position {
	border, _ := s.border(end, limit)
	return border.First
}

// border returns the segment in which so many bytes are reached, counted down from an
// end, and how many lie behind it. The zero span is none, or not known.
func (s *sizes) border(end edge.Position, limit int64) (found queuefile.Span, behind int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scanned < s.upTo {
		return found, 0
	}
	last := s.find(end - 1)
	if end < s.end && (last+1 == len(s.segments) || s.segments[last+1].first != end) {
		last-- // some of it lies behind the end
	}
	for i := last; i >= 0; i-- {
		if behind+s.segments[i].bytes >= limit {
			found = queuefile.Span{First: s.segments[i].first, End: end}
			if i+1 < len(s.segments) {
				found.End = min(end, s.segments[i+1].first)
			}
			return found, behind
		}
		behind += s.segments[i].bytes
	}
	return found, 0
}

// beyondExactly is beyond to the frame, counted down from the head. It reads the frames
// of one segment.
func (q *Queue) beyondExactly(ctx context.Context, limit int64) (edge.Position, error) {
	segment, kept := q.sizes.border(q.Head()+1, limit)
	border := segment.First
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query("SELECT id, length(body) FROM frame WHERE id >= ? AND id < ? ORDER BY id DESC", func(row sqlite.Row) error {
			if kept += fileBytes(int(row.Int(1))); kept < limit {
				return nil
			}
			border = edge.Position(row.Int(0))
			return sqlite.ErrStop
		}, int64(segment.First), int64(segment.End))
	})
	if err != nil {
		return 0, fmt.Errorf("look for what is over a limit: %w", err)
	}
	return border, nil
}

// scanSizes sums up what was stored before the start, until it is done or ctx ends.
func (q *Queue) scanSizes(ctx context.Context) error {
	s := &q.sizes
	for {
		s.mu.Lock()
		from, upTo := s.scanned, s.upTo
		s.mu.Unlock()
		if from >= upTo {
			return nil
		}
		var found []segment
		next := upTo
		err := q.read(ctx, func(conn *sqlite.Conn) error {
			return conn.Query("SELECT id, length(body) FROM frame WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", func(row sqlite.Row) error {
				found = append(found, segment{edge.Position(row.Int(0)), fileBytes(int(row.Int(1)))})
				return nil
			}, int64(from), int64(upTo), int64(framesPerRead))
		})
		if err != nil {
			return fmt.Errorf("measure the stored frames: %w", err)
		}
		if len(found) == framesPerRead {
			next = found[len(found)-1].first + 1
		}
		s.mu.Lock()
		for _, frame := range found {
			if frame.first >= s.gone {
				s.add(frame.first, frame.bytes)
			}
		}
		s.scanned = next
		s.mu.Unlock()
	}
}

// fileBytes returns how much of the file a frame takes: a row that does not fit
// into a page is continued on pages of its own.
func fileBytes(body int) int64 {
	const (
		columns  = 20 // of a frame, besides its body
		place    = 10 // of a row in its page
		page     = sqlite.PageBytes
		leaf     = page - 8  // for rows
		localMax = page - 35 // of a row that fits
		localMin = (page-12)*32/255 - 23
		overflow = page - 4
	)
	size := body + columns
	if size <= localMax {
		return int64(page / (leaf / (size + place)))
	}
	local := localMin + (size-localMin)%overflow
	if local > localMax {
		local = localMin
	}
	pages := (size - local + overflow - 1) / overflow
	return int64(pages*page + page/max(1, leaf/(local+place)))
}
