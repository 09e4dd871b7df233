package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
)

// sink is a destination that outlives processes of the gateway, and remembers
// what reached it.
type sink struct {
	w     *world
	index int

	mu        sync.Mutex
	random    *rand.Rand
	mood      mood
	wholesale bool // a batch with poison in it is rejected as a whole
	tolerant  bool // poison is taken now: somebody has mended the receiver
	busy      map[edge.DeviceID]int
	arrivals  map[edge.CorrelationID]*arrival
	highest   map[edge.DeviceID]edge.Position // of records that came in turn
	at        map[edge.Position]edge.CorrelationID
}

// arrival is one record that reached a sink.
type arrival struct {
	message *message
	times   int
	life    int    // of the last time
	doubted bool   // the gateway was not told the last time that it had arrived
	batch   string // in which it came the last time, if that was sealed
}

// mood is how likely a sink fails, and how.
type mood struct {
	percent int
	faults  []string
}

// The ways in which a sink fails.
const (
	faultRefused       = "sink: connection refused"
	faultBusy          = "sink: 503"
	faultHang          = "sink: no reply until the deadline"
	faultLost          = "sink: reply lost after acceptance"
	faultHalf          = "sink: connection broken in the middle of the batch"
	faultLate          = "sink: accepted, but no reply until the deadline"
	faultMisconfigured = "sink: 401"
	faultPanic         = "sink: panic"
	faultRecord        = "sink: record rejected"
	faultBatch         = "sink: batch rejected"
)

var moods = []mood{
	{},
	{10, []string{faultRefused, faultBusy, faultLost, faultHalf}},
	{50, []string{faultBusy, faultHang, faultLate, faultLost, faultHalf}},
	{100, []string{faultRefused}},
	{100, []string{faultHang, faultLate}},
	{30, []string{faultMisconfigured, faultPanic, faultLost}},
}

func newSink(w *world, index int) *sink {
	s := &sink{
		w: w, index: index, random: rand.New(rand.NewPCG(w.seed, uint64(3+index))), busy: map[edge.DeviceID]int{},
		arrivals: map[edge.CorrelationID]*arrival{}, highest: map[edge.DeviceID]edge.Position{}, at: map[edge.Position]edge.CorrelationID{},
	}
	s.wholesale = s.random.IntN(2) == 0
	s.change()
	return s
}

// poison draws which sinks will reject a record, as bits.
func poison(random *rand.Rand) int {
	if random.IntN(10) > 0 {
		return 0
	}
	return 1 + random.IntN(7)
}

// poisoned reports whether the sink rejects a record until it is mended.
func (s *sink) poisoned(payload []byte) bool {
	_, rest, found := strings.Cut(string(payload), `"poison":`)
	return found && (rest[0]-'0')>>s.index&1 == 1
}

// change puts the sink into another mood.
func (s *sink) change() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = pick(s.random, moods...)
	s.tolerant = s.tolerant || s.random.IntN(12) == 0
	s.w.note("sink %s: %d %% of %v, tolerant %v", sinkNames[s.index], s.mood.percent, s.mood.faults, s.tolerant)
}

// mend makes the sink work.
func (s *sink) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = mood{}
}

// connection is a sink as one process of the gateway reaches it.
type connection struct {
	sink *sink
	life *life
}

// Close implements [edge.Sink].
func (*connection) Close() error { return nil }

// Deliver implements [edge.Sink].
func (c *connection) Deliver(ctx context.Context, batch []edge.Delivery) edge.Outcome {
	s := c.sink
	fault, latency := s.begin(c.life, batch)
	defer s.end(batch)
	if !c.wait(ctx, latency) {
		return edge.Outcome{Class: edge.Unavailable, Status: "timeout"}
	}
	name := nameOf(batch)
	switch fault {
	case faultRefused:
		return edge.Outcome{Class: edge.Unavailable, Status: "connection refused"}
	case faultBusy:
		return edge.Outcome{Class: edge.Unavailable, Status: "503", RetryAfter: latency * 20}
	case faultMisconfigured:
		return edge.Outcome{Class: edge.Misconfigured, Status: "401"}
	case faultPanic:
		panic("a sink with a bug")
	case faultHang:
		c.wait(ctx, time.Hour)
		return edge.Outcome{Class: edge.Unavailable, Status: "timeout"}
	case faultLost, faultLate, faultHalf:
		switch {
		case fault == faultHalf && s.wholesale:
			batch = nil // half a batch is nothing to it
		case fault == faultHalf:
			batch = batch[:len(batch)/2]
		}
		s.accept(c.life, batch, name, true)
		if fault == faultLate {
			c.wait(ctx, time.Hour)
		}
		return edge.Outcome{Class: edge.Unavailable, Status: "connection reset"}
	}
	return s.accept(c.life, batch, name, false)
}

