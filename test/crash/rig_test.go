package crash_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// The sinks of every rig: four batches at a time. Those of the file sink, which
// have no keys to count them by, are small, so that one too many shows.
const (
	sinkSlots    = 4
	sinkBatch    = 1000
	archiveBatch = 100
)

// rig is one gateway with its sinks and a generator that outlives it: the
// generator connects again whenever the gateway is back, and sends again what
// was not acknowledged.
type rig struct {
	t        *testing.T
	gateway  *harness.Gateway
	load     *harness.Load
	receiver *harness.Process
	address  string // of the receiver
	received string // its file
	random   *rand.Rand
	lives    []life
	doubted  []verify.Interval
	crashes  []verify.Crash
	damage   *verify.Damage // nil when the file was not spoilt
	disk     *harness.Disk  // nil without one of its own
}

// life is one run of the gateway, on the machine's monotonic clock.
type life struct {
	began, ended time.Duration
	connected    int // at the end
}

// newRig prepares everything and starts nothing but the receiver. It prints the
// seed of what it leaves to chance.
func newRig(t *testing.T, binary string) *rig {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	gateway, err := binaries.NewGateway(t.TempDir())
	harness.Must(t, err)
	gateway.Binary = binary
	r := &rig{t: t, gateway: gateway, random: rand.New(rand.NewPCG(seed, 0)), received: filepath.Join(gateway.Dir, "received.txt")}
	gateway.KillAtEnd(t)
	r.address, err = harness.FreeAddress()
	harness.Must(t, err)
	r.startReceiver()
	r.setSinks()
	return r
}

// setSinks makes the configuration, with further sinks at its end.
func (r *rig) setSinks(more ...string) {
	archive := fmt.Sprintf("  - {name: archive, kind: file, batch: {count: %d}, file: {dir: %q}}\n", archiveBatch, r.gateway.OutDir())
	r.gateway.SetSinks(append([]string{archive, harness.HTTPSinkYAML("analytics", r.address)}, more...)...)
}

// startReceiver starts the receiver, or starts it again.
func (r *rig) startReceiver() {
	r.t.Helper()
	receiver, err := binaries.StartReceiver(r.t.Context(), r.address, r.received)
	harness.Must(r.t, err)
	r.receiver = receiver
	harness.AtEnd(r.t, receiver.Kill)
}

// startLoad starts the generator at full rate; the gateway has to run. A tenth
// of all messages is sent twice in a row.
func (r *rig) startLoad(args ...string) {
	t := r.t
	t.Helper()
	load, err := binaries.StartLoad(r.gateway.Dir, "load", r.gateway.MQTTAddr, append([]string{
		"--connections", "20", "--window", "100", "--repeat", "10", "--reconnect", "--report", "2ms",
	}, args...)...)
	harness.Must(t, err)
	r.load = load
	harness.AtEnd(t, load.Kill)
}

// begin starts the gateway, and the generator with it the first time. It does
// not wait for the gateway to be ready: the generator does.
func (r *rig) begin() {
	r.t.Helper()
	r.lives = append(r.lives, life{began: acklog.Now()})
	if r.load != nil {
		r.launch()
		return
	}
	r.noteCrash()
	harness.Must(r.t, r.gateway.Start(r.t.Context()))
	r.startLoad()
}

// launch starts the gateway and does not wait.
func (r *rig) launch() {
	r.t.Helper()
	r.noteCrash()
	harness.Must(r.t, r.gateway.Begin())
}

// noteCrash notes what the sinks hold, when a gateway ran before.
func (r *rig) noteCrash() {
	r.t.Helper()
	if r.gateway.Process() == nil {
		return
	}
	// What the dead gateway had sent belongs to its own life, however late the
	// receiver is with it.
	harness.Must(r.t, harness.AwaitReceived(harness.Within(r.t, patience), r.address))
	files, err := filepath.Glob(filepath.Join(r.gateway.OutDir(), "*", "*.ndjson"))
	harness.Must(r.t, err)
	crash := verify.Crash{}
	for _, path := range append(files, r.received) {
		crash[filepath.Base(path)] = wholeLines(r.t, path)
	}
	r.crashes = append(r.crashes, crash)
}

