package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

const (
	heldBytesMax = 8 << 20 // payload that a lane holds
	// settleTimeout is how long a settlement waits for room before the lane looks
	// whether it has to stop. It then waits on, however long the disk is full.
	settleTimeout = time.Second
	leaseRetry    = 30 * time.Second // after the queue could not lend
)

// lane brings the deliveries of one sink to it.
type lane struct {
	sink        edge.PlannedSink
	destination edge.Sink
	leaser      edge.Leaser
	log         *slog.Logger
	tracer      *observe.Tracer
	instruments instruments
	gate        *gate
	slots       []*slot
	freed       chan struct{} // holds a token when deliveries were decided since the last look
	owners      []int         // slots of the deliveries of a lease, whose memory is used again

	mu          sync.Mutex
	running     bool
	heldRecords int // leased, not yet decided
	heldBytes   int
	lastSuccess time.Time
	lastError   string
	lastErrorAt time.Time
	lendError   string // why the queue cannot lend; empty while it can
	lendErrorAt time.Time
}

func newLane(sink edge.PlannedSink, leaser edge.Leaser, destination edge.Sink, observer *observe.Observer) *lane {
	// A lane never holds more, so that a larger batch would wait in vain.
	sink.Batch.Records = min(sink.Batch.Records, edge.MaxLeased)
	sink.Batch.Bytes = min(sink.Batch.Bytes, heldBytesMax)
	l := &lane{
		sink: sink, destination: destination, leaser: leaser,
		log:    observer.Log.With("sink", sink.Name),
		tracer: observer.Tracer, instruments: newInstruments(sink.Name, observer.Metrics),
		gate: newGate(), freed: make(chan struct{}, 1),
	}
	for i := range sink.Concurrency {
		l.slots = append(l.slots, &slot{index: i, wake: make(chan struct{}, 1)})
	}
	return l
}

// run delivers until ctx ends. Attempts have their own context, which lasts
// longer.
func (l *lane) run(ctx, attempts context.Context) error {
	l.setRunning(true)
	defer l.setRunning(false)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.lease(ctx) })
	for _, slot := range l.slots {
		group.Go(func() error { return l.serve(ctx, attempts, slot) })
	}
	err := group.Wait()
	for _, slot := range l.slots {
		l.release(slot.drain())
	}
	return err
}

// lease fills the slots as long as the lane has room.
func (l *lane) lease(ctx context.Context) error {
	for {
		limit, ok := l.room(ctx)
		if !ok {
			return nil
		}
		deliveries, err := l.leaser.Lease(ctx, l.sink.ID, limit)
		switch {
		case err == nil:
			l.lendSucceeded()
			if deliveries[0].Sealed {
				l.resume(deliveries)
			} else {
				l.distribute(deliveries)
			}
		case ctx.Err() != nil:
			return nil
		case edge.AsError(err).Code == edge.Stopping:
			return fmt.Errorf("lease for sink %s: %w", l.sink.Name, err)
		default:
			l.lendFailed(err)
			select {
			case <-time.After(leaseRetry):
			case <-ctx.Done():
			}
		}
	}
}

// lendFailed pauses the lane. What cannot be read for one sink, as a damaged
// frame, is no reason to stop the others, or to take no messages any more.
func (l *lane) lendFailed(err error) {
	const hint = "nothing is given up, and the other sinks go on; look at the disk and the gateway's log. The lane tries again every 30 s"
	l.mu.Lock()
	known := l.lendError != ""
	l.lendError, l.lendErrorAt = fmt.Sprintf("%v; hint: %s", err, hint), time.Now()
	l.mu.Unlock()
	if !known {
		l.log.Error("the queue lends nothing to the sink, its lane is paused", "error", err, "hint", hint)
	}
}

func (l *lane) lendSucceeded() {
	l.mu.Lock()
	known := l.lendError != ""
	l.lendError, l.lendErrorAt = "", time.Time{}
	l.mu.Unlock()
	if known {
		l.log.Info("the queue lends to the sink again")
	}
}

