package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// fleetSummary is what the test reads of devicesim's last log line.
type fleetSummary struct {
	Devices, Connects, Produced, Acknowledged, Refused, Abandoned, Dropped, Resent, Pending int
}

// startFleet starts devicesim; finish waits for its end and reads its account.
func startFleet(t *testing.T, gateway *harness.Gateway, args ...string) (finish func() fleetSummary) {
	t.Helper()
	command := exec.Command(binaries.Path("devicesim"), append([]string{"--broker", "mqtt://" + gateway.MQTTAddr, "--seed", "7"}, args...)...)
	process, err := harness.Start("devicesim", inDir(gateway, "devicesim.log"), command)
	harness.Must(t, err)
	harness.AtEnd(t, process.Kill)
	return func() fleetSummary {
		t.Helper()
		code, err := process.Wait(harness.Within(t, time.Minute))
		harness.Must(t, err)
		lines := strings.Split(strings.TrimSpace(process.Log()), "\n")
		var last struct {
			Message string       `json:"msg"`
			Fleet   fleetSummary `json:"fleet"`
		}
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || code != 0 || last.Message != "finished" {
			t.Fatalf("devicesim: exit code %d, %v\n%s", code, err, process.LogTail())
		}
		return last.Fleet
	}
}

// TestFleet lets simulated boards of every behaviour work, and kills the gateway
// below them.
func TestFleet(t *testing.T) {
	gateway := newGateway(t)
	gateway.SetSinks(gateway.FileSinkYAML())
	harness.Must(t, gateway.Start(t.Context()))
	finish := startFleet(t, gateway, "--devices", "8", "--behaviour", "normal,bursty,faulty,offline", "--interval", "50ms", "--duration", "8s")
	harness.Must(t, harness.Poll(harness.Within(t, 20*time.Second), "messages of the fleet", func() (bool, error) {
		values, err := gateway.Metrics(t.Context())
		if err != nil {
			return false, err
		}
		delivered := values[`gateway_sink_delivered_messages_total{sink="archive"}`]
		return delivered > 300, fmt.Errorf("%.0f messages are delivered", delivered)
	}))
	harness.Must(t, gateway.Kill())
	harness.Must(t, gateway.Start(t.Context()))
	fleet := finish()
	awaitDrained(t, gateway, 20*time.Second)
	stop(t, gateway)

	t.Logf("%+v", fleet)
	if fleet.Dropped > 0 || fleet.Pending > 0 || fleet.Refused+fleet.Abandoned == 0 || fleet.Resent == 0 || fleet.Connects < 2*fleet.Devices {
		t.Errorf("the fleet's account: %+v", fleet)
	}
	arrivals := harness.NewArrivals()
	sequences := map[string]map[uint64]bool{}
	harness.Must(t, harness.ReadFileSink(gateway.OutDir(), func(record *harness.Record) error {
		if sequences[record.DeviceID] == nil {
			sequences[record.DeviceID] = map[uint64]bool{}
		}
		sequences[record.DeviceID][*record.Sequence] = true
		return arrivals.Add(record)
	}))
	if arrivals.Disordered > 0 || arrivals.Distinct() > fleet.Acknowledged {
		t.Errorf("%d distinct messages of %d acknowledged arrived, %d out of order", arrivals.Distinct(), fleet.Acknowledged, arrivals.Disordered)
	}
	for device := range fleet.Devices {
		name := fmt.Sprintf("sim-%03d", device+1)
		// Every fourth board is faulty: what it breaks is missing, rightly.
		if faulty := device%4 == 2; !faulty && !dense(sequences[name]) {
			t.Errorf("%s: some of %d messages are missing", name, len(sequences[name]))
		}
	}
}

// dense reports whether the numbers are 1 to their count.
func dense(numbers map[uint64]bool) bool {
	for number := range uint64(len(numbers)) {
		if !numbers[number+1] {
			return false
		}
	}
	return len(numbers) > 0
}
