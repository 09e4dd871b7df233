package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that grow by an eighth, so that a
// quantile is right to about six per cent.
type histogram struct{ counts [40 * 8]int64 }

func (h *histogram) observe(duration time.Duration, count int64) {
	h.counts[bucket(duration)] += count
}

// bucket takes the three bits below the highest one: eight steps per octave.
func bucket(duration time.Duration) int {
	value := uint64(max(duration, 8))
	octave := bits.Len64(value) - 4
	return min(octave*8+int(value>>octave&7), len(histogram{}.counts)-1)
}

func (h *histogram) merge(other *histogram) {
	for i, count := range other.counts {
		h.counts[i] += count
	}
}

// quantile returns the upper end of the bucket that holds it, in milliseconds.
func (h *histogram) quantile(share float64) float64 {
	var total, below int64
	for _, count := range h.counts {
		total += count
	}
	for i, count := range h.counts {
		if below += count; count > 0 && float64(below) >= share*float64(total) {
			upper := uint64(i%8+9) << (i / 8)
			return float64(upper) / 1e6
		}
	}
	return 0
}
