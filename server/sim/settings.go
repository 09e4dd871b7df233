package sim

import (
	"math/rand/v2"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
)

// settings are what an operator could have chosen.
type settings struct {
	CommitInterval time.Duration
	Retention      time.Duration
	RetentionBytes int64 // of what is delivered
	// RetentionRemovedSink is how long the third sink is waited for.
	RetentionRemovedSink time.Duration
	MaxBytes             int64
	Devices              int
	Window               int // messages that a device sends without an answer
	Lanes                [3]edge.PlannedSink
	Limits               [3]queue.Limits
}

// givesUp reports whether records may be given up for a sink.
func (s *settings) givesUp(sink int) bool { return s.Limits[sink] != queue.Limits{} }

func pick[T any](random *rand.Rand, values ...T) T { return values[random.IntN(len(values))] }

func drawSettings(random *rand.Rand) settings {
	s := settings{
		CommitInterval: pick(random, 0, 0, 5*time.Millisecond, 50*time.Millisecond),
		Retention:      pick(random, time.Nanosecond, 200*time.Millisecond, 10*time.Second, time.Hour),
		// A small bound also makes the WAL wrap, which an unlimited queue does at
		// 64 MiB only.
		MaxBytes: pick[int64](random, 0, 1<<20, 3<<20, 16<<20),
		Devices:  1 + random.IntN(6),
		Window:   1 + random.IntN(12),
	}
	s.RetentionBytes = pick[int64](random, 0, 0, 4<<10)
	s.RetentionRemovedSink = pick(random, 0, 0, 2*time.Second)
	for i, name := range sinkNames {
		s.Lanes[i] = edge.PlannedSink{
			Name: name, Kind: "sim", Sealed: random.IntN(2) == 0, Concurrency: 1 + random.IntN(4), Timeout: pick(random, time.Second, 10*time.Second),
			Batch: edge.BatchLimit{Records: 1 + random.IntN(40), Bytes: pick(random, 4<<10, 1<<20), Linger: pick(random, 0, 20*time.Millisecond, time.Second)},
		}
		if random.IntN(6) == 0 {
			s.Limits[i] = pick(random, queue.Limits{TTL: time.Second}, queue.Limits{TTL: 10 * time.Second}, queue.Limits{MaxLagBytes: 8 << 10}, queue.Limits{MaxLagBytes: 64 << 10})
		}
	}
	return s
}

var sinkNames = [3]string{"first", "second", "third"}
