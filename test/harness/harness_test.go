package harness_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
)

func record(device string, sequence uint64, receivedAt time.Time, took time.Duration) *harness.Record {
	return &harness.Record{DeviceID: device, BootID: "b", Sequence: &sequence, ReceiveTS: receivedAt, ArrivedAt: receivedAt.Add(took)}
}

func TestArrivals(t *testing.T) {
	arrivals, began := harness.NewArrivals(), time.Unix(1000, 0)
	for i, one := range []*harness.Record{
		record("a", 1, began, time.Millisecond),
		record("a", 3, began, 3*time.Millisecond),
		record("b", 1, began, 2*time.Millisecond),
		record("a", 2, began, 4*time.Millisecond), // late
		record("a", 3, began, 9*time.Second),      // again: its latency does not count
	} {
		if err := arrivals.Add(one); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if arrivals.Records != 5 || arrivals.Distinct() != 4 || arrivals.Duplicates != 1 || arrivals.Disordered != 1 {
		t.Errorf("%+v, %d distinct", arrivals, arrivals.Distinct())
	}
	lost := acklog.Identity{Device: "b", BootID: "b", Sequence: 2}
	if diff := cmp.Diff([]acklog.Identity{lost}, arrivals.Missing([]acklog.Identity{{Device: "a", BootID: "b", Sequence: 3}, lost})); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if took, messages := arrivals.Latency(began, began.Add(time.Second), 0.99); took != 4*time.Millisecond || messages != 4 {
		t.Errorf("p99 %v of %d messages", took, messages)
	}
	if err := arrivals.Add(&harness.Record{}); err == nil {
		t.Error("a record without an identity was counted")
	}
}

func TestProcess(t *testing.T) {
	start := func(t *testing.T, script string) *harness.Process {
		t.Helper()
		process, err := harness.Start("shell", filepath.Join(t.TempDir(), "log"), exec.Command("sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Kill() }) // Most are gone already.
		return process
	}
	t.Run("TellsItsExitCodeAndWhatItPrinted", func(t *testing.T) {
		process := start(t, "echo out; echo err >&2; exit 3")
		if code, err := process.Wait(t.Context()); code != 3 || err != nil || process.Log() != "out\nerr\n" {
			t.Errorf("exit code %d, %v, log %q", code, err, process.Log())
		}
	})
	t.Run("KillEndsItsChildrenToo", func(t *testing.T) {
		process := start(t, "sleep 1000 & echo $!; wait")
		var child int
		must(t, harness.Poll(t.Context(), "the child", func() (bool, error) {
			_, err := fmt.Sscan(process.Log(), &child)
			return err == nil, err
		}))
		if rss, err := process.RSS(); rss < 1<<10 || err != nil {
			t.Errorf("RSS %d, %v", rss, err)
		}
		must(t, process.Kill())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		must(t, harness.Poll(ctx, "the end of the child", func() (bool, error) { return !alive(child), nil }))
		must(t, process.Signal(syscall.SIGTERM)) // harmless
	})
	t.Run("WaitEndsWithItsContext", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := start(t, "sleep 1000").Wait(ctx); err == nil {
			t.Error("no error")
		}
	})
}

// alive reports whether a process runs; one that nobody has buried does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !bytes.Contains(status, []byte("State:\tZ"))
}

func TestReceiver(t *testing.T) {
	receiver, err := harness.NewReceiver(func(request harness.Request) harness.Answer {
		if len(request.Records) > 1 {
			return harness.Answer{Status: http.StatusUnprocessableEntity, Body: "one at a time"}
		}
		return harness.Accept
	})
	must(t, err)
	post := func(body string) (int, error) {
		response, err := http.Post("http://"+receiver.Address()+"/ingest", "application/x-ndjson", bytes.NewReader([]byte(body)))
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	for body, want := range map[string]int{"{\"device_id\":\"a\"}\n": 204, "{}\n{}\n": 422, "nonsense": 400} {
		if status, err := post(body); status != want || err != nil {
			t.Errorf("%q: status %d, %v", body, status, err)
		}
	}
	must(t, receiver.Close())
	if _, err := post("{}"); err == nil {
		t.Error("a closed receiver answers")
	}
	must(t, receiver.Open())
	if status, err := post(""); status != 204 || err != nil {
		t.Errorf("reopened: status %d, %v", status, err)
	}
	must(t, receiver.Close())
	if len(receiver.Requests()) != 3 || len(receiver.Accepted()) != 1 || receiver.Accepted()[0].DeviceID != "a" {
		t.Errorf("requests %+v, accepted %+v", receiver.Requests(), receiver.Accepted())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
