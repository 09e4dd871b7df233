package dispatch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
)

const (
	backoffMin    = 100 * time.Millisecond // ceiling of the first delay
	backoffMax    = 30 * time.Second
	retryAfterMax = time.Hour
	probeMin      = 30 * time.Second // between looks at a misconfigured destination
	probeMax      = 60 * time.Second
	// A single failure among successes is not worth a line in the log; a
	// destination that fails this often in a row is.
	failuresToAnnounce = 3
)

// gate lets the slots of a lane try, or makes them wait.
//
//	       an attempt fails             the delay is over, one slot probes
//	open -------------------> closed -----------------------------------> probing
//	  ^                         ^                                          |   |
//	  |                         +------------ the probe fails -------------+   |
//	  +---------------- the probe gets an answer: delivered or rejected -------+
//
// Failures of attempts that began before the gate closed change nothing: a
// lane with eight attempts in flight would otherwise back off eight times for
// one outage. So do successes: they were under way when the destination asked
// for a rest.
type gate struct {
	mu         sync.Mutex
	closedBy   edge.Class // of the last failure; 0 while open
	closedAt   time.Time
	retryAt    time.Time
	failures   int // in a row, of one class
	failedSlot int // made the last failed attempt
	probing    bool
	generation int // counts closings; an attempt belongs to the one it began in
	waiting    int // slots inside enter
	announced  edge.Class
	changed    chan struct{} // closed and replaced when waiting slots should look again
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// enter waits until the slot may try, and returns what leave needs to know of
// the attempt. It returns false when ctx ends first.
//
// The slot that failed last lets another one probe, when one is waiting: if it
// is the batch that the destination cannot digest, the others still get through.
func (g *gate) enter(ctx context.Context, slot int) (generation int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	defer func() { g.waiting-- }()
	for ctx.Err() == nil {
		if g.closedBy == 0 {
			return g.generation, true
		}
		mayProbe := !g.probing && (slot != g.failedSlot || g.waiting == 1)
		delay := time.Until(g.retryAt)
		if mayProbe && delay <= 0 {
			g.probing = true
			return g.generation, true
		}
		var due <-chan time.Time
		if mayProbe {
			due = time.After(delay)
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
		}
		g.mu.Lock()
	}
	return 0, false
}

// news is what an attempt changed that is worth telling an operator.
type news struct {
	class edge.Class // Misconfigured, Unavailable, or Delivered for "answers again"; 0 is none
	since time.Time  // when the gate closed
}

// leave says what came of the attempt that enter let through.
func (g *gate) leave(generation, slot int, outcome edge.Outcome) news {
	g.mu.Lock()
	defer g.mu.Unlock()
	if generation != g.generation {
		g.extend(outcome)
		return news{}
	}
	if outcome.Class == edge.Delivered || outcome.Class == edge.Rejected {
		return g.open()
	}
	return g.close(slot, outcome)
}

// withdraw says that the attempt which enter let through is not made. Another
// slot may probe.
func (g *gate) withdraw(generation int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if generation == g.generation && g.closedBy != 0 {
		g.probing = false
		g.wake()
	}
}

// extend honours the Retry-After of a late failure.
func (g *gate) extend(outcome edge.Outcome) {
	retryAt := time.Now().Add(min(outcome.RetryAfter, retryAfterMax))
	if g.closedBy != 0 && outcome.RetryAfter > 0 && retryAt.After(g.retryAt) {
		g.retryAt = retryAt
		g.wake()
	}
}

func (g *gate) open() news {
	if g.closedBy == 0 {
		return news{}
	}
	told := news{since: g.closedAt}
	if g.announced != 0 {
		told.class = edge.Delivered
	}
	g.closedBy, g.announced, g.failures, g.probing = 0, 0, 0, false
	g.wake()
	return told
}

func (g *gate) close(slot int, outcome edge.Outcome) news {
	if g.closedBy == 0 {
		g.closedAt = time.Now()
	}
	if g.closedBy != outcome.Class {
		g.failures = 0
	}
	g.failures++
	g.closedBy, g.failedSlot, g.probing = outcome.Class, slot, false
	g.retryAt = time.Now().Add(delayAfter(outcome, g.failures))
	g.generation++
	g.wake()
	worthTelling := outcome.Class == edge.Misconfigured || g.failures >= failuresToAnnounce
	if !worthTelling || g.announced == outcome.Class {
		return news{}
	}
	g.announced = outcome.Class
	return news{class: outcome.Class, since: g.closedAt}
}

// delayAfter returns how long the lane rests after so many failures in a row.
// Jitter comes on top of Retry-After: every gateway was told the same moment.
func delayAfter(outcome edge.Outcome, failures int) time.Duration {
	if outcome.Class == edge.Misconfigured {
		return probeMin + rand.N(probeMax-probeMin+1)
	}
	ceiling := backoffMax
	if doublings := failures - 1; doublings < 16 {
		ceiling = min(ceiling, backoffMin<<doublings)
	}
	return max(0, min(outcome.RetryAfter, retryAfterMax)) + rand.N(ceiling+1)
}

// state returns why the gate is closed, 0 while it is open, and until when.
func (g *gate) state() (closedBy edge.Class, retryAt time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closedBy, g.retryAt
}

func (g *gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}
