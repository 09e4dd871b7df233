package e2e_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
)

// offline runs gatewayctl on files and returns what it printed, and its exit code.
func offline(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	command := exec.CommandContext(harness.Within(t, time.Minute), binaries.Path("gatewayctl"), args...)
	text, err := command.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(text), exit.ExitCode()
	}
	harness.Must(t, err)
	return string(text), 0
}

// expectWhole verifies a queue.
func expectWhole(t *testing.T, path string) {
	t.Helper()
	if output, code := offline(t, "queue", "verify", path); code != 0 {
		t.Errorf("gatewayctl queue verify exits with %d:\n%s", code, output)
	}
}

// identified is what arrived, and under which correlation ids.
type identified struct {
	*harness.Arrivals
	ids map[string]acklog.Identity
}

// take is for harness.ReadFileSink and harness.ReadReceived.
func (i *identified) take(record *harness.Record) error {
	identity := record.Identity()
	if other, known := i.ids[record.CorrelationID]; known && other != identity {
		return fmt.Errorf("%s is the id of %v and of %v", record.CorrelationID, other, identity)
	}
	i.ids[record.CorrelationID] = identity
	return i.Add(record)
}

// TestBackup backs a gateway up under load, and restores the backup into another
// one while the first goes on. What was acknowledged before is there, both balance,
// and no correlation id is given twice.
func TestBackup(t *testing.T) {
	harness.SkipShort(t, "15 s")
	first, second := newGateway(t), newGateway(t)
	received, address := inDir(second, "received.txt"), freeAddress(t)
	startReceiver(t, address, received)
	first.SetSinks(first.FileSinkYAML(), harness.HTTPSinkYAML("away", freeAddress(t)))
	second.SetSinks(second.FileSinkYAML(), harness.HTTPSinkYAML("away", address))
	harness.Must(t, first.Start(t.Context()))
	load := startLoad(t, first, "load", "--connections", "20", "--rate", "5000", "--duration", "6s")
	harness.Must(t, harness.Poll(harness.Within(t, time.Minute), "messages to back up", func() (bool, error) {
		return metrics(t, first)[`gateway_queue_depth_messages{sink="away"}`] > 10_000, nil
	}))

	began := acklog.Now()
	backup := inDir(first, "backup.db")
	if output := ctl(t, first, "queue", "backup", backup); !strings.Contains(output, "verified") {
		t.Errorf("gatewayctl queue backup prints %q", output)
	}
	took := acklog.Now() - began
	expectWhole(t, backup)
	if output, code := offline(t, "queue", "restore", "--data-dir", second.DataDir(), backup); code != 0 {
		t.Fatalf("gatewayctl queue restore exits with %d:\n%s", code, output)
	}
	expectWhole(t, filepath.Join(second.DataDir(), "queue.db"))
	harness.Must(t, second.Start(t.Context()))
	more := startLoad(t, second, "more", "--connections", "20", "--rate", "5000", "--duration", "2s", "--prefix", "more")
	summary, err := load.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)
	_, err = more.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)
	harness.Must(t, harness.Poll(harness.Within(t, time.Minute), "all in the archive", func() (bool, error) {
		return metrics(t, first)[`gateway_queue_depth_messages{sink="archive"}`] == 0, nil
	}))
	awaitDrained(t, second, time.Minute)
	for _, gateway := range []*harness.Gateway{first, second} {
		ctl(t, gateway, "ledger", "verify")
		stop(t, gateway)
		expectWhole(t, filepath.Join(gateway.DataDir(), "queue.db"))
	}

	original, restored := &identified{harness.NewArrivals(), map[string]acklog.Identity{}}, &identified{harness.NewArrivals(), map[string]acklog.Identity{}}
	harness.Must(t, harness.ReadFileSink(first.OutDir(), original.take))
	harness.Must(t, harness.ReadReceived(received, restored.take))
	before := expectAcknowledged(t, load, began, restored)
	newer, _, err := more.Acknowledged()
	harness.Must(t, err)
	if missing := restored.Missing(newer); len(missing) > 0 {
		t.Errorf("the restored gateway lacks %d of %d of its own, such as %+v", len(missing), len(newer), missing[0])
	}
	shared := 0
	for id, identity := range restored.ids {
		other, known := original.ids[id]
		if known && other != identity {
			t.Errorf("%s is %v for one gateway and %v for the other", id, other, identity)
		}
		if known {
			shared++
		}
	}
	if shared < before || len(restored.ids) != shared+len(newer) {
		t.Errorf("of %d ids of the restored gateway %d are old ones and %d messages are new", len(restored.ids), shared, len(newer))
	}
	t.Logf("%d acknowledged before the backup, which took %v; %d ids of the first gateway, %d of the second, %d of both; p99 of an acknowledgement %.1f ms, longest %.1f ms",
		before, took.Round(time.Millisecond), len(original.ids), len(restored.ids), shared, summary.P99, summary.Max)
}

