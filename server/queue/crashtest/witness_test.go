package crashtest_test

import (
	"bytes"
	"fmt"
	"math"
	"sync"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// never is a moment that does not come. Moments are counts of changes of a disk.
const never = math.MaxInt

// witness knows what a queue was asked for and what it has promised, and when.
type witness struct {
	disk *simdisk.Disk

	mu       sync.Mutex
	messages map[string]*message // by payload
	appends  [][]*message
}

// message is one that was handed to the queue.
type message struct {
	record edge.Record
	append int // which call of Append brought it
	fates  [destinations]fate

	sent        int
	acked       int
	correlation edge.CorrelationID // once acked
	removed     int                // nobody saw it any more
}

// fate is what becomes of a message at one sink.
type fate struct {
	dead     bool // it is to become a dead letter
	settling int  // the queue was told
	settled  int  // the queue has had its time to make that durable
}

// destinations is how many sinks there are; their ids count from 1.
const destinations = 2

func newWitness(disk *simdisk.Disk) *witness {
	return &witness{disk: disk, messages: map[string]*message{}}
}

// sending notes that entries are about to be appended by one call.
func (w *witness) sending(entries []edge.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.disk.Now()
	var together []*message
	for i := range entries {
		m := &message{record: entries[i].Record, append: len(w.appends), sent: now, acked: never, removed: never}
		for s := range m.fates {
			m.fates[s] = fate{settling: never, settled: never}
		}
		w.messages[string(m.record.Payload)] = m
		together = append(together, m)
	}
	w.appends = append(w.appends, together)
}

// acked notes the answer to an entry.
func (w *witness) acked(append, index int, receipt edge.Receipt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.appends[append][index]
	m.acked, m.correlation = min(m.acked, w.disk.Now()), receipt.Correlation
}

// settling notes that the queue is about to be told what became of deliveries.
func (w *witness) settling(sink edge.SinkID, settlement edge.Settlement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.disk.Now()
	for _, delivery := range settlement.Acked {
		w.messages[string(delivery.Record.Payload)].fates[sink-1].settling = now
	}
	for _, death := range settlement.Dead {
		fate := &w.messages[string(death.Delivery.Record.Payload)].fates[sink-1]
		fate.settling, fate.dead = now, true
	}
}

// unsettled notes that the queue did not want to hear what became of deliveries,
// and so has changed nothing.
func (w *witness) unsettled(sink edge.SinkID, deliveries []edge.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range deliveries {
		w.messages[string(deliveries[i].Record.Payload)].fates[sink-1] = fate{settling: never, settled: never}
	}
}

// settled notes that everything the queue was told is durable.
func (w *witness) settled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.disk.Now()
	for _, m := range w.messages {
		for s := range m.fates {
			if fate := &m.fates[s]; fate.settling <= now {
				fate.settled = min(fate.settled, now)
			}
		}
	}
}

// removed notes that everything below a position has left the file.
func (w *witness) removed(below edge.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.disk.Now()
	for _, m := range w.messages {
		if m.acked <= now && m.correlation.Position() < below {
			m.removed = min(m.removed, now)
		}
	}
}

// whereabouts is where a message was found in a file.
type whereabouts struct {
	stored bool
	due    [destinations]bool
	dead   [destinations]bool
}

// recognise finds the message of a record and holds the two against each other.
func (w *witness) recognise(record *edge.Record) (*message, error) {
	m := w.messages[string(record.Payload)]
	if m == nil {
		return nil, fmt.Errorf("position %d holds what nobody sent: %.60q", record.Position, record.Payload)
	}
	if record.Device != m.record.Device || record.Identity != m.record.Identity || !bytes.Equal(record.Payload, m.record.Payload) {
		return nil, fmt.Errorf("position %d is not as it was sent: %+v", record.Position, record)
	}
	if m.acked != never && record.Correlation != m.correlation {
		return nil, fmt.Errorf("position %d has correlation id %v, the receipt said %v", record.Position, record.Correlation, m.correlation)
	}
	return m, nil
}

// judge holds what was found against what had been promised at a moment.
func (w *witness) judge(found map[*message]whereabouts, moment int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, together := range w.appends {
		stored, decided := 0, false
		for _, m := range together {
			where := found[m]
			if err := m.judge(where, moment); err != nil {
				return fmt.Errorf("message %d of device %s: %w", m.record.Identity.Sequence, m.record.Device, err)
			}
			if where.stored {
				stored++
			}
			decided = decided || m.decided(moment)
		}
		if stored > 0 && stored < len(together) && !decided {
			return fmt.Errorf("%d of %d messages are there that were appended together", stored, len(together))
		}
	}
	return nil
}

// decided reports whether every sink may be done with the message.
func (m *message) decided(moment int) bool {
	for s := range m.fates {
		if m.fates[s].settling > moment {
			return false
		}
	}
	return true
}

func (m *message) judge(where whereabouts, moment int) error {
	switch {
	case where != whereabouts{} && m.sent > moment:
		return fmt.Errorf("is there (%+v) before it was sent", where)
	case m.acked <= moment && !where.stored && !m.decided(moment):
		return fmt.Errorf("was acknowledged and is LOST (%+v)", where)
	case m.removed <= moment && where.stored:
		return fmt.Errorf("came back after it was removed")
	}
	for s := range m.fates {
		fate, due, dead := &m.fates[s], where.due[s], where.dead[s]
		toDie := fate.dead && fate.settling <= moment
		switch {
		case due && dead:
			return fmt.Errorf("sink %d is owed its dead letter", s+1)
		case due && fate.settled <= moment:
			return fmt.Errorf("sink %d is owed it again after it was settled", s+1)
		case dead && !toDie:
			return fmt.Errorf("sink %d has it as a dead letter and never refused it", s+1)
		case !due && !dead && m.acked <= moment && (fate.settling > moment || fate.dead):
			return fmt.Errorf("sink %d LOST it: neither due nor dead (%+v)", s+1, where)
		}
	}
	return nil
}
