package queue_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
)

// BenchmarkQueue_Drain is what a lane of four slots gets out of a backlog, in
// batches of 500, when its destination costs nothing: the worst case for sealing,
// which costs a commit that all slots share.
func BenchmarkQueue_Drain(b *testing.B) {
	for _, sealed := range []bool{false, true} {
		b.Run(fmt.Sprintf("sealed=%v", sealed), func(b *testing.B) {
			q := start(b, queue.Settings{Path: filepath.Join(b.TempDir(), "queue.db")}, 1)
			payloads := make([][]byte, b.N)
			for n := range payloads {
				payloads[n] = telemetry(1, n)
			}
			publish(b, q.Queue, 1, 5000, payloads, []edge.SinkID{1})
			b.ResetTimer()
			drain(b, q, sealed)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			q.close(b)
		})
	}
}

func drain(b *testing.B, q *running, sealed bool) {
	const slots, size = 4, 500
	batches := make(chan []edge.Delivery, slots)
	var working sync.WaitGroup
	for range slots {
		working.Go(func() {
			for batch := range batches {
				if sealed {
					if err := q.Seal(b.Context(), 1, batch); err != nil {
						b.Error(err)
					}
				}
				q.ack(b, 1, batch)
			}
		})
	}
	for left := b.N; left > 0; {
		leased, err := q.Lease(b.Context(), 1, edge.LeaseLimit{Records: size, Bytes: 8 << 20})
		if err != nil {
			b.Fatal(err)
		}
		left -= len(leased)
		batches <- leased
	}
	close(batches)
	working.Wait()
}