// room waits until the lane may hold more, and says how much.
func (l *lane) room(ctx context.Context) (limit edge.LeaseLimit, ok bool) {
	for {
		l.mu.Lock()
		limit = edge.LeaseLimit{Records: edge.MaxLeased - l.heldRecords, Bytes: heldBytesMax - l.heldBytes}
		l.mu.Unlock()
		if limit.Records > 0 && limit.Bytes > 0 {
			return limit, true
		}
		for _, slot := range l.slots {
			slot.hurry() // waiting for more records to fill a batch is vain now
		}
		select {
		case <-l.freed:
		case <-ctx.Done():
			return edge.LeaseLimit{}, false
		}
	}
}

// distribute gives each delivery to the slot of its device.
func (l *lane) distribute(deliveries []edge.Delivery) {
	l.hold(deliveries)
	l.owners = l.owners[:0]
	for i := range deliveries {
		l.owners = append(l.owners, edge.SlotOf(deliveries[i].Record.Device, len(l.slots)))
	}
	now := time.Now()
	for _, slot := range l.slots {
		slot.push(deliveries, l.owners, now)
	}
}

func (l *lane) hold(deliveries []edge.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heldRecords += len(deliveries)
	l.heldBytes += payloadBytes(deliveries)
}

// serve is the life of one slot.
func (l *lane) serve(ctx, attempts context.Context, slot *slot) error {
	for {
		work, ok := slot.take(ctx, l.sink.Batch)
		if !ok {
			return nil
		}
		at := place{slot.index, len(l.slots)}
		if work.spread {
			at.slots = 1
		}
		if err := l.finish(ctx, attempts, at, work.batch); err != nil {
			return err
		}
		if work.done != nil {
			close(work.done)
		}
	}
}

// place is which slot makes an attempt, of how many. A batch from before a change
// of the concurrency may belong to several: it is then one of one.
type place struct{ slot, slots int }

// finish tries until every delivery of the batch is decided, or ctx ends.
func (l *lane) finish(ctx, attempts context.Context, at place, batch []edge.Delivery) error {
	// A stack: what to try next is last. Halving keeps it no deeper than the
	// logarithm of the batch.
	todo := [][]edge.Delivery{batch}
	defer func() {
		for _, rest := range todo {
			l.release(rest)
		}
	}()
	for number, first := 1, true; len(todo) > 0; first = false {
		generation, ok := l.gate.enter(ctx, at.slot)
		if !ok {
			return nil
		}
		if first && !batch[0].Sealed {
			markBackfill(batch, time.Now())
		}
		next := l.begin(todo[len(todo)-1])
		if todo[len(todo)-1] = next; len(next) == 0 {
			l.gate.withdraw(generation)
			todo, number = todo[:len(todo)-1], 1
			continue
		}
		if ok, err := l.seal(ctx, next); !ok {
			return err
		}
		attempt, outcome := l.attempt(attempts, next, number, at)
		decision := decide(next, outcome)
		if ok, err := l.settle(ctx, next, attempt, decision); !ok {
			return err
		}
		l.announce(l.gate.leave(generation, at.slot, outcome), outcome)
		l.record(attempt, len(decision.acked))
		if decision.again {
			number++
			continue
		}
		todo, number = todo[:len(todo)-1], 1
		for i := len(decision.parts) - 1; i >= 0; i-- {
			markSealed(decision.parts[i], false) // its name is another
			todo = append(todo, decision.parts[i])
		}
	}
	return nil
}

// begin drops what was given up since it was leased. What is left of a sealed
// batch gets another name.
func (l *lane) begin(batch []edge.Delivery) []edge.Delivery {
	due := l.leaser.Begin(l.sink.ID, batch)
	if len(due) == len(batch) {
		return due
	}
	markSealed(due, false)
	still := make(map[edge.Position]bool, len(due))
	for i := range due {
		still[due[i].Record.Position] = true
	}
	l.forget(slices.DeleteFunc(slices.Clone(batch), func(delivery edge.Delivery) bool { return still[delivery.Record.Position] }))
	return due
}