// wait lets time pass, until the attempt or the process ends.
func (c *connection) wait(ctx context.Context, latency time.Duration) bool {
	select {
	case <-time.After(latency):
		return true
	case <-ctx.Done():
	case <-c.life.gone:
	}
	return false
}

// nameOf returns the name of a sealed batch, made from its members; empty for any
// other.
func nameOf(batch []edge.Delivery) string {
	if !batch[0].Sealed {
		return ""
	}
	var name strings.Builder
	for i := range batch {
		fmt.Fprintf(&name, "%d ", batch[i].Record.Position)
	}
	return name.String()
}

// begin draws what becomes of an attempt. Two attempts at a time with the same
// device would give up its order.
func (s *sink) begin(l *life, batch []edge.Delivery) (fault string, latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	devices := map[edge.DeviceID]bool{}
	for i := range batch {
		devices[batch[i].Record.Device] = true
	}
	for device := range devices {
		if s.busy[device]++; s.busy[device] > 1 {
			s.w.fail("sink %s: two attempts at a time carry records of %s", sinkNames[s.index], device)
		}
	}
	latency = pick(s.random, 0, time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)
	if s.random.IntN(100) < s.mood.percent {
		fault = pick(s.random, s.mood.faults...)
		s.w.count(fault)
	}
	s.w.note("sink %s: %d records from %d (process %d): %s", sinkNames[s.index], len(batch), batch[0].Record.Position, l.number, fault)
	return fault, latency
}

func (s *sink) end(batch []edge.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		delete(s.busy, batch[i].Record.Device)
	}
}

// accept takes what it can of a batch. In doubt, the gateway does not hear of it.
func (s *sink) accept(l *life, batch []edge.Delivery, name string, doubted bool) edge.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-l.gone: // the process was dead before the bytes arrived
		return edge.Outcome{Class: edge.Unavailable, Status: "connection reset"}
	default:
	}
	outcome := edge.Outcome{Class: edge.Delivered, Status: "200"}
	for i := range batch {
		if !s.tolerant && s.poisoned(batch[i].Record.Payload) {
			outcome.Refused = append(outcome.Refused, edge.Refused{Index: i, Status: "422", Excerpt: "poison"})
		}
	}
	if len(outcome.Refused) > 0 && s.wholesale && !doubted {
		s.w.count(faultBatch)
		return edge.Outcome{Class: edge.Rejected, Status: "400", Excerpt: "poison"}
	}
	next := outcome.Refused
	for i := range batch {
		if len(next) > 0 && next[0].Index == i {
			next = next[1:]
			s.w.count(faultRecord)
			continue
		}
		if doubted && s.wholesale && len(outcome.Refused) > 0 {
			continue // the receiver takes all of a batch or nothing
		}
		s.arrive(l, &batch[i], name, doubted)
	}
	return outcome
}

// arrive judges one record that reached the sink. The caller holds mu.
func (s *sink) arrive(l *life, delivery *edge.Delivery, batch string, doubted bool) {
	record := &delivery.Record
	name := fmt.Sprintf("sink %s: record %d (%s)", sinkNames[s.index], record.Position, record.Correlation)
	m := s.w.fleet.find(record.Payload)
	if m == nil || m.device.id != record.Device {
		s.w.fail("%s of %s has a payload that nobody sent: %q", name, record.Device, record.Payload)
		return
	}
	if id, known := s.at[record.Position]; known && id != record.Correlation && !s.w.misread() {
		s.w.fail("%s has the position of %s", name, id)
	}
	s.at[record.Position] = record.Correlation
	known := s.arrivals[record.Correlation]
	if known == nil {
		s.arrivals[record.Correlation] = &arrival{message: m, times: 1, life: l.number, doubted: doubted, batch: batch}
		// What was rejected before, and is taken now, comes late: its dead letter
		// may have been lost in a crash, and then it is not even a requeued one.
		inTurn := delivery.Kind != edge.Requeue && !s.poisoned(record.Payload)
		if inTurn && record.Position < s.highest[record.Device] && !s.w.misread() {
			s.w.fail("%s of %s arrives after record %d", name, record.Device, s.highest[record.Device])
		}
		s.highest[record.Device] = max(s.highest[record.Device], record.Position)
		return
	}
	if known.life == l.number && !known.doubted && !s.w.misread() {
		s.w.fail("%s arrives twice without need", name)
	}
	// What was sealed comes again as it was, until the gateway knows what became of
	// it: a receiver that has the batch under its name already can tell. Of one that
	// has lost a member to a limit, the rest has another name.
	if !s.w.settings.givesUp(s.index) && known.batch != "" && known.batch != batch && delivery.Kind != edge.Requeue && !s.w.misread() {
		s.w.fail("%s was in batch %s, and comes again in batch %s", name, known.batch, batch)
	}
	s.w.count("duplicate at a sink")
	known.times, known.life, known.doubted, known.batch = known.times+1, l.number, doubted, batch
}
