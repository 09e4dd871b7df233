// Package crash_test kills the real gateway, again and again, and lets package
// verify judge what is left: at random moments, at named places of the code, and
// with the power gone. It also builds gateways with faults, to see that the
// judge finds them.
package crash_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// binaries are built once for all tests.
var binaries *harness.Binaries

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) (code int) {
	var err error
	if binaries, err = harness.Build(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := binaries.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// must stops the test when a step of its preparation did not work.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within returns a context that ends after a while, or with the test.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// skipShort skips tests that take more than a few seconds.
func skipShort(t *testing.T, takes string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("takes %s: left out by -short", takes)
	}
}

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
	ctx := within(t, limit)
	must(t, harness.Poll(ctx, "empty queues", func() (bool, error) {
		values, err := r.gateway.Metrics(ctx)
		if err != nil {
			return false, err
		}
		sinks, waiting := 0, 0.0
		for name, value := range values {
			if strings.HasPrefix(name, "gateway_queue_depth_messages{") {
				sinks++
				waiting += value
			}
		}
		return sinks > 0 && waiting == 0, fmt.Errorf("%.0f deliveries wait for %d sinks", waiting, sinks)
	}))
}
