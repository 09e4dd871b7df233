package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that grow by a 32nd, so that a quantile
// is right to three per cent.
type histogram struct{ counts [40 * steps]int64 }

// steps of an octave, and the bits that tell them apart.
const (
	stepBits = 5
	steps    = 1 << stepBits
)

func (h *histogram) observe(duration time.Duration, count int64) {
	h.counts[bucket(duration)] += count
}

// bucket takes the bits below the highest one.
func bucket(duration time.Duration) int {
	value := uint64(max(duration, steps))
	octave := bits.Len64(value) - stepBits - 1
	return min(octave*steps+int(value>>octave&(steps-1)), len(histogram{}.counts)-1)
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
			upper := uint64(i%steps+steps+1) << (i / steps)
			return float64(upper) / 1e6
		}
	}
	return 0
}