// expectAcknowledged expects what was acknowledged before a moment, and returns how
// many messages that are.
func expectAcknowledged(t *testing.T, load *harness.Load, began time.Duration, arrived *identified) (before int) {
	t.Helper()
	acknowledged, times, err := load.Acknowledged()
	harness.Must(t, err)
	for n, identity := range acknowledged {
		if times[n] >= began {
			continue
		}
		if before++; !arrived.Has(identity) {
			t.Fatalf("%v was acknowledged before the backup and is not in it", identity)
		}
	}
	return before
}

// TestOperations_Killed kills gatewayctl again and again while it replaces the
// queue of a stopped gateway. What waited still waits, once.
func TestOperations_Killed(t *testing.T) {
	harness.SkipShort(t, "20 s")
	gateway := newGateway(t)
	gateway.SetSinks(harness.HTTPSinkYAML("away", freeAddress(t)))
	harness.Must(t, gateway.Start(t.Context()))
	load := startLoad(t, gateway, "load", "--connections", "10", "--count", "100000")
	_, err := load.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)
	stop(t, gateway)
	path, backup := filepath.Join(gateway.DataDir(), "queue.db"), inDir(gateway, "backup.db")
	if output, code := offline(t, "queue", "backup", "--data-dir", gateway.DataDir(), backup); code != 0 {
		t.Fatalf("gatewayctl queue backup exits with %d:\n%s", code, output)
	}
	killed := 0
	for n := range 16 {
		args := []string{"queue", "compact", "--data-dir", gateway.DataDir()}
		if n%2 == 0 {
			args = []string{"queue", "restore", "--force", "--data-dir", gateway.DataDir(), backup}
		}
		process, err := harness.Start("gatewayctl", inDir(gateway, "gatewayctl.log"), exec.Command(binaries.Path("gatewayctl"), args...))
		harness.Must(t, err)
		select {
		case <-process.Exited():
		case <-time.After(time.Duration(n) * 40 * time.Millisecond):
			killed++
		}
		harness.Must(t, process.Kill())
		expectWhole(t, path)
	}
	if killed == 0 {
		t.Error("nothing was killed")
	}
	received, address := inDir(gateway, "received.txt"), freeAddress(t)
	startReceiver(t, address, received)
	gateway.SetSinks(harness.HTTPSinkYAML("away", address))
	harness.Must(t, gateway.Start(t.Context()))
	awaitDrained(t, gateway, time.Minute)
	acknowledged, _, err := load.Acknowledged()
	harness.Must(t, err)
	arrived := readReceived(t, received)
	if missing := arrived.Missing(acknowledged); len(missing) > 0 || arrived.Duplicates > 0 {
		t.Errorf("%d of %d are missing, %d came twice", len(missing), len(acknowledged), arrived.Duplicates)
	}
	t.Logf("%d of 16 were killed", killed)
}