// wholeLines returns where the last whole line of a file ends. The gateway cuts
// off what lies behind it.
func wholeLines(t *testing.T, path string) int64 {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	harness.Must(t, err)
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	harness.Must(t, err)
	tail := make([]byte, min(size, 64<<10))
	_, err = file.ReadAt(tail, size-int64(len(tail)))
	harness.Must(t, err)
	return size - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')+1)
}

// kill ends the gateway with SIGKILL and waits until the generator has written
// down what reached it.
func (r *rig) kill() {
	r.t.Helper()
	r.noteEnd()
	harness.Must(r.t, r.gateway.Kill())
	r.awaitCut()
}

// noteEnd notes the moment from which on nothing is acknowledged any more.
func (r *rig) noteEnd() {
	current := &r.lives[len(r.lives)-1]
	current.ended = acklog.Now()
	if r.load != nil {
		current.connected = r.load.Progress().Connected
	}
}

// awaitCut waits until no connection is left.
func (r *rig) awaitCut() {
	r.t.Helper()
	limit := time.After(patience)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for r.load.Progress().Connected > 0 {
		select {
		case <-ticker.C:
		case <-limit:
			r.t.Fatalf("the generator does not notice that the gateway is gone: %+v", r.load.Progress())
		}
	}
}

// awaitAcknowledged waits until the gateway that runs now has acknowledged so
// many messages.
func (r *rig) awaitAcknowledged(before, count int64) {
	r.t.Helper()
	r.await("enough acknowledgements", func() bool { return r.load.Progress().Acknowledged >= before+count })
}

// drain ends the load, lets the gateway deliver what is left, and stops it in
// order. The gateway runs.
func (r *rig) drain() {
	t := r.t
	t.Helper()
	r.await("a connected generator", func() bool { return r.load.Progress().Connected > 0 })
	harness.Must(t, r.load.Signal(syscall.SIGTERM))
	_, err := r.load.Finish(harness.Within(t, patience))
	harness.Must(t, err)
	r.awaitDrained(4 * patience)
	code, err := r.gateway.Stop(t.Context())
	harness.Must(t, err)
	if code != 0 {
		t.Errorf("SIGTERM: exit code %d, want 0", code)
	}
}

// evidence says where everything lies that the run has left.
func (r *rig) evidence(killed bool) verify.Run {
	return verify.Run{
		Log: r.load.LogPath(), Doubted: r.doubted, Queue: filepath.Join(r.gateway.DataDir(), "queue.db"), Killed: killed, Crashes: r.crashes, Damage: r.damage,
		Sinks: []verify.Sink{
			{Name: "archive", Folder: r.gateway.OutDir(), Slots: sinkSlots, Batch: archiveBatch},
			{Name: "analytics", Received: r.received, Slots: sinkSlots, Batch: sinkBatch, SameKey: true},
		},
	}
}

// verify judges the run. The report is returned also when something was found.
func (r *rig) verify(what string, killed bool) *verify.Report {
	r.t.Helper()
	report, err := verify.Check(r.evidence(killed))
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	r.t.Logf("%s, %d crashes: %v", what, len(r.lives), report)
	return report
}

// finish judges what the last crash has left as it lies there, then lets the
// gateway deliver the rest and judges that.
func (r *rig) finish() (killed, drained *verify.Report) {
	r.t.Helper()
	killed = r.verify("after the last crash", true)
	r.begin()
	r.drain()
	return killed, r.verify("when all was delivered", false)
}

// finishWell is finish for runs in which nothing may be found.
func (r *rig) finishWell() (drained *verify.Report) {
	r.t.Helper()
	killed, drained := r.finish()
	for _, report := range []*verify.Report{killed, drained} {
		if err := report.Err(); err != nil {
			r.t.Error(err)
		}
	}
	return drained
}
