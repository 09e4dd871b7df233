package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
)

// retention is a way to give up what a sink does not fetch, under load.
type retention struct {
	limits   string // of the sink that is away
	config   string
	reason   string        // in the loss report
	duration time.Duration // of the load
	pause    time.Duration // between batches
	metric   string        // that has to keep to a budget
	budget   float64
}

const maxBytes = 96 << 20 // of the queue

// TestRetention keeps a sink away, under load, while a limit of size or of age
// gives up what it is owed. Sampled all the while, nothing exceeds its budget by
// more than 5 %, on the disk neither, WAL, reserve and free pages included. In the
// end the sink lacks what the loss report says, device by device.
func TestRetention(t *testing.T) {
	for name, test := range map[string]retention{
		"Size": {
			limits: ", required: false, max_lag_bytes: 32MiB", config: "retention: {delivered: 1s, delivered_bytes: 8MiB}\n", reason: "max_lag_bytes",
			duration: 12 * time.Second, metric: `gateway_queue_pinned_bytes{sink="absent"}`, budget: 32 << 20,
		},
		"Age": {
			config: "retention: {delivered: 1s, undelivered: 30s}\n", reason: "undelivered",
			duration: 35 * time.Second, pause: 200 * time.Millisecond, metric: `gateway_queue_oldest_age_seconds{sink="absent"}`, budget: 30,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

func (r *retention) run(t *testing.T) {
	harness.SkipShort(t, (r.duration + 5*time.Second).String())
	gateway := newGateway(t)
	steadyFile, absentFile := inDir(gateway, "steady.txt"), inDir(gateway, "absent.txt")
	steadyAddress, absentAddress := freeAddress(t), freeAddress(t)
	startReceiver(t, steadyAddress, steadyFile)
	gateway.SetSinks(harness.HTTPSinkYAML("steady", steadyAddress),
		fmt.Sprintf("  - {name: absent, kind: http, http: {url: \"http://%s/ingest\", format: ndjson}%s}\n", absentAddress, r.limits))
	gateway.Config += r.config + fmt.Sprintf("queue: {max_bytes: %d}\n", maxBytes)
	harness.Must(t, gateway.Start(t.Context()))

	began := time.Now().Add(-time.Second)
	sampled := r.sample(t, gateway)
	sent := r.send(t, gateway)
	most, disk := sampled()
	ended := time.Now().Add(time.Second)
	startReceiver(t, absentAddress, absentFile)
	awaitDrained(t, gateway, 45*time.Second)
	report := call[lossReport](t, gateway, "gateway.admin.v1.AdminService/ListLosses", `{}`)
	if code, said := ctlExit(t, gateway, "ledger", "verify"); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	stop(t, gateway)

	if missing := readReceived(t, steadyFile).Missing(sent); len(missing) > 0 {
		t.Errorf("the steady sink lacks %d messages", len(missing))
	}
	missing := readReceived(t, absentFile).Missing(sent)
	lacks, lost := map[string]int{}, 0
	for _, identity := range missing {
		lacks[identity.Device]++
	}
	for _, loss := range report.Losses {
		lost += loss.Count
		for _, device := range loss.Devices {
			lacks[device.DeviceID] -= device.Count
		}
		if loss.SinkName != "absent" || loss.Reason != r.reason || loss.FirstReceiveTS.Before(began) || loss.LastReceiveTS.After(ended) || loss.LastReceiveTS.Before(loss.FirstReceiveTS) {
			t.Errorf("got %+v", loss)
		}
	}
	if lost != len(missing) || lost == 0 {
		t.Errorf("the report says %d are lost; %d of %d messages did not arrive", lost, len(missing), len(sent))
	}
	for device, difference := range lacks {
		if difference != 0 {
			t.Errorf("device %s lacks %d messages more than the report says", device, difference)
		}
	}
	const within = 1.05
	if most > r.budget*within {
		t.Errorf("%s came to %.1f, the budget is %.0f", r.metric, most, r.budget)
	}
	if disk > maxBytes*within {
		t.Errorf("%.0f bytes on the disk, the budget is %d", disk, maxBytes)
	}
	t.Logf("%d sent, %d lost, all of them reported; %s at most %.1f of %.0f; at most %.0f of %d bytes on the disk", len(sent), lost, r.metric, most, r.budget, disk, maxBytes)
}

// send posts batches of messages that hardly compress, of ten devices in turn.
func (r *retention) send(t *testing.T, gateway *harness.Gateway) (sent []acklog.Identity) {
	const messages = 50
	began := time.Now()
	for batch := 0; time.Since(began) < r.duration; batch++ {
		device := fmt.Sprintf("dev-%d", batch%10)
		status, answer := post(t, gateway.URL("/ingest/"+device), "application/x-ndjson", noise(batch, messages))
		if status != http.StatusAccepted {
			t.Fatalf("%d %s", status, answer)
		}
		for sequence := range messages {
			sent = append(sent, acklog.Identity{Device: device, BootID: fmt.Sprintf("b%d", batch), Sequence: uint64(sequence)})
		}
		select {
		case <-time.After(r.pause):
		case <-t.Context().Done():
		}
	}
	return sent
}

// sample looks at the metric and at the disk until the function that it returns is
// called, which tells the most of each.
func (r *retention) sample(t *testing.T, gateway *harness.Gateway) (end func() (most, disk float64)) {
	var most, disk float64
	var sampling sync.WaitGroup
	ended := make(chan struct{})
	sampling.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
			values, err := gateway.Metrics(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			most, disk = max(most, values[r.metric]), max(disk, bytesOnDisk(gateway))
		}
	})
	return func() (float64, float64) {
		close(ended)
		sampling.Wait()
		return most, disk
	}
}

// bytesOnDisk is what the queue's files are long: database with its free pages,
// WAL and reserve.
func bytesOnDisk(gateway *harness.Gateway) (sum float64) {
	for _, suffix := range []string{"", "-wal", "-reserve"} {
		if info, err := os.Stat(filepath.Join(gateway.DataDir(), "queue.db"+suffix)); err == nil {
			sum += float64(info.Size())
		}
	}
	return sum
}
