package queue

import (
	"fmt"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

func TestFileBytes(t *testing.T) {
	for _, body := range []int{60, 300, 900, 1400, 2100, 3900, 4040, 4100, 6000, 20_000, 100_000} {
		t.Run(fmt.Sprint(body), func(t *testing.T) {
			q, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "queue.db")}, observe.NewDiscard())
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			const frames = 500
			var before, after int64
			err = q.db.Write(t.Context(), func(conn *sqlite.Conn) (err error) {
				if before, err = usedBytes(conn); err != nil {
					return err
				}
				for i := range frames {
					if err := conn.Exec("INSERT INTO frame VALUES(?, 10, ?, 1, ?, ?)", int64(1e9+10*i), int64(1764000000000000+i), int64(body), make([]byte, body)); err != nil {
						return err
					}
				}
				after, err = usedBytes(conn)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := float64(frames*fileBytes(body)), float64(after-before); got < 0.9*want || got > 1.1*want {
				t.Errorf("%d bytes each, took %.0f", fileBytes(body), want/frames)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	var s sizes
	s.begin(0)
	const frames = 20_000 // enough to make segments coarser
	each := fileBytes(20_000)
	for i := range frames {
		s.appended(edge.Position(1+10*i), edge.Position(11+10*i), 20_000)
	}
	end := edge.Position(1 + 10*frames)
	if len(s.segments) > segmentsMax || s.grain == segmentBytes {
		t.Fatalf("%d segments of %d bytes", len(s.segments), s.grain)
	}
	for _, from := range []int{0, 1, 7_777, 19_000, 19_999} {
		want := int64(frames-from) * each
		if got, known := s.from(edge.Position(1 + 10*from)); !known || got < want || got > want+2*s.grain {
			t.Errorf("from frame %d: %d bytes, want %d or a segment more", from, got, want)
		}
	}
	for _, limit := range []int64{1, 100 * each, 12_345 * each, frames*each + 1} {
		position := s.beyond(end, limit)
		kept := int64(end-position) / 10 * each
		if limit > frames*each {
			if position != 0 {
				t.Errorf("limit %d: beyond %d, want nothing", limit, position)
			}
			continue
		}
		if kept < limit || kept > limit+2*s.grain {
			t.Errorf("limit %d: %d bytes are kept", limit, kept)
		}
		// Counted from a place in the middle, somewhat more is kept, never less.
		if middle := s.beyond(end-5_005, limit); middle > 0 && int64(end-5_005-middle)/10*each < limit-each {
			t.Errorf("limit %d: from the middle on less is kept", limit)
		}
	}
	s.removed(1 + 10*10_000)
	if got, want := first(s.from(1)), 10_000*each; got < want || got > want+2*s.grain {
		t.Errorf("%d bytes are left, want %d", got, want)
	}
	s.removed(end)
	if got := first(s.from(1)); got != 0 {
		t.Errorf("%d bytes are left of nothing", got)
	}
}

func first(bytes int64, _ bool) int64 { return bytes }

// A start measures what is stored while more is appended and the oldest is
// removed, and comes to the same figures.
func TestSizes_Measured(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	for next := 0; next < 400; next += 10 {
		accepted(t, q, large(next, 10))
	}
	want := first(q.sizes.from(1))
	tail := first(q.sizes.from(201))
	stop()
	again, err := Open(t.Context(), Settings{Path: q.settings.Path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, known := again.sizes.from(1); known {
		t.Error("the sizes are known before anything was measured")
	}
	again.sizes.appended(401, 411, 40_000)
	if err := again.scanSizes(t.Context()); err != nil {
		t.Fatal(err)
	}
	grown := fileBytes(40_000)
	if got, known := again.sizes.from(1); got != want+grown || !known {
		t.Errorf("%d bytes, want %d", got, want+grown)
	}
	if got := first(again.sizes.from(201)); got < tail || got > tail+grown+2*segmentBytes {
		t.Errorf("%d bytes from the middle on, want %d", got, tail+grown)
	}
}

func usedBytes(conn *sqlite.Conn) (int64, error) {
	usage, err := conn.Usage()
	return usage.Used, err
}

// TestSizes_Replaced merges frames that lie in several segments.
func TestSizes_Replaced(t *testing.T) {
	s := sizes{}
	s.begin(0)
	for first := edge.Position(1); first <= 100; first++ {
		s.appended(first, first+1, 3*sqlite.PageBytes)
	}
	before, _ := s.from(1)
	behind, _ := s.from(91)
	if len(s.segments) < 3 {
		t.Fatalf("%d segments: the test needs several", len(s.segments))
	}
	s.replaced(11, 81, -500_000)
	if got, known := s.from(1); !known || got != before-500_000 {
		t.Errorf("%d bytes in all (known: %v), want %d", got, known, before-500_000)
	}
	if got, _ := s.from(91); got < behind {
		t.Errorf("%d bytes from 91 on, want the %d of before at least", got, behind)
	}
}
