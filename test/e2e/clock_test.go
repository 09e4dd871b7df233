package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// clockBox is a gateway whose wall clock, and whose machine's restarts, a test
// moves. The monotonic clock stays what it is, as it does when a real clock is
// set.
type clockBox struct {
	t        *testing.T
	gateway  *harness.Gateway
	receiver *harness.Receiver
	shift    string // file: seconds that the wall clock is ahead
	boot     string // file: id of the machine's start
}

// shiftedNow is what package time gets: its Now adds what a file says. The runtime
// calls Now where no file can be read, so a goroutine looks every 10 ms.
const shiftedNow = `
var shiftSeconds int64

func init() {
	readShift()
	go func() {
		for {
			Sleep(10 * Millisecond)
			readShift()
		}
	}()
}

func readShift() {
	name, _ := syscall.Getenv("TEST_CLOCK_SHIFT")
	fd, err := open(name)
	if err != nil {
		return
	}
	var text [32]byte
	n, _ := read(fd, text[:])
	closefd(fd)
	var value, sign int64 = 0, 1
	for _, c := range text[:max(n, 0)] {
		switch {
		case c == '-':
			sign = -1
		case c >= '0' && c <= '9':
			value = 10*value + int64(c-'0')
		}
	}
	shiftSeconds = sign * value
}
`

// buildShifted builds the gateway with the clock of the test.
func buildShifted(t *testing.T) string {
	t.Helper()
	goTime := filepath.Join(runtime.GOROOT(), "src", "time", "time.go")
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	binary, err := binaries.BuildOverlay(t.Context(), "gateway-clock", harness.Overlay{
		Changes: []harness.Change{
			{File: goTime, Old: "import (\n", New: "import (\n\t\"syscall\"\n"},
			{File: goTime, Old: now, New: shiftedNow + "\n" + now + "\tsec += shiftSeconds\n"},
			{File: "server/queue/uptime_linux.go", Old: `"/proc/sys/kernel/random/boot_id"`, New: `os.Getenv("TEST_CLOCK_BOOT")`},
		},
		Flags: []string{"-ldflags=-X main.builtAt=2026-11-01T00:00:00Z"},
	})
	harness.Must(t, err)
	return binary
}

func newClockBox(t *testing.T) *clockBox {
	b := &clockBox{t: t, gateway: newGateway(t), receiver: newReceiver(t, nil)}
	b.gateway.Binary = buildShifted(t)
	b.shift, b.boot = filepath.Join(b.gateway.Dir, "shift"), filepath.Join(b.gateway.Dir, "boot")
	b.gateway.Env = []string{"TEST_CLOCK_SHIFT=" + b.shift, "TEST_CLOCK_BOOT=" + b.boot}
	b.gateway.SetSinks(harness.HTTPSinkYAML("analytics", b.receiver.Address()))
	return b
}

// set moves the wall clock of the running gateway, and waits until it shows.
func (b *clockBox) set(ahead time.Duration) {
	b.t.Helper()
	b.write(b.shift, seconds(ahead))
	harness.Must(b.t, harness.Poll(harness.Within(b.t, 5*time.Second), "the clock to be set", func() (bool, error) {
		response, err := http.Get(b.gateway.URL("/healthz"))
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		shown, err := http.ParseTime(response.Header.Get("Date"))
		return shown.Sub(time.Now().Add(ahead)).Abs() < 5*time.Second, err
	}))
}

// write replaces a file at once: the gateway reads it meanwhile.
func (b *clockBox) write(path string, content []byte) {
	b.t.Helper()
	harness.Must(b.t, os.WriteFile(path+".new", content, 0o600))
	harness.Must(b.t, os.Rename(path+".new", path))
}

func seconds(d time.Duration) []byte { return fmt.Appendf(nil, "%d", int64(d.Seconds())) }

// start starts the gateway, after a restart of the machine when boot is new.
func (b *clockBox) start(boot string, ahead time.Duration) {
	b.t.Helper()
	b.write(b.boot, []byte(boot))
	b.write(b.shift, seconds(ahead))
	harness.Must(b.t, b.gateway.Start(b.t.Context()))
}

// trial runs on the present data folder and puts it back: after a restart of the
// machine the gateway believes its clock, and sooner or later writes that down.
func (b *clockBox) trial(run func()) {
	b.t.Helper()
	data := b.gateway.DataDir()
	before := data + ".before"
	harness.Must(b.t, os.CopyFS(before, os.DirFS(data)))
	run()
	harness.Must(b.t, os.RemoveAll(data))
	harness.Must(b.t, os.Rename(before, data))
}

// send posts one message; its answer says whether it is a duplicate.
func (b *clockBox) send(sequence int) (duplicate bool) {
	b.t.Helper()
	status, answer := post(b.t, b.gateway.URL("/ingest/dev-1"), "application/json",
		fmt.Appendf(nil, `{"schema_version":1,"metrics":{"n":%d},"boot_id":"b","sequence":%d}`, sequence, sequence))
	var receipt struct{ Duplicate bool }
	if err := json.Unmarshal([]byte(answer), &receipt); err != nil || status != http.StatusAccepted {
		b.t.Fatalf("message %d: %d %s", sequence, status, answer)
	}
	return receipt.Duplicate
}

