// Package dispatch brings what the queue holds to its sinks: a lane per sink
// leases deliveries, makes one attempt at a time with each batch, decides what
// the outcome means, and settles.
//
//	leaser --> lease --> slot 0: batch --> gate --> attempt --> decide --> settle
//	                     slot 1: batch -->      -->
//
// What it promises:
//
//   - Order. A device belongs to one slot ([edge.SlotOf]), a slot has one batch
//     in flight, and a batch that failed or was divided is finished before the
//     next one. So the records of a device reach a sink in order; requeued ones,
//     whose turn has passed, are the exception, and say so in their Kind.
//   - Isolation. Lanes share nothing; a sink that hangs costs only its own lane.
//   - Damage stays where it is. When the queue cannot lend to one sink, that lane
//     pauses, says so at level error, and asks again every 30 s. While a full
//     disk leaves no room for settlements, a lane waits.
//   - Patience. A destination that is down, busy or misconfigured costs no
//     record anything, however long it lasts. Only what the receiver refuses
//     because of its content, and what cannot be written in the sink's format,
//     becomes a dead letter.
//   - Bounds. A lane holds at most [edge.MaxLeased] deliveries and 8 MiB of
//     payload (and one record more); beyond that it leases nothing.
//
// What an outcome means:
//
//	delivered      the batch is acknowledged, except for the records refused one by one
//	unavailable    the lane waits and tries the same batch again: full jitter over
//	               100 ms doubling to 30 s, after what Retry-After asked for (at most 1 h)
//	misconfigured  the lane pauses and says so at level error; it looks again every 30
//	               to 60 s, so that a mended receiver needs nobody's help
//	rejected       a batch is halved until the offender is alone; one record alone is dead
//
// While a lane waits, one slot at a time tries; the others follow when that
// attempt gets an answer. A record that the sink could not write is dead of
// [edge.DeathEncoding], one that the receiver refused of [edge.DeathRejected].
//
// A sink whose batches have names has each batch sealed before its first attempt:
// it then repeats with the same members, even after a restart with another number
// of slots; see [edge.Leaser].
//
// Delivery is at least once: what was attempted but not settled when the
// process ends is attempted again. The package never closes a sink.
//
// A Dispatcher is safe for concurrent use. Tests run it in a testing/synctest
// bubble with the fakes of package edgetest.
package dispatch

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// DrainTimeout is how long Run waits, once its context has ended, for the
// attempts that are under way.
const DrainTimeout = 5 * time.Second

// Dispatcher runs the lanes of a plan.
type Dispatcher struct {
	lanes []*lane
}

// New builds a lane for every sink of the plan. The sinks stay the caller's,
// who closes them after Run has returned.
func New(plan *edge.Plan, leaser edge.Leaser, sinks map[edge.SinkID]edge.Sink, observer *observe.Observer) *Dispatcher {
	d := &Dispatcher{}
	for _, planned := range plan.Sinks {
		d.lanes = append(d.lanes, newLane(planned, leaser, sinks[planned.ID], observer))
	}
	return d
}

// Run delivers until ctx ends. It then leases nothing more, waits for attempts
// under way, for [DrainTimeout] at most, settles them, releases everything else
// and returns nil. An error means that the queue has ended, or that a lane
// settled what it had not leased.
func (d *Dispatcher) Run(ctx context.Context) error {
	for _, lane := range d.lanes {
		if lane.destination == nil {
			return fmt.Errorf("dispatch to sink %s: it is planned but was not built", lane.sink.Name)
		}
	}
	attempts, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { <-ctx.Done(); return nil }) // without lanes Run waits, too
	for _, lane := range d.lanes {
		group.Go(func() error { return lane.run(ctx, attempts) })
	}
	finished := make(chan error, 1)
	go func() { finished <- group.Wait() }()
	<-ctx.Done()
	select {
	case err := <-finished:
		return err
	case <-time.After(DrainTimeout):
		abandon()
		return <-finished
	}
}

// Stats returns a snapshot of every lane, in the order of the plan.
func (d *Dispatcher) Stats() []edge.LaneStats {
	stats := make([]edge.LaneStats, len(d.lanes))
	for i, lane := range d.lanes {
		stats[i] = lane.stats()
	}
	return stats
}
