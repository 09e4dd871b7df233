package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// cutCalls is how many calls of the disk are looked at, and cutStride how far they
// lie apart: everything that these tests do takes fewer.
const (
	cutCalls  = 80
	cutStride = 2
)

// TestQueue_CutWhile cuts the power at many calls of the disk while a queue gives
// something up. Afterwards every record that a sink is owed waits for it, or is
// counted and reported as lost, once.
func TestQueue_CutWhile(t *testing.T) {
	for name, test := range map[string]struct {
		spec    SinkSpec
		before  func(t *testing.T, q *Queue)
		work    func(q *Queue)
		given   edge.LossKind
		atLeast int64 // lost in some of the runs
	}{
		"Expiring": {
			spec: SinkSpec{Name: "sink-1", Kind: "test", Limits: Limits{TTL: time.Second}}, before: func(*testing.T, *Queue) {},
			work: func(*Queue) { time.Sleep(10 * time.Second) }, given: edge.LossExpired, atLeast: 20,
		},
		"SettingAside": {
			spec: SinkSpec{Name: "sink-1", Kind: "test"}, before: func(t *testing.T, q *Queue) { damage(t, q, 5) },
			work: func(q *Queue) { leaseWhatThereIs(q, 1); time.Sleep(time.Second) }, given: edge.LossQuarantined, atLeast: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			lost, cuts := map[int64]int{}, 0
			for skip := 0; skip < cutCalls; skip += cutStride {
				synctest.Test(t, func(t *testing.T) {
					disk := simulated(t, 0)
					q, done := cutQueue(t, disk, test.spec)
					for i := range 10 {
						accepted(t, q, owedTo(large(2*i, 2), 1))
					}
					test.before(t, q)
					q.cache = frameCache{}
					disk.Inject(simdisk.Fault{Calls: simdisk.AnyCall, Skip: skip, Times: 1, Cut: true})
					test.work(q)
					if disk.Fired()["power cut"] > 0 {
						cuts++
					}
					disk.Heal()
					disk.Cut(simdisk.AnySurvival) // whatever was not synced is gone
					done()
					lost[accounted(t, disk, test.given)]++
				})
			}
			t.Logf("%d cuts; lost: %v", cuts, lost)
			if lost[test.atLeast] == 0 || cuts == 0 {
				t.Errorf("want %d lost in some of the runs", test.atLeast)
			}
		})
	}
}

// cutQueue runs a queue; done waits for its end, of which nothing is expected.
func cutQueue(t *testing.T, disk *simdisk.Disk, spec SinkSpec) (q *Queue, done func()) {
	t.Helper()
	q, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.EnsureSinks(t.Context(), []SinkSpec{spec}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = q.Run(ctx)
	}()
	return q, func() {
		cancel()
		<-ended
	}
}

// leaseWhatThereIs leases until nothing is due or the queue has ended.
func leaseWhatThereIs(q *Queue, sink edge.SinkID) (positions map[edge.Position]bool) {
	positions = map[edge.Position]bool{}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		deliveries, err := q.Lease(ctx, sink, edge.LeaseLimit{Records: 3, Bytes: 1 << 30})
		cancel()
		if err != nil {
			return positions
		}
		for i := range deliveries {
			positions[deliveries[i].Record.Position] = true
		}
	}
}

// accounted starts on what the power has left, without limits, and returns how
// many of the 20 records are lost. All others have to be due.
func accounted(t *testing.T, disk *simdisk.Disk, given edge.LossKind) (lost int64) {
	t.Helper()
	q, done := cutQueue(t, disk, SinkSpec{Name: "sink-1", Kind: "test"})
	defer done()
	due := leaseWhatThereIs(q, 1)
	time.Sleep(time.Second) // for what is set aside to be saved
	recount, err := q.Recount(t.Context())
	if err != nil || !recount.Balanced() {
		t.Errorf("%+v, %v", recount, err)
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 100)
	for _, loss := range losses {
		if lost += loss.Count; loss.Kind != given {
			err = errors.Join(err, fmt.Errorf("lost: %+v", loss))
		}
	}
	if stats := q.Stats().Sinks[0]; err != nil || lost+int64(len(due)) != 20 || stats.Expired+stats.Discarded != lost {
		t.Errorf("%d are lost and %d are due of 20: %+v, %v", lost, len(due), stats, err)
	}
	return lost
}
