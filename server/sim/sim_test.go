package sim_test

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"combotto.io/gateway/server/sim"
)

var (
	one   = flag.Uint64("seed", 0, "simulate this seed only, and print what happens")
	seeds = flag.Uint64("seeds", seedsDefault, "how many seeds to simulate")
	first = flag.Uint64("first", 1, "the first of them")
)

// TestSim runs seeds, as many at a time as there are processors.
func TestSim(t *testing.T) {
	if *one > 0 {
		report := sim.Run(t, *one)
		t.Log("\n" + strings.Join(report.Trace, "\n"))
		judge(t, *one, report)
		return
	}
	began := time.Now()
	total := &totals{fired: map[string]int{}}
	var next atomic.Uint64
	next.Store(*first)
	t.Run("Seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1) - 1; seed < *first+*seeds && !t.Failed(); seed = next.Add(1) - 1 {
					report := sim.Run(t, seed)
					judge(t, seed, report)
					total.add(report)
				}
			})
		}
	})
	total.print(t, time.Since(began))
	total.complain(t)
}

// judge fails the test when something happened that must not.
func judge(t *testing.T, seed uint64, report sim.Report) {
	t.Helper()
	if len(report.Failures) == 0 {
		return
	}
	tail := report.Trace[max(0, len(report.Trace)-40):]
	t.Errorf("seed %d fails; replay it with: make sim SEED=%d\n%s\nThe end of the trace:\n%s",
		seed, seed, strings.Join(report.Failures, "\n"), strings.Join(tail, "\n"))
}

// totals are the sums over all seeds.
type totals struct {
	mu                                    sync.Mutex
	seeds, operations, restarts, messages int
	fired                                 map[string]int
}

func (s *totals) add(report sim.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeds++
	s.operations += report.Operations
	s.restarts += report.Restarts
	s.messages += report.Messages
	for name, times := range report.Fired {
		s.fired[name] += times
	}
}

// kinds are the faults of which each has to strike within a thousand seeds.
var kinds = []string{
	"power cut", "power cut with unsynced writes", "process killed", "failed start",
	"write with power cut", "sync with power cut", "write with kill", "sync with kill",
	"write with input/output error", "write short with input/output error", "sync with input/output error", "read with input/output error",
	"write with no space left on device", "write short with no space left on device", "write without room",
	"read with flipped bit", "sync delayed", "sync of folder with input/output error", "rename with input/output error",
	"sink: 401", "sink: 503", "sink: connection refused", "sink: connection broken in the middle of the batch",
	"sink: accepted, but no reply until the deadline", "sink: no reply until the deadline", "sink: reply lost after acceptance",
	"sink: record rejected", "sink: batch rejected", "sink: panic",
	"refused: full", "refused: conflict", "duplicate at a sink",
	"sink removed", "sink returned", "sink deleted", "discarded with its sink", "dead letter of a deleted sink",
	"given up by a limit, or with a sink", "removed by retention", "removed by retention in bytes", "merged frame", "refused message evicted", "dead letter evicted",
}

// complain fails the test when some fault never struck, though there was time.
func (s *totals) complain(t *testing.T) {
	for _, kind := range kinds {
		if s.seeds >= 1000 && s.fired[kind] == 0 {
			t.Errorf("%q never happened in %d seeds: what it should find was not looked for", kind, s.seeds)
		}
	}
}

func (s *totals) print(t *testing.T, took time.Duration) {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.fired)) {
		fmt.Fprintf(&lines, "%10d  %s\n", s.fired[name], name)
	}
	t.Logf("%d seeds in %v: %d operations, %d messages, %d restarts; faults:\n%s", s.seeds, took.Round(time.Millisecond), s.operations, s.messages, s.restarts, lines.String())
}
