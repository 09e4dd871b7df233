package crash_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// cycles is how often TestKill kills the gateway.
var cycles = flag.Int("cycles", 300, "cycles of TestKill")

const (
	// cyclesPerRound is after how many cycles TestKill begins with new files.
	cyclesPerRound = 100
	// acknowledgedMin is what each cycle acknowledges at least.
	acknowledgedMin = 1000

	// What a kill is worth: so many connections cut under such a load, with
	// acknowledgements on their way. Most cycles are, and 20 have to be.
	connections = 20
	rateMin     = 5_000
	lastMoment  = 50 * time.Millisecond
	underLoad   = 20
)

// TestKill starts the gateway, lets it acknowledge a thousand messages and more,
// and kills it at a random moment. Whatever it acknowledged is in both sinks in
// the end, once, in order, or waits for them in the file.
func TestKill(t *testing.T) {
	harness.SkipShort(t, "a minute")
	var total tally
	for round := 0; total.cycles < *cycles; round++ {
		t.Run(fmt.Sprintf("Round%d", round), func(t *testing.T) {
			r := newRig(t, binaries.Path("gateway"))
			began := time.Now()
			for range min(cyclesPerRound, *cycles-total.cycles) {
				r.cycle()
			}
			took := time.Since(began)
			drained := r.finishWell()
			total.add(t, r, took, drained)
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("in all: %v", &total)
	if total.underLoad < min(underLoad, *cycles) {
		t.Errorf("%d kills came under the load that the test is about, want %d", total.underLoad, underLoad)
	}
}

// cycle is one life of the gateway.
func (r *rig) cycle() {
	r.t.Helper()
	before := int64(0)
	if r.load != nil {
		before = r.load.Progress().Acknowledged
	}
	r.begin()
	r.awaitAcknowledged(before, acknowledgedMin)
	<-time.After(r.pause())
	r.kill()
}

// pause is a random while: most kills come soon, some after the gateway has
// moved its WAL.
func (r *rig) pause() time.Duration {
	longest := 20 * time.Millisecond
	if r.random.IntN(10) == 0 {
		longest = 400 * time.Millisecond
	}
	return time.Duration(r.random.Int64N(int64(longest)))
}

// tally is what many rounds come to.
type tally struct {
	cycles, underLoad, promised int
	took                        time.Duration
	duplicates                  map[string]int
	otherKey                    int
}

func (c *tally) String() string {
	return fmt.Sprintf("%d cycles in %v (%v each), %d of them under more than %d msg/s with acknowledgements in the last %v; %d acknowledged; duplicates %v (%.0f for a crash), %d under another key",
		c.cycles, c.took.Round(time.Second), (c.took / time.Duration(max(c.cycles, 1))).Round(time.Millisecond), c.underLoad, rateMin, lastMoment, c.promised,
		c.duplicates, float64(c.duplicates["archive"]+c.duplicates["analytics"])/2/float64(max(c.cycles, 1)), c.otherKey)
}

// add counts a round. How the load was follows from the generator's log.
func (c *tally) add(t *testing.T, r *rig, took time.Duration, report *verify.Report) {
	t.Helper()
	killed := r.lives[:len(r.lives)-1]
	under := 0
	for number, load := range r.loads(killed) {
		if load.acknowledged < acknowledgedMin {
			t.Errorf("cycle %d: %d acknowledged, want %d", number, load.acknowledged, acknowledgedMin)
		}
		if load.rate >= rateMin && load.late > 0 && killed[number].connected == connections {
			under++
		}
	}
	c.cycles += len(killed)
	c.underLoad += under
	c.promised += report.Promised
	c.took += took
	if c.duplicates == nil {
		c.duplicates = map[string]int{}
	}
	for _, sink := range report.Deliveries {
		c.duplicates[sink.Sink] += sink.Duplicates
		c.otherKey += sink.OtherKey
	}
	t.Logf("%d cycles, %v each, %d of them under the load that the test is about", len(killed), (took / time.Duration(len(killed))).Round(time.Millisecond), under)
}

// lifeLoad is what the generator saw of one life.
type lifeLoad struct {
	acknowledged, late int
	rate               float64 // per second, from the first acknowledgement to the end
}

// loads deals the generator's log out to lives.
func (r *rig) loads(lives []life) []lifeLoad {
	r.t.Helper()
	_, entries, err := acklog.Read(r.load.LogPath())
	harness.Must(r.t, err)
	loads, first := make([]lifeLoad, len(lives)), make([]time.Duration, len(lives))
	for _, entry := range entries {
		if entry.Sent {
			continue
		}
		// What was read after the kill was on its way before it.
		index := len(lives) - 1
		for index > 0 && entry.At < lives[index].began {
			index--
		}
		load := &loads[index]
		load.acknowledged++
		if entry.At > lives[index].ended-lastMoment {
			load.late++
		}
		if first[index] == 0 || entry.At < first[index] {
			first[index] = entry.At
		}
	}
	for index := range loads {
		loads[index].rate = float64(loads[index].acknowledged) / (lives[index].ended - first[index]).Seconds()
	}
	return loads
}
