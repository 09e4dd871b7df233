package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
)

// What the mission asks of each cycle.
const (
	crashConnections = 20
	crashRateMin     = 5_000
	crashAckedMin    = 1_000
	crashRate        = "8000" // offered
	crashCycles      = 20
	crashSpoiledMax  = 10 // cycles in which the machine had other things to do
	lastMoment       = 50 * time.Millisecond
)

// TestCrash kills the gateway under load, again and again. Whatever it
// acknowledged is in both sinks in the end.
func TestCrash(t *testing.T) {
	skipShort(t, "a minute")
	crash := newCrash(t, binaries.Path("gateway"))
	crash.cycles()
	crash.finish()
	for sink, arrivals := range crash.arrivals {
		if missing := arrivals.Missing(crash.acknowledged); len(missing) > 0 {
			t.Errorf("%s lacks %d of %d acknowledged messages, such as %+v", sink, len(missing), len(crash.acknowledged), missing[0])
		}
		t.Logf("%s: %d acknowledged, %d distinct messages received, %d duplicates, %d out of order",
			sink, len(crash.acknowledged), arrivals.Distinct(), arrivals.Duplicates, arrivals.Disordered)
		if arrivals.Disordered > 0 {
			t.Errorf("%s: %d messages arrived first after a later one of their device", sink, arrivals.Disordered)
		}
	}
	if dead := crash.dead; dead > 0 {
		t.Errorf("%d dead letters: no sink ever refused anything", dead)
	}
}

// crash is a run of TestCrash, or of its mutant.
type crash struct {
	t            *testing.T
	gateway      *harness.Gateway
	received     string // file of the receiver process
	random       *rand.Rand
	acknowledged []acklog.Identity
	arrivals     map[string]*harness.Arrivals // by sink
	dead         int
}

func newCrash(t *testing.T, binary string) *crash {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crash{t: t, gateway: newGateway(t), random: rand.New(rand.NewPCG(seed, 0))}
	c.gateway.Binary = binary
	c.received = inDir(c.gateway, "received.txt")
	address := freeAddress(t)
	startReceiver(t, address, c.received)
	c.gateway.SetSinks(c.gateway.FileSinkYAML(), harness.HTTPSinkYAML("analytics", address))
	return c
}

// cycles repeats until enough of them counted. The evidence of those that do not
// count is kept too.
func (c *crash) cycles() {
	c.t.Helper()
	for number, counted := 0, 0; counted < crashCycles; number++ {
		if c.cycle(number) {
			counted++
		}
		if number-counted >= crashSpoiledMax {
			c.t.Fatalf("%d of %d cycles did not put the gateway under the load that the test is about", number+1-counted, number+1)
		}
	}
}

// cycle starts the gateway, kills it under load, and keeps the evidence. It
// reports whether the load was what the test is about.
func (c *crash) cycle(number int) (counts bool) {
	t := c.t
	t.Helper()
	must(t, c.gateway.Start(t.Context()))
	load := startLoad(t, c.gateway, fmt.Sprintf("cycle%02d", number), "--connections", "20", "--window", "100", "--rate", crashRate)
	pause := 500*time.Millisecond + time.Duration(c.random.Int64N(int64(700*time.Millisecond)))
	select {
	case <-time.After(pause):
	case <-load.Exited():
		t.Fatalf("cycle %d: the generator ended before the kill: %s", number, load.LogTail())
	}
	killedAt := acklog.Now()
	must(t, c.gateway.Kill())
	summary, err := load.Finish(within(t, 20*time.Second))
	must(t, err)
	identities, times, err := load.Acknowledged()
	must(t, err)
	c.acknowledged = append(c.acknowledged, identities...)

	late := 0
	for _, at := range times {
		if at > killedAt-lastMoment {
			late++
		}
	}
	t.Logf("cycle %2d: %6d acknowledged at %6.0f/s, %4d of them in the last %v, %d connections cut",
		number, len(identities), summary.Rate, late, lastMoment, summary.Broken)
	if summary.OutOfOrder > 0 {
		t.Errorf("cycle %d: %d acknowledgements overtook earlier ones", number, summary.OutOfOrder)
	}
	return len(identities) >= crashAckedMin && summary.Rate >= crashRateMin && late > 0 && summary.Broken == crashConnections
}

// finish lets the gateway deliver what is left and reads the sinks.
func (c *crash) finish() {
	t := c.t
	t.Helper()
	must(t, c.gateway.Start(t.Context()))
	awaitDrained(t, c.gateway, time.Minute)
	c.dead = len(deadLetters(t, c.gateway))
	stop(t, c.gateway)
	c.arrivals = map[string]*harness.Arrivals{"archive": readFileSink(t, c.gateway), "analytics": readReceived(t, c.received)}
}
