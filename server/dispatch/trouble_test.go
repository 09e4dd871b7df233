package dispatch_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// trouble is a queue that has some.
type trouble struct {
	*edgetest.Queue
	sink edge.SinkID

	mu     sync.Mutex
	lease  error // what Lease fails with for the sink
	noRoom bool  // Settle waits until its context ends, as with a full disk
	asked  int   // calls of Lease for the sink
}

func (q *trouble) Lease(ctx context.Context, sink edge.SinkID, limit edge.LeaseLimit) ([]edge.Delivery, error) {
	if sink == q.sink {
		q.mu.Lock()
		q.asked++
		err := q.lease
		q.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	return q.Queue.Lease(ctx, sink, limit)
}

func (q *trouble) Settle(ctx context.Context, sink edge.SinkID, settlement edge.Settlement) error {
	q.mu.Lock()
	wait := sink == q.sink && q.noRoom
	q.mu.Unlock()
	if wait {
		<-ctx.Done()
		return ctx.Err()
	}
	return q.Queue.Settle(ctx, sink, settlement)
}

// mend ends all trouble.
func (q *trouble) mend() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lease, q.noRoom = nil, false
}

// TestDispatcher_LeaseFails damages what one sink would be lent next.
func TestDispatcher_LeaseFails(t *testing.T) {
	t.Run("PausesOnlyThatLane", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue := &trouble{Queue: edgetest.NewQueue(1, 2), sink: 1, lease: errors.New("frame 5 is damaged")}
			first, second := edgetest.NewSink(nil), edgetest.NewSink(nil)
			b := start(t, queue, map[edge.SinkID]edge.Sink{1: first, 2: second}, planned(1, 2, 10), planned(2, 2, 10))
			edgetest.Append(t, queue, edgetest.Entries(100, 7, 1, 2)...)
			advance(10*time.Minute + time.Second)
			if got := len(second.Accepted()); got != 100 {
				t.Errorf("the other sink accepted %d, want all", got)
			}
			if queue.asked != 21 {
				t.Errorf("the queue was asked %d times in ten minutes, want every 30 s", queue.asked)
			}
			lane := b.dispatcher.Stats()[0]
			if lane.State != edge.LanePaused || !strings.Contains(lane.LastError, "frame 5 is damaged; hint: ") || lane.LastErrorAt.IsZero() {
				t.Errorf("got %+v, want a paused lane that says why", lane)
			}
			if diff := cmp.Diff([]string{"the queue lends nothing to the sink, its lane is paused"}, b.lines(slog.LevelError)); diff != "" {
				t.Error(diff)
			}

			queue.mend()
			advance(29 * time.Second)
			if got := len(first.Accepted()); got != 100 {
				t.Errorf("the sink accepted %d, want all once its frame is mended", got)
			}
			if diff := cmp.Diff(edge.LaneStats{Sink: 1, LastSuccess: time.Now()}, b.dispatcher.Stats()[0]); diff != "" {
				t.Error(diff)
			}
			b.end()
		})
	})
	t.Run("StopsWhilePaused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue := &trouble{Queue: edgetest.NewQueue(1), sink: 1, lease: errors.New("frame 5 is damaged")}
			b := start(t, queue, only(edgetest.NewSink(nil)), planned(1, 1, 10))
			synctest.Wait()
			began := time.Now()
			b.end()
			if took := time.Since(began); took != 0 {
				t.Errorf("stopping took %v", took)
			}
		})
	})
	t.Run("EndsWithStoppingQueue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue := &trouble{Queue: edgetest.NewQueue(1, 2), sink: 2, lease: edge.NewStopping()}
			sinks := map[edge.SinkID]edge.Sink{1: edgetest.NewSink(nil), 2: edgetest.NewSink(nil)}
			b := start(t, queue, sinks, planned(1, 1, 1), planned(2, 1, 1))
			if err := <-b.stopped; err == nil || !strings.Contains(err.Error(), "sink-b") {
				t.Errorf("got %v, want an error that names the sink", err)
			}
		})
	})
}

// TestDispatcher_SettleWaits settles with a queue that has no room for more
// dead letters.
func TestDispatcher_SettleWaits(t *testing.T) {
	begin := func(t *testing.T) (*bench, *trouble) {
		queue := &trouble{Queue: edgetest.NewQueue(1), sink: 1, noRoom: true}
		reject := edgetest.NewSink(edgetest.Always(edge.Outcome{Class: edge.Rejected, Status: "422"}))
		b := start(t, queue, only(reject), planned(1, 1, 1))
		edgetest.Append(t, queue, edgetest.Entries(3, 1, 1)...)
		advance(time.Hour)
		select {
		case err := <-b.stopped:
			t.Fatalf("Run returned %v while the queue had no room", err)
		default:
		}
		return b, queue
	}
	t.Run("AsLongAsItTakes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, queue := begin(t)
			queue.mend()
			advance(time.Minute)
			if diff := cmp.Diff(edgetest.Account{Dead: 3}, queue.Account(1)); diff != "" {
				t.Error(diff)
			}
			b.end()
		})
	})
	t.Run("UntilStopped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, queue := begin(t)
			began := time.Now()
			b.stop()
			if err := <-b.stopped; err != nil {
				t.Errorf("Run: %v", err)
			}
			if took := time.Since(began); took > dispatch.DrainTimeout {
				t.Errorf("stopping took %v", took)
			}
			if diff := cmp.Diff(edgetest.Account{Due: 3}, queue.Account(1)); diff != "" {
				t.Errorf("what is not settled was not given back: %s", diff)
			}
		})
	})
}
