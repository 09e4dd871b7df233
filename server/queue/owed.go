package queue

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// owedSets gives each set of sinks a number, from 1 on. A set is written once
// and never changed, so records that name it keep it for ever.
type owedSets struct {
	all atomic.Pointer[[][]edge.SinkID] // index number-1; the slice is replaced, never changed

	mu         sync.Mutex
	numbers    map[string]uint32
	last       []edge.SinkID // what intern was asked for last: the plan's slice, nearly always
	lastNumber uint32
}

func newOwedSets() *owedSets {
	s := &owedSets{numbers: make(map[string]uint32)}
	s.all.Store(new([][]edge.SinkID))
	return s
}

// intern returns the number of a set. It keeps owed.
func (s *owedSets) intern(owed []edge.SinkID) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastNumber != 0 && sameSlice(owed, s.last) {
		return s.lastNumber
	}
	sorted := slices.Clone(owed)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	key := queuefile.FormatSinks(sorted)
	number, ok := s.numbers[key]
	if !ok {
		all := append(slices.Clone(*s.all.Load()), sorted)
		number = uint32(len(all))
		s.numbers[key] = number
		s.all.Store(&all)
	}
	s.last, s.lastNumber = owed, number
	return number
}

func sameSlice(a, b []edge.SinkID) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// sinks returns a set; an unknown number is empty.
func (s *owedSets) sinks(number uint32) []edge.SinkID {
	all := *s.all.Load()
	if number == 0 || int(number) > len(all) {
		return nil
	}
	return all[number-1]
}

// decode decodes a stored frame. One that names a set without a row says that the file
// has lost the row: nobody can tell what its records are owed to, so nobody decides
// anything about them.
func (q *Queue) decode(stored queuefile.StoredFrame) (*queuefile.Frame, error) {
	frame, err := q.decoder.DecodeStored(stored)
	if err != nil {
		return nil, err
	}
	if number := slices.Max(frame.Owed); int(number) > q.sets.count() {
		return nil, queuefile.NewUnknownSet(number, frame.First)
	}
	return frame, nil
}

// count returns how many sets there are.
func (s *owedSets) count() int { return len(*s.all.Load()) }

// write stores the sets above the first count, and returns how many there are.
func (s *owedSets) write(conn *sqlite.Conn, count int) (int, error) {
	all := *s.all.Load()
	for i := count; i < len(all); i++ {
		if err := queuefile.InsertSet(conn, int64(i+1), queuefile.FormatSinks(all[i])); err != nil {
			return 0, fmt.Errorf("save owed set: %w", err)
		}
	}
	return len(all), nil
}

// load reads the stored sets and returns how many there are.
func (s *owedSets) load(conn *sqlite.Conn) (int, error) {
	var all [][]edge.SinkID
	err := conn.Query(queuefile.SelectSets+" ORDER BY id", func(row sqlite.Row) error {
		stored := queuefile.ReadSet(row)
		members, err := stored.Members()
		if err != nil || stored.Number != int64(len(all)+1) || !stored.Holds() {
			return queuefile.NewRowError("owed set %d: %q", stored.Number, stored.Sinks)
		}
		all = append(all, members)
		s.numbers[stored.Sinks] = uint32(len(all))
		return nil
	})
	s.all.Store(&all)
	return len(all), err
}
