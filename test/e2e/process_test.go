package e2e_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// exitOf runs serve once more beside whatever runs, and returns how it ended.
func exitOf(t *testing.T, gateway *harness.Gateway, limit time.Duration) (code int, log string) {
	t.Helper()
	process, err := gateway.Launch()
	harness.Must(t, err)
	harness.AtEnd(t, process.Kill)
	code, err = process.Wait(harness.Within(t, limit))
	harness.Must(t, err)
	return code, process.Log()
}

func TestServe(t *testing.T) {
	t.Run("SecondProcessOnTheSameDataFolderExitsWithThreeAtOnce", testSecondProcess)

	t.Run("KilledProcessLeavesTheDataFolderFree", func(t *testing.T) {
		gateway := newGateway(t)
		harness.Must(t, gateway.Start(t.Context()))
		harness.Must(t, gateway.Kill())
		harness.Must(t, gateway.Start(t.Context()))
		stop(t, gateway)
	})

	t.Run("WithoutDevExitsWithTwoAndSaysSo", func(t *testing.T) {
		gateway := newGateway(t)
		gateway.Args = nil
		if code, log := exitOf(t, gateway, 5*time.Second); code != 2 || !strings.Contains(log, "--dev") {
			t.Errorf("exit code %d, want 2, and a word of --dev: %s", code, log)
		}
	})

	t.Run("DevBeyondLoopbackExitsWithTwo", func(t *testing.T) {
		for _, flag := range []string{"--http-addr", "--mqtt-addr"} {
			for _, host := range []string{"0.0.0.0", "", "[::]"} {
				gateway := newGateway(t)
				_, port, err := net.SplitHostPort(freeAddress(t))
				harness.Must(t, err)
				gateway.Args = append(gateway.Args, flag, host+":"+port)
				if code, log := exitOf(t, gateway, 5*time.Second); code != 2 || !strings.Contains(log, "loopback") {
					t.Errorf("%s %q: exit code %d, want 2, and a word of loopback: %s", flag, host, code, log)
				}
			}
		}
	})

	t.Run("PortInUseExitsWithOne", func(t *testing.T) {
		first := newGateway(t)
		harness.Must(t, first.Start(t.Context()))
		second := newGateway(t)
		second.MQTTAddr = first.MQTTAddr
		if code, log := exitOf(t, second, 10*time.Second); code != 1 || !strings.Contains(log, second.MQTTAddr) {
			t.Errorf("exit code %d, want 1, and the address: %s", code, log)
		}
	})

	t.Run("UnknownKeyAndUnknownFlagExitWithTwo", func(t *testing.T) {
		gateway := newGateway(t)
		gateway.Config = "http:\n  adr: 127.0.0.1:1\n"
		if code, log := exitOf(t, gateway, 5*time.Second); code != 2 || !strings.Contains(log, "http.adr") {
			t.Errorf("exit code %d, want 2, and the key: %s", code, log)
		}
		gateway.Config = ""
		gateway.Args = append(gateway.Args, "--colour")
		if code, log := exitOf(t, gateway, 5*time.Second); code != 2 || !strings.Contains(log, "colour") {
			t.Errorf("exit code %d, want 2, and the flag: %s", code, log)
		}
	})
}

func testSecondProcess(t *testing.T) {
	first := newGateway(t)
	harness.Must(t, first.Start(t.Context()))
	second := newGateway(t)
	second.Args = append(second.Args, "--data-dir", first.DataDir())
	if code, log := exitOf(t, second, 5*time.Second); code != 3 {
		t.Errorf("exit code %d, want 3: %s", code, log)
	}
	if status, answer := post(t, first.URL("/ingest/dev-1"), "application/json", []byte(`{"schema_version":1,"metrics":{"a":1}}`)); status != 202 {
		t.Errorf("the first process answers %d: %s", status, answer)
	}
	stop(t, first)
	// The folder is free again.
	second.Args = second.Args[:1]
	second.Dir = first.Dir
	harness.Must(t, second.Start(t.Context()))
	stop(t, second)
}

func TestStop(t *testing.T) {
	t.Run("UnderLoadLosesNothingAndTakesLessThanTenSeconds", func(t *testing.T) {
		gateway := newGateway(t)
		received := inDir(gateway, "received.txt")
		address := freeAddress(t)
		startReceiver(t, address, received)
		gateway.SetSinks(gateway.FileSinkYAML(), harness.HTTPSinkYAML("analytics", address))
		harness.Must(t, gateway.Start(t.Context()))
		load := startLoad(t, gateway, "load", "--connections", "20", "--rate", "8000")
		watchMemory(t, gateway, load, 2*time.Second)

		began := time.Now()
		stop(t, gateway)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("SIGTERM under load took %v", took)
		} else {
			t.Logf("SIGTERM under load took %v", took.Round(time.Millisecond))
		}
		summary, err := load.Finish(harness.Within(t, 20*time.Second))
		harness.Must(t, err)
		if summary.Acknowledged < 10_000 || summary.Refused > 0 {
			t.Errorf("the load was %+v", summary)
		}

		harness.Must(t, gateway.Start(t.Context()))
		awaitDrained(t, gateway, 30*time.Second)
		stop(t, gateway)
		acknowledged, _, err := load.Acknowledged()
		harness.Must(t, err)
		for sink, arrivals := range map[string]*harness.Arrivals{"archive": readFileSink(t, gateway), "analytics": readReceived(t, received)} {
			if missing := arrivals.Missing(acknowledged); len(missing) > 0 {
				t.Errorf("%s lacks %d of %d acknowledged messages, such as %+v", sink, len(missing), len(acknowledged), missing[0])
			}
			if arrivals.Duplicates > 0 {
				t.Errorf("%s: %d duplicates after an orderly stop", sink, arrivals.Duplicates)
			}
		}
	})

	t.Run("DuringAnOutageOfASinkKeepsWhatIsOwed", func(t *testing.T) {
		gateway := newGateway(t)
		receiver := newReceiver(t, nil)
		harness.Must(t, receiver.Close())
		gateway.SetSinks(harness.HTTPSinkYAML("analytics", receiver.Address()))
		harness.Must(t, gateway.Start(t.Context()))
		const body = `{"schema_version":1,"boot_id":"b","sequence":1,"metrics":{"a":1}}`
		if status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/json", []byte(body)); status != 202 {
			t.Fatalf("status %d: %s", status, answer)
		}
		stop(t, gateway)
		harness.Must(t, receiver.Open())
		harness.Must(t, gateway.Start(t.Context()))
		awaitDrained(t, gateway, 30*time.Second)
		if got := receiver.Accepted(); len(got) != 1 || got[0].DeviceID != "dev-1" {
			t.Errorf("received %+v", got)
		}
	})
}
