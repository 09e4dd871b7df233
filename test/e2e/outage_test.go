package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// outage is how long the sink of TestOutage is away.
var outage = flag.Duration("outage", 15*time.Second, "how long the sink of TestOutage is away")

// What the mission allows an outage to cost.
const (
	outageRate        = 10_000
	outageRSSMax      = 64 << 20
	outageLatencyMax  = 2.0
	outageWarmUp      = 5 * time.Second // not measured: connections, first files
	outageBefore      = 9 * time.Second
	outageAfter       = 5 * time.Second
	outageConnections = 50
)

// TestOutage takes one of two sinks away under load. The other must not notice,
// and the one that was away gets everything, in order, when it is back.
func TestOutage(t *testing.T) {
	if *outage < latencyPart {
		t.Fatalf("-outage must be at least %v", latencyPart)
	}
	harness.SkipShort(t, (outageWarmUp + outageBefore + *outage + outageAfter).String())
	gateway := newGateway(t)
	steadyFile, absentFile := inDir(gateway, "steady.txt"), inDir(gateway, "absent.txt")
	steadyAddress, absentAddress := freeAddress(t), freeAddress(t)
	startReceiver(t, steadyAddress, steadyFile)
	absent := startReceiver(t, absentAddress, absentFile)
	gateway.SetSinks(harness.HTTPSinkYAML("steady", steadyAddress), harness.HTTPSinkYAML("absent", absentAddress))
	harness.Must(t, gateway.Start(t.Context()))

	total := outageWarmUp + outageBefore + *outage + outageAfter
	load := startLoad(t, gateway, "load", "--connections", fmt.Sprint(outageConnections), "--rate", fmt.Sprint(outageRate), "--duration", total.String())
	watchMemory(t, gateway, load, outageWarmUp)
	measured := time.Now()
	memoryBefore := watchMemory(t, gateway, load, outageBefore)

	wentAway := time.Now()
	harness.Must(t, absent.Kill())
	memoryDuring := watchMemory(t, gateway, load, *outage)
	cameBack := time.Now()
	startReceiver(t, absentAddress, absentFile)
	memoryDuring = max(memoryDuring, watchMemory(t, gateway, load, outageAfter-time.Second))

	summary, err := load.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)
	awaitDrained(t, gateway, 2*time.Minute)
	drained := time.Since(cameBack)
	dead := len(deadLetters(t, gateway))
	stop(t, gateway)

	acknowledged, _, err := load.Acknowledged()
	harness.Must(t, err)
	steady, away := readReceived(t, steadyFile), readReceived(t, absentFile)
	for name, arrivals := range map[string]*harness.Arrivals{"steady": steady, "absent": away} {
		if missing := arrivals.Missing(acknowledged); len(missing) > 0 {
			t.Errorf("%s lacks %d of %d acknowledged messages, such as %+v", name, len(missing), len(acknowledged), missing[0])
		}
		if arrivals.Disordered > 0 {
			t.Errorf("%s: %d messages arrived first after a later one of their device", name, arrivals.Disordered)
		}
	}
	before, during := typicalLatency(steady, measured, wentAway), typicalLatency(steady, wentAway, cameBack)
	t.Logf("%d acknowledged at %.0f/s; the sink that stayed: p99 %v before, %v during the outage; "+
		"memory %d MiB before, at most %d MiB after; all delivered %v after the return; %d duplicates for the sink that was away",
		len(acknowledged), summary.Rate, before.Round(time.Microsecond), during.Round(time.Microsecond),
		memoryBefore>>20, memoryDuring>>20, drained.Round(time.Millisecond), away.Duplicates)
	wholeBefore, _ := steady.Latency(measured, wentAway, 0.99)
	wholeDuring, _ := steady.Latency(wentAway, cameBack, 0.99)
	t.Logf("over each phase as a whole, pauses of the machine included: p99 %v before, %v during the outage", wholeBefore, wholeDuring)
	if summary.Rate < outageRate*0.95 {
		t.Errorf("%.0f messages per second were acknowledged, want %d", summary.Rate, outageRate)
	}
	if float64(during) > outageLatencyMax*float64(before) {
		t.Errorf("p99 of the sink that stayed: %v before, %v during the outage of the other", before, during)
	}
	if memoryDuring-memoryBefore > outageRSSMax {
		t.Errorf("memory grew by %d MiB", (memoryDuring-memoryBefore)>>20)
	}
	if dead > 0 {
		t.Errorf("%d dead letters of an outage", dead)
	}
}

// latencyPart is what typicalLatency divides time into.
const latencyPart = 3 * time.Second

// typicalLatency is the median of the p99 of every part, so that a pause of the
// machine, which may fall before or into the outage, does not decide.
func typicalLatency(arrivals *harness.Arrivals, from, to time.Time) time.Duration {
	var quantiles []time.Duration
	for ; !from.Add(latencyPart).After(to); from = from.Add(latencyPart) {
		quantile, _ := arrivals.Latency(from, from.Add(latencyPart), 0.99)
		quantiles = append(quantiles, quantile)
	}
	slices.Sort(quantiles)
	return quantiles[len(quantiles)/2]
}

// watchMemory returns the most memory that the gateway held during a while. It
// fails the test when the gateway or the generator ends before.
func watchMemory(t *testing.T, gateway *harness.Gateway, load *harness.Load, while time.Duration) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var most int64
	for {
		select {
		case <-ctx.Done():
			return most
		case <-gateway.Process().Exited():
			t.Fatal("the gateway ended under load")
		case <-load.Exited():
			t.Fatalf("the generator ended early: %s", load.LogTail())
		case <-ticker.C:
			rss, err := gateway.Process().RSS()
			harness.Must(t, err)
			most = max(most, rss)
		}
	}
}
