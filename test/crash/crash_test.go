// Package crash_test kills the real gateway, again and again, and lets package
// verify judge what is left: at random moments, at named places of the code, and
// with the power gone. It also builds gateways with faults, to see that the
// judge finds them.
package crash_test

import (
	"os"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// binaries are built once for all tests.
var binaries *harness.Binaries

func TestMain(m *testing.M) { os.Exit(harness.Main(m, &binaries)) }

// patience is how long a step of a real process may take on a busy machine.
const patience = time.Minute

// pollInterval is finer than the harness's: a cycle takes a tenth of a second.
const pollInterval = time.Millisecond

// await asks until done, or fails the test. It fails at once when the gateway is
// gone.
func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	r.awaitWithin(patience, what, done)
}

func (r *rig) awaitWithin(most time.Duration, what string, done func() bool) {
	r.t.Helper()
	limit := time.After(most)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-r.gateway.Process().Exited():
			r.t.Fatalf("the gateway ended before %s: %s", what, r.gateway.Process().LogTail())
		case <-r.load.Exited():
			r.t.Fatalf("the generator ended before %s: %s", what, r.load.LogTail())
		case <-limit:
			r.t.Fatalf("%v were not enough for %s: %+v\n%s", most, what, r.load.Progress(), r.gateway.Process().LogTail())
		}
	}
}

// awaitDrained waits until nothing is owed to any sink any more.
func (r *rig) awaitDrained(limit time.Duration) {
	t := r.t
	t.Helper()
	harness.Must(t, r.gateway.AwaitDrained(harness.Within(t, limit)))
}
