package dispatch

import (
	"context"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
)

// requeuedMax bounds a batch of requeued records: each of them has its attempts
// reported by itself. See [settlements].
const requeuedMax = 32

// slot forms the batches of the devices that belong to it.
//
//	push --> [ | | | | | | ] --> take: closed by records, bytes, linger,
//	            pending           a change of kind, or a full lane
//
// What is pending is bounded by the lane, which leases for all its slots.
type slot struct {
	index int
	wake  chan struct{} // holds a token when pending or full changed

	mu      sync.Mutex
	resumed []work          // sealed before a restart; they come first
	after   []chan struct{} // closed when others have finished what came before
	pending []waiting       // the part of buffer that no batch has taken
	buffer  []waiting
	full    bool // the lane leases nothing until something is decided
}

// work is a batch to finish.
type work struct {
	batch  []edge.Delivery
	spread bool          // its devices belong to several slots
	done   chan struct{} // to be closed when it is finished; nil when nobody waits
}

// waiting is a delivery that no batch has taken yet.
type waiting struct {
	delivery edge.Delivery
	since    time.Time
}

// push adds those of the deliveries that the slot owns.
func (s *slot) push(deliveries []edge.Delivery, owners []int, now time.Time) {
	count := 0
	for _, owner := range owners {
		if owner == s.index {
			count++
		}
	}
	if count == 0 {
		return
	}
	s.mu.Lock()
	s.reserve(count)
	for i, owner := range owners {
		if owner == s.index {
			s.pending = append(s.pending, waiting{deliveries[i], now})
		}
	}
	s.full = false
	s.mu.Unlock()
	signal(s.wake)
}

// reserve makes room for so many more: where batches were taken from, when that is
// enough to be worth moving the rest.
func (s *slot) reserve(count int) {
	needed := len(s.pending) + count
	if needed <= cap(s.pending) {
		return
	}
	before := s.pending
	if 2*needed > cap(s.buffer) {
		s.buffer = make([]waiting, 0, 2*needed)
	}
	s.pending = s.buffer[:len(before)]
	moved := copy(s.pending, before)
	clear(s.buffer[moved:cap(s.buffer)]) // payloads are not kept alive
}

// bufferKept is how large a buffer an idle slot keeps.
const bufferKept = 256

// hurry closes a batch that waits for more records.
func (s *slot) hurry() {
	s.mu.Lock()
	s.full = true
	s.mu.Unlock()
	signal(s.wake)
}

// take waits for a batch. It returns false when ctx ends first.
func (s *slot) take(ctx context.Context, limit edge.BatchLimit) (work, bool) {
	for ctx.Err() == nil {
		if resumed, ok := s.takeResumed(ctx); ok {
			return resumed, true
		}
		batch, linger := s.closeBatch(limit, time.Now())
		if len(batch) > 0 {
			return work{batch: batch}, true
		}
		var due <-chan time.Time
		if linger > 0 {
			due = time.After(linger)
		}
		select {
		case <-s.wake:
		case <-due:
		case <-ctx.Done():
		}
	}
	return work{}, false
}

// closeBatch returns the next batch when it is complete, or else how long it
// may still wait for more; zero when nothing is pending.
func (s *slot) closeBatch(limit edge.BatchLimit, now time.Time) (batch []edge.Delivery, linger time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return nil, 0
	}
	count, complete := s.fit(limit)
	linger = s.pending[0].since.Add(limit.Linger).Sub(now)
	if !complete && !s.full && linger > 0 {
		return nil, linger
	}
	batch = make([]edge.Delivery, count)
	for i := range batch {
		batch[i] = s.pending[i].delivery
	}
	clear(s.pending[:count]) // payloads are not kept alive by what is behind them
	s.pending = s.pending[count:]
	if len(s.pending) == 0 && cap(s.buffer) > bufferKept {
		s.pending, s.buffer = nil, nil
	}
	return batch, 0
}

// fit counts the pending deliveries that belong into the next batch, and says
// whether no more of them could. Requeued records travel by themselves, so that
// no batch is late or out of order because of them.
func (s *slot) fit(limit edge.BatchLimit) (count int, complete bool) {
	requeued := s.pending[0].delivery.Kind == edge.Requeue
	records, size := limit.Records, 0
	if requeued {
		records = min(records, requeuedMax)
	}
	for ; count < len(s.pending); count++ {
		delivery := &s.pending[count].delivery
		size += len(delivery.Record.Payload)
		if count == records || (delivery.Kind == edge.Requeue) != requeued || count > 0 && size > limit.Bytes {
			return count, true
		}
	}
	return count, count == records
}

// drain takes everything that is pending.
func (s *slot) drain() []edge.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var deliveries []edge.Delivery
	for _, resumed := range s.resumed {
		deliveries = append(deliveries, resumed.batch...)
	}
	for i := range s.pending {
		deliveries = append(deliveries, s.pending[i].delivery)
	}
	s.resumed, s.pending, s.buffer = nil, nil, nil
	return deliveries
}
