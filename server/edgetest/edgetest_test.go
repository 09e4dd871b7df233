package edgetest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func build(_ *testing.T, sinks ...edge.SinkID) edgetest.AppendLeaser {
	return edgetest.NewQueue(sinks...)
}

// buildSparse shows that the suites do not assume what only some queues do.
func buildSparse(_ *testing.T, sinks ...edge.SinkID) edgetest.AppendLeaser {
	return edgetest.NewSparseQueue(sinks...)
}

func TestQueue_Appender(t *testing.T) {
	t.Run("Dense", func(t *testing.T) { edgetest.TestAppender(t, build) })
	t.Run("Sparse", func(t *testing.T) { edgetest.TestAppender(t, buildSparse) })
}

func TestQueue_Leaser(t *testing.T) {
	t.Run("Dense", func(t *testing.T) { edgetest.TestLeaser(t, build) })
	t.Run("Sparse", func(t *testing.T) { edgetest.TestLeaser(t, buildSparse) })
}

func TestQueue_Requeue(t *testing.T) {
	queue := edgetest.NewQueue(1)
	edgetest.Append(t, queue, edgetest.Entries(3, 1, 1)...)
	leased, err := queue.Lease(t.Context(), 1, edge.LeaseLimit{Records: 2, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	settlement := edge.Settlement{Acked: leased[1:], Dead: []edge.Death{{Delivery: leased[0], Reason: edge.DeathRejected}}}
	if err := queue.Settle(t.Context(), 1, settlement); err != nil {
		t.Fatal(err)
	}
	if err := queue.Settle(t.Context(), 1, settlement); err == nil {
		t.Error("the second settlement of the same deliveries was taken")
	}
	if err := queue.Requeue(1, leased[0].Record.Position); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(edgetest.Account{Due: 2}, queue.Account(1)); diff != "" {
		t.Error(diff)
	}
	again, err := queue.Lease(t.Context(), 1, edge.LeaseLimit{Records: 2, Bytes: 1 << 20})
	if err != nil || again[0].Kind != edge.Requeue || again[1].Kind != edge.Live {
		t.Errorf("got %+v, %v, want the requeued record, then the live one", again, err)
	}
}

func TestSink_Deliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		sink := edgetest.NewSink(edgetest.Hold(release, edgetest.RefuseRecords(func(r edge.Record) bool { return r.Identity.Sequence == 1 })))
		batch := []edge.Delivery{{Record: edgetest.Record("dev-1", 0)}, {Record: edgetest.Record("dev-1", 1)}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if outcome := sink.Deliver(ctx, batch); outcome.Class != edge.Unavailable {
			t.Errorf("held: got %+v, want Unavailable", outcome)
		}
		go sink.Deliver(t.Context(), batch)
		go sink.Deliver(t.Context(), batch)
		synctest.Wait()
		close(release)
		synctest.Wait()
		if !sink.Overlapped() {
			t.Error("two calls with one device did not count as overlapping")
		}
		if got := len(sink.Accepted()); got != 2 {
			t.Errorf("accepted %d deliveries, want the first record of two calls", got)
		}
	})
}