// expect compares one metric with a range.
func (b *clockBox) expect(when, metric string, least, most float64) {
	b.t.Helper()
	if got, known := metrics(b.t, b.gateway)[metric]; !known || got < least || got > most {
		b.t.Errorf("%s: %s is %v (known: %v), want %v to %v", when, metric, got, known, least, most)
	}
}

// awaitArrivals waits until the receiver has so many messages.
func (b *clockBox) awaitArrivals(count int) map[uint64]harness.Record {
	b.t.Helper()
	arrived := map[uint64]harness.Record{}
	harness.Must(b.t, harness.Poll(harness.Within(b.t, 40*time.Second), fmt.Sprintf("%d messages", count), func() (bool, error) {
		for _, record := range b.receiver.Accepted() {
			arrived[*record.Sequence] = record
		}
		return len(arrived) >= count, nil
	}))
	return arrived
}

const (
	clockDay  = 24 * time.Hour
	clockYear = 365 * clockDay
)

// TestClock starts a board without a battery in 1970, sets its clock, and then
// makes it jump while messages wait for a receiver that is away: running, over a
// crash, and over a restart of the machine.
func TestClock(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	b := newClockBox(t)
	sent := b.startIn1970()

	awaitDrained(t, b.gateway, 10*time.Second) // its reply may still be on the way
	harness.Must(t, b.receiver.Close())
	for i, ahead := range []time.Duration{25 * time.Hour, 10 * clockYear, -time.Hour, -10 * clockYear} {
		name := fmt.Sprintf("a jump of %v", ahead)
		b.set(ahead)
		sent++
		b.send(sent)
		if !b.send(sent) || !b.send(1) {
			t.Errorf("%s: a repeated message was stored again", name)
		}
		b.expect(name, `gateway_queue_oldest_age_seconds{sink="analytics"}`, 0, 60)
		b.expect(name, `gateway_queue_depth_messages{sink="analytics"}`, float64(sent-2), float64(sent-2))
		harness.Must(t, b.gateway.Kill())
		b.start("machine-1", ahead)
		if !b.send(sent) || !b.send(1) {
			t.Errorf("%s and a crash: a repeated message was stored again", name)
		}
		b.expect(name+" and a crash", `gateway_queue_oldest_age_seconds{sink="analytics"}`, 0, 60)

		harness.Must(t, b.gateway.Kill())
		b.trial(func() {
			b.start(fmt.Sprintf("machine-%d", 100+i), ahead)
			b.expect(name+" and a restart of the machine", `gateway_queue_depth_messages{sink="analytics"}`, float64(sent-2), float64(sent-2))
			b.expect(name+" and a restart of the machine", `gateway_queue_oldest_age_seconds{sink="analytics"}`, 0, (8 * clockDay).Seconds())
			harness.Must(t, b.gateway.Kill())
		})
		b.start("machine-1", 0)
	}
	harness.Must(t, b.receiver.Open())
	records := b.awaitArrivals(sent)
	if len(b.receiver.Accepted()) != sent {
		t.Errorf("%d records arrived, %d were sent", len(b.receiver.Accepted()), sent)
	}
	// Ten years back is before the build: it was never the time.
	for i, ahead := range []time.Duration{25 * time.Hour, 10 * clockYear, -time.Hour, 0} {
		sequence := uint64(i + 3)
		if off := time.Until(records[sequence].ReceiveTS.Add(-ahead)).Abs(); off > time.Minute {
			t.Errorf("message %d was received at %v, which is %v off", sequence, records[sequence].ReceiveTS, off)
		}
	}
	b.expect("at the end", `gateway_dead_letters{reason="rejected",sink="analytics"}`, 0, 0)
	stop(t, b.gateway)
}

// startIn1970 sends a message before and one after the clock is set.
func (b *clockBox) startIn1970() (sent int) {
	t := b.t
	t.Helper()
	b.start("machine-1", time.Minute-time.Duration(time.Now().Unix())*time.Second) // a kernel takes a while to start
	b.send(1)
	b.expect("in 1970", "gateway_ingest_floored_timestamps_total", 1, 1)
	if got := b.awaitArrivals(1)[1].ReceiveTS; got.Year() < 2026 {
		t.Errorf("a message of 1970 was received at %v, want no earlier than the build", got)
	}
	for _, page := range []string{"/", "/readyz", "/version", "/metrics"} {
		response, err := http.Get(b.gateway.URL(page))
		harness.Must(t, err)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("in 1970 %s answers %d", page, response.StatusCode)
		}
	}
	b.set(0)
	b.send(2)
	if got := b.awaitArrivals(2)[2].ReceiveTS; time.Since(got).Abs() > time.Minute {
		t.Errorf("with the clock set, a message was received at %v", got)
	}
	b.expect("with the clock set", "gateway_ingest_floored_timestamps_total", 1, 1)
	return 2
}
