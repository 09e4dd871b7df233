package broker

import (
	"sync"

	"combotto.io/gateway/server/mqttwire"
)

// message is a publish on its way to subscribers.
type message struct {
	client     string // who published it
	topic      string
	payload    []byte
	qos        byte
	retain     bool
	properties mqttwire.Properties
}

func (m *message) bytes() int { return len(m.payload) + len(m.topic) }

// fanOut is the one worker through which messages reach subscribers. What waits
// for it is bounded by count and by bytes.
type fanOut struct {
	exchange *exchange
	metrics  *metrics

	mu      sync.Mutex
	work    sync.Cond
	room    sync.Cond
	waiting []message
	size    int // bytes of waiting
	closed  bool
}

const (
	fanOutMessages = 8192
	fanOutBytes    = 32 << 20
	// fanOutBatch is how much is delivered in one exclusive turn; clients have
	// theirs in between.
	fanOutBatch = 128
)

func newFanOut(exchange *exchange, metrics *metrics) *fanOut {
	f := &fanOut{exchange: exchange, metrics: metrics}
	f.work.L, f.room.L = &f.mu, &f.mu
	return f
}

// offer hands over a message if there is room, and counts it as dropped if
// not. It never blocks: the commit of telemetry must not wait for subscribers.
func (f *fanOut) offer(m message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full() {
		f.metrics.droppedFanOut.Inc()
		return
	}
	f.push(m)
}

// put hands over a message and waits for room, which slows its sender down. The
// worker always makes progress, so the wait is short. It reports false when the
// broker stops.
func (f *fanOut) put(m message) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.full() && !f.closed {
		f.room.Wait()
	}
	if !f.closed {
		f.push(m)
	}
	return !f.closed
}

func (f *fanOut) full() bool {
	return len(f.waiting) >= fanOutMessages || f.size >= fanOutBytes
}

func (f *fanOut) push(m message) {
	f.waiting = append(f.waiting, m)
	f.size += m.bytes()
	f.work.Signal()
}

func (f *fanOut) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.work.Broadcast()
	f.room.Broadcast()
}

// run delivers until the worker is closed. What waits then is not stored and
// goes with the sessions that it was meant for.
func (f *fanOut) run() {
	var spare []message
	for {
		f.mu.Lock()
		for len(f.waiting) == 0 && !f.closed {
			f.work.Wait()
		}
		if f.closed {
			f.mu.Unlock()
			return
		}
		taken := f.waiting
		f.waiting, f.size = spare[:0], 0
		f.room.Broadcast()
		f.mu.Unlock()

		for rest := taken; len(rest) > 0; {
			batch := rest[:min(len(rest), fanOutBatch)]
			f.exchange.deliver(batch)
			rest = rest[len(batch):]
		}
		clear(taken) // let go of the payloads
		spare = taken
	}
}
