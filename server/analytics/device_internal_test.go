package analytics

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestBoot_Add compares runs with a plain set, for random arrivals.
func TestBoot_Add(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var b boot
		seen := make(map[uint64]bool)
		highest, lowest := uint64(0), uint64(1<<63)
		for range random.IntN(300) {
			sequence := random.Uint64N(400) + 1
			late, repeated := b.add(sequence)
			if repeated != seen[sequence] || late != (sequence < highest || repeated) {
				t.Fatalf("seed %d: %d is late=%v, repeated=%v, after %v", seed, sequence, late, repeated, b.runs)
			}
			seen[sequence] = true
			highest, lowest = max(highest, sequence), min(lowest, sequence)
			if want := int64(highest-lowest+1) - int64(len(seen)); b.missing() != want {
				t.Fatalf("seed %d: %d missing, want %d: %v", seed, b.missing(), want, b.runs)
			}
		}
	}
}

// TestBoot_Bound has more gaps than are kept: what is missing stays missing.
func TestBoot_Bound(t *testing.T) {
	var b boot
	for i := range uint64(10_000) {
		b.add(3 * i)
	}
	if got := b.missing(); got != 2*9_999 || len(b.runs) != runsMax {
		t.Errorf("%d missing in %d runs, want %d in %d", got, len(b.runs), 2*9_999, runsMax)
	}
}
