// Package sim is a simulation of the whole gateway, without sockets: the real
// ingest, queue, SQLite and dispatch run on a disk that breaks, between devices
// that send again whatever was not acknowledged and sinks that fail in every way
// that sinks do; operators requeue dead letters, and remove, name again and delete
// a sink. It is used by tests only.
//
//	fleet --> ingest --> queue --> dispatch --> three faulty sinks
//	  ^         |          |
//	  +-- answers      simdisk: power cuts, torn writes, EIO, ENOSPC,
//	                            failed syncs, flipped bits, slow syncs
//
// Everything that is chosen is chosen by one seed: what devices send, what
// breaks, when, and how sinks answer. Time is virtual (testing/synctest). What
// no seed can choose is the order in which the runtime runs goroutines that are
// ready at the same moment: a failure that depends on it may take a few runs of
// its seed to come back.
//
// [Run] promises that a run has at least 200 operations, three faults and one
// restart, and that afterwards, with everything mended,
//
//   - every acknowledged message has arrived at each sink that was configured
//     then, or is a dead letter of it, with the payload that the device sent, or is
//     in the loss report by a limit or with its sink;
//   - the records of a device arrive in order, and one that arrives twice was in
//     doubt: its reply was lost, or its settlement in a crash;
//   - an acknowledgement names one record for ever: a repetition is answered with
//     the first id, and another payload is never taken for a repetition;
//   - the ledger balances, and the gateway is idle and stops in order.
//
// With a bit flipped while SQLite reads a page, less can be promised, because SQLite
// may write back what it has read: no altered payload arrives, and the gateway
// starts again. A bit that is flipped in any other read changes nothing, and a file
// is salvaged only when it is damaged.
package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite/simdisk"
)

const (
	operationsMin = 200
	faultsMin     = 3
	// failuresMax bounds what one run reports.
	failuresMax = 5
)

// Report is what happened in one run.
type Report struct {
	Operations int
	Restarts   int
	Messages   int
	Fired      map[string]int // faults by kind, and what else has to come up
	Failures   []string       // what must not happen; empty is good
	Trace      []string       // what did happen, by virtual time
}

// Run simulates one seed in a synctest bubble of its own.
func Run(t *testing.T, seed uint64) (report Report) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed)
		defer w.close()
		w.run()
		report = w.report()
	})
	return report
}

// world is everything that exists in one run. Its operations run one at a time,
// in the goroutine that called Run.
type world struct {
	seed     uint64
	random   *rand.Rand
	observer *observe.Observer
	settings settings
	disk     *simdisk.Disk
	fleet    *fleet
	sinks    [3]*sink
	ids      [3]edge.SinkID
	tenure   tenure  // of the third
	reigns   []reign // of the processes so far
	life     *life   // nil while no process runs

	began      time.Time
	operations atomic.Int64
	restarts   int
	plan       map[int]int // faults of the disk by operation
	full       bool        // the disk has a bound now
	flips      bool        // some reads return a wrong bit
	aside      []string    // files that were set aside, by name

	mu       sync.Mutex
	fired    map[string]int
	happened map[string]int // what is no fault
	failures []string
	trace    []string
}

func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, random: rand.New(rand.NewPCG(seed, 1)), observer: observe.NewDiscard(),
		disk: simdisk.New(simdisk.Settings{Seed: seed}), began: time.Now(), fired: map[string]int{}, happened: map[string]int{}, plan: map[int]int{},
	}
	w.settings = drawSettings(w.random)
	w.flips = w.random.IntN(20) == 0
	w.fleet = newFleet(w)
	for i := range w.sinks {
		w.sinks[i] = newSink(w, i)
	}
	for range faultsMin + w.random.IntN(6) {
		w.plan[10+w.random.IntN(operationsMin-20)]++
	}
	w.note("settings %+v, flipped bits %v", w.settings, w.flips)
	return w
}

// run lives through all operations, mends everything, and looks at the result.
func (w *world) run() {
	for ; w.goesOn(); w.operations.Add(1) {
		w.ensureLife()
		for range w.plan[int(w.operations.Load())] {
			w.breakDisk()
		}
		w.operate()
	}
	w.mend()
	w.endTenure()
	w.drain()
	if !w.failed() {
		w.verify()
	}
}

// goesOn reports whether another operation follows. A run that was too peaceful
// ends with the power cuts that it lacks.
func (w *world) goesOn() bool {
	operations := int(w.operations.Load())
	switch {
	case w.failed():
		return false
	case operations < operationsMin:
		return true
	case w.faults() >= faultsMin && w.restarts > 0 || operations > 2*operationsMin:
		return false
	}
	w.plan[operations+1]++
	return true
}

func (w *world) close() {
	if w.life != nil {
		w.disk.Kill()
		w.life.bury("the end")
		w.life = nil
	}
	w.disk.Close()
}

// fail notes what must not happen.
func (w *world) fail(format string, args ...any) {
	w.note("FAILURE: "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failures) < failuresMax {
		w.failures = append(w.failures, fmt.Sprintf(format, args...))
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failures) > 0
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%4d %12v  ", w.operations.Load(), time.Since(w.began))+fmt.Sprintf(format, args...))
}

// misread reports whether SQLite has read a page wrongly, so that less is promised.
func (w *world) misread() bool { return w.flips && w.disk.Fired()[simdisk.PageFlipped] > 0 }

// badReads returns how many reads returned a wrong bit, or nothing.
func (w *world) badReads() int {
	fired := w.disk.Fired()
	return fired["read with flipped bit"] + fired["read with "+syscall.EIO.Error()]
}

// count notes that a fault has struck.
func (w *world) count(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fired[fault]++
}

// happen notes something that had to come up.
func (w *world) happen(what string, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happened[what] += times
}

// faults returns how many have struck.
func (w *world) faults() (total int) {
	for name, times := range w.disk.Fired() {
		if !strings.HasPrefix(name, "power cut with") && name != simdisk.PageFlipped { // counted already
			total += times
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, times := range w.fired {
		total += times
	}
	return total
}

func (w *world) report() Report {
	fired := w.disk.Fired()
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(fired, w.fired)
	maps.Copy(fired, w.happened)
	return Report{
		Operations: int(w.operations.Load()), Restarts: w.restarts, Messages: len(w.fleet.messages),
		Fired: fired, Failures: w.failures, Trace: w.trace,
	}
}