// markBackfill marks the records that waited for long before their first
// attempt. It is done once, so that a retry sends what the first attempt sent.
func markBackfill(batch []edge.Delivery, now time.Time) {
	for i := range batch {
		if batch[i].Kind == edge.Live && now.Sub(batch[i].Record.ReceivedAt) > edge.BackfillAge {
			batch[i].Kind = edge.Backfill
		}
	}
}

// release gives back what the lane will not decide.
func (l *lane) release(deliveries []edge.Delivery) {
	if len(deliveries) > 0 {
		l.leaser.Release(l.sink.ID, deliveries)
		l.forget(deliveries)
	}
}

func (l *lane) forget(deliveries []edge.Delivery) {
	l.mu.Lock()
	l.heldRecords -= len(deliveries)
	l.heldBytes -= payloadBytes(deliveries)
	l.mu.Unlock()
	signal(l.freed)
}

// record keeps what Stats shows.
func (l *lane) record(attempt edge.Attempt, acked int) {
	if acked > 0 {
		l.instruments.succeeded(acked, attempt.EndedAt)
	}
	closedBy, _ := l.gate.state()
	l.mu.Lock()
	defer l.mu.Unlock()
	if acked > 0 {
		l.lastSuccess = attempt.EndedAt
	}
	switch {
	case closedBy != 0 && closedBy != attempt.Class:
		// The late answer to an attempt that began before the lane had to wait:
		// it does not explain why the lane waits.
	case attempt.Class == edge.Delivered:
		l.lastError, l.lastErrorAt = "", time.Time{}
	default:
		l.lastError, l.lastErrorAt = describe(attempt.Status, attempt.Excerpt), attempt.EndedAt
	}
}

// logDeaths writes one line for the dead letters of a settlement. It speaks of
// the first one, whose ids it carries.
func (l *lane) logDeaths(ctx context.Context, dead []edge.Death) {
	if len(dead) == 0 {
		return
	}
	first := &dead[0]
	record := &first.Delivery.Record
	ctx = observe.WithCorrelation(ctx, record.Correlation.String())
	if trace, ok := observe.ParseTraceParent(record.TraceParent); ok {
		ctx = observe.ContextWith(ctx, trace)
	}
	l.log.WarnContext(ctx, "records became dead letters", "count", len(dead),
		"reason", first.Reason, "status", first.Status, "excerpt", first.Excerpt, "hint", "gatewayctl dlq list shows them all")
}

// announce tells the operator, once, that the destination changed its mind.
func (l *lane) announce(told news, outcome edge.Outcome) {
	attributes := []any{"status", outcome.Status, "excerpt", outcome.Excerpt}
	switch told.class {
	case edge.Misconfigured:
		hint := "nothing is lost; mend the sink's settings or its receiver, which is asked again every minute"
		l.log.Error("sink is misconfigured, its lane is paused", append(attributes, "hint", hint)...)
	case edge.Unavailable:
		l.log.Warn("sink is busy or down, its lane waits", attributes...)
	case edge.Delivered:
		l.log.Info("sink answers again", "status", outcome.Status, "after", time.Since(told.since).Round(time.Millisecond))
	}
}

func (l *lane) setRunning(running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = running
}

func (l *lane) stats() edge.LaneStats {
	closedBy, retryAt := l.gate.state()
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := edge.LaneStats{Sink: l.sink.ID, LastSuccess: l.lastSuccess, LastError: l.lastError, LastErrorAt: l.lastErrorAt}
	switch {
	case !l.running:
		stats.State = edge.LaneStopped
	case l.lendError != "":
		stats.State, stats.LastError, stats.LastErrorAt = edge.LanePaused, l.lendError, l.lendErrorAt
	case closedBy == edge.Misconfigured:
		stats.State = edge.LanePaused
	case closedBy == edge.Unavailable:
		stats.State, stats.RetryAt = edge.LaneWaiting, retryAt
	case l.heldRecords > 0:
		stats.State = edge.LaneActive
	}
	return stats
}

func payloadBytes(deliveries []edge.Delivery) int {
	size := 0
	for i := range deliveries {
		size += len(deliveries[i].Record.Payload)
	}
	return size
}

// signal leaves a token for a waiter, unless one is there already.
func signal(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}
