package dispatch_test

import (
	"context"
	"testing"

	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
)

// endless is a queue that never runs dry and a sink that takes everything, so
// that what is measured is the lane.
type endless struct {
	records  []edge.Record
	next     edge.Position
	accepted chan int
}

func (e *endless) Lease(ctx context.Context, _ edge.SinkID, limit edge.LeaseLimit) ([]edge.Delivery, error) {
	deliveries := make([]edge.Delivery, min(limit.Records, 2000))
	for i := range deliveries {
		e.next++
		deliveries[i].Record = e.records[int(e.next)%len(e.records)]
		deliveries[i].Record.Position = e.next
	}
	return deliveries, ctx.Err()
}

func (e *endless) Begin(_ edge.SinkID, batch []edge.Delivery) []edge.Delivery { return batch }

func (e *endless) Settle(ctx context.Context, _ edge.SinkID, settlement edge.Settlement) error {
	select {
	case e.accepted <- len(settlement.Acked):
	case <-ctx.Done():
	}
	return nil
}

func (e *endless) Seal(context.Context, edge.SinkID, []edge.Delivery) error { return nil }

func (e *endless) Release(edge.SinkID, []edge.Delivery) {}

func (e *endless) Deliver(context.Context, []edge.Delivery) edge.Outcome {
	return edge.Outcome{Class: edge.Delivered}
}

func (e *endless) Close() error { return nil }

// BenchmarkDispatcher says what a lane costs per record.
func BenchmarkDispatcher(b *testing.B) {
	e := &endless{accepted: make(chan int, 1)}
	for _, entry := range edgetest.Entries(1000, 100) {
		e.records = append(e.records, entry.Record)
	}
	dispatcher := dispatch.New(edge.NewPlan([]edge.PlannedSink{planned(1, 4, 500)}), e, only(e), observe.NewDiscard())
	ctx, cancel := context.WithCancel(b.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- dispatcher.Run(ctx) }()
	b.ReportAllocs()
	for delivered := 0; delivered < b.N; {
		delivered += <-e.accepted
	}
	b.StopTimer()
	cancel()
	for {
		select {
		case <-e.accepted: // a slot that settles its last batch
		case err := <-stopped:
			if err != nil {
				b.Fatal(err)
			}
			return
		}
	}
}
