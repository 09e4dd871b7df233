package queue_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

// TestQueue_Expire_property appends to, delivers to and crashes three sinks in
// random order: one keeps everything, one has a ttl and one a limit in bytes.
// Nothing expires that is not over the limit of its own sink, and nothing that is
// leased is lost without a report.
func TestQueue_Expire_property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var caught any
		synctest.Test(t, func(t *testing.T) {
			defer func() { caught = recover() }() // rapid fails by panicking in its own goroutine
			newExpiring(t, rt).run()
		})
		if caught != nil {
			panic(caught)
		}
	})
}

const (
	propertyTTL = time.Minute
	propertyLag = 400 << 10
	payloadEach = 3000
)

// expiring is the queue and what is known of each position.
type expiring struct {
	t     *testing.T
	rt    *rapid.T
	q     *running
	sinks []queue.SinkSpec
	at    []time.Time // of each append, by position-1
	came  [4]map[edge.Position]bool
}

func newExpiring(t *testing.T, rt *rapid.T) *expiring {
	e := &expiring{t: t, rt: rt, sinks: []queue.SinkSpec{
		{Name: "patient"}, {Name: "hasty", Limits: queue.Limits{TTL: propertyTTL}}, {Name: "small", Limits: queue.Limits{MaxLagBytes: propertyLag}},
	}}
	for i := range e.came {
		e.came[i] = map[edge.Position]bool{}
	}
	e.q = startWith(t, queue.Settings{RetentionDelivered: time.Second}, e.sinks...)
	return e
}

func (e *expiring) run() {
	e.rt.Repeat(map[string]func(*rapid.T){
		"append":  e.append,
		"deliver": e.deliver,
		"hold":    e.hold,
		"wait": func(rt *rapid.T) {
			<-time.After(time.Duration(rapid.IntRange(1, 40_000).Draw(rt, "milliseconds")) * time.Millisecond)
		},
		"crash": func(rt *rapid.T) {
			if rapid.IntRange(0, 2).Draw(rt, "crash") > 0 {
				return // starting takes most of the time
			}
			path := e.q.crash(e.t)
			e.q.close(e.t)
			e.q = startWith(e.t, queue.Settings{Path: path, RetentionDelivered: time.Second}, e.sinks...)
		},
		"": func(*rapid.T) {},
	})
	e.check()
	e.q.close(e.t)
}

func (e *expiring) append(rt *rapid.T) {
	count := rapid.IntRange(1, 60).Draw(rt, "count")
	edgetest.Append(e.t, e.q, noise(len(e.at), count, payloadEach, 1, 2, 3)...)
	for range count {
		e.at = append(e.at, time.Now())
	}
}

// due leases what is due for a sink, which may be nothing.
func (e *expiring) due(rt *rapid.T) (sink edge.SinkID, batch []edge.Delivery) {
	sink = edge.SinkID(rapid.IntRange(1, 3).Draw(rt, "sink"))
	if e.q.sink(sink).Pending-e.q.sink(sink).InFlight == 0 {
		return sink, nil
	}
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Second)
	defer cancel()
	batch, err := e.q.Lease(ctx, sink, edge.LeaseLimit{Records: rapid.IntRange(1, 100).Draw(rt, "records"), Bytes: 1 << 30})
	if stats := e.q.sink(sink); err != nil && stats.Pending > stats.InFlight { // what waited may have been given up just now
		e.t.Fatal(err)
	}
	return sink, batch
}

func (e *expiring) deliver(rt *rapid.T) {
	sink, batch := e.due(rt)
	if batch = e.q.Begin(sink, batch); len(batch) == 0 {
		return
	}
	for _, position := range positions(batch) {
		e.came[sink][position] = true
	}
	e.q.ack(e.t, sink, batch)
}

// hold keeps a batch for a while, and gives back what was not given up.
func (e *expiring) hold(rt *rapid.T) {
	sink, batch := e.due(rt)
	<-time.After(time.Duration(rapid.IntRange(1, 100_000).Draw(rt, "milliseconds")) * time.Millisecond)
	e.q.Release(sink, e.q.Begin(sink, batch))
}

// check lets the lanes catch up and looks at what never came.
func (e *expiring) check() {
	<-time.After(3 * time.Second)
	e.q.lost(e.t)
	e.q.recount(e.t)
	for sink := edge.SinkID(1); sink <= 3; sink++ {
		stats := e.q.sink(sink)
		if stats.Pending > 0 {
			for _, position := range positions(e.q.lease(e.t, sink, int(stats.Pending))) {
				e.came[sink][position] = true
			}
		}
		var missing []edge.Position
		for i := range e.at {
			if !e.came[sink][edge.Position(i+1)] {
				missing = append(missing, edge.Position(i+1))
			}
		}
		// After a crash what had come may come, or expire, once more.
		if int64(len(missing)) > stats.Expired {
			e.t.Errorf("sink %d lacks %d records, %d have expired", sink, len(missing), stats.Expired)
		}
		if len(missing) == 0 {
			continue
		}
		newest := slices.Max(missing)
		switch sink {
		case 1:
			e.t.Errorf("the sink without limits lost %v", missing)
		case 2:
			if age := time.Since(e.at[newest-1]); age <= propertyTTL {
				e.t.Errorf("position %d expired at an age of %v", newest, age)
			}
		case 3:
			if behind := (len(e.at) - int(newest)) * (payloadEach + 200); behind < propertyLag {
				e.t.Errorf("position %d expired with at most %d bytes behind it", newest, behind)
			}
		}
	}
}
