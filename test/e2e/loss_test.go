package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// lossReport is what ListLosses answers.
type lossReport struct {
	Losses []struct {
		SinkName       string    `json:"sinkName"`
		Kind           string    `json:"kind"`
		Reason         string    `json:"reason"`
		Count          int       `json:"count,string"`
		FirstReceiveTS time.Time `json:"firstReceiveTs"`
		LastReceiveTS  time.Time `json:"lastReceiveTs"`
		Devices        []struct {
			DeviceID string `json:"deviceId"`
			Count    int    `json:"count,string"`
		} `json:"devices"`
	} `json:"losses"`
}

// TestLoss keeps a sink away that is not required, under load, until its backlog
// is over its limit. What it then lacks is exactly what the loss report says, by
// device, and the sink beside it lacks nothing.
func TestLoss(t *testing.T) {
	const limit, duration = 2 << 20, 10 * time.Second
	harness.SkipShort(t, (duration + 5*time.Second).String())
	gateway := newGateway(t)
	steadyFile, absentFile := inDir(gateway, "steady.txt"), inDir(gateway, "absent.txt")
	steadyAddress, absentAddress := freeAddress(t), freeAddress(t)
	startReceiver(t, steadyAddress, steadyFile)
	gateway.SetSinks(harness.HTTPSinkYAML("steady", steadyAddress), fmt.Sprintf(
		"  - {name: absent, kind: http, required: false, max_lag_bytes: %d, http: {url: \"http://%s/ingest\", format: ndjson}}\n", limit, absentAddress))
	gateway.Config += "retention: {delivered: 1s}\nqueue: {max_bytes: 64MiB}\n"
	harness.Must(t, gateway.Start(t.Context()))

	began := time.Now().Add(-time.Second)
	load := startLoad(t, gateway, "load", "--connections", "10", "--rate", "20000", "--duration", duration.String())
	most := float64(0)
	ctx := harness.Within(t, duration+20*time.Second)
	harness.Must(t, harness.Poll(ctx, "losses", func() (bool, error) {
		values := metrics(t, gateway)
		most = max(most, values[`gateway_queue_pinned_bytes{sink="absent"}`])
		lost := values[`gateway_queue_expired_messages_total{reason="max_lag_bytes",sink="absent"}`]
		return lost > 20_000, fmt.Errorf("%.0f are lost", lost)
	}))
	_, err := load.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)
	ended := time.Now().Add(time.Second)
	startReceiver(t, absentAddress, absentFile)
	awaitDrained(t, gateway, 45*time.Second)
	report := call[lossReport](t, gateway, "gateway.admin.v1.AdminService/ListLosses", `{"filter": "sink_name = \"absent\""}`)
	everything := call[lossReport](t, gateway, "gateway.admin.v1.AdminService/ListLosses", `{}`)
	stop(t, gateway)

	acknowledged, _, err := load.Acknowledged()
	harness.Must(t, err)
	if missing := readReceived(t, steadyFile).Missing(acknowledged); len(missing) > 0 {
		t.Errorf("the steady sink lacks %d messages", len(missing))
	}
	lacks := map[string]int{}
	missing := readReceived(t, absentFile).Missing(acknowledged)
	for _, identity := range missing {
		lacks[string(identity.Device)]++
	}
	lost := 0
	for _, loss := range report.Losses {
		lost += loss.Count
		for _, device := range loss.Devices {
			lacks[device.DeviceID] -= device.Count
		}
		if loss.Kind != "LOSS_KIND_EXPIRED" || loss.Reason != "max_lag_bytes" || loss.FirstReceiveTS.Before(began) || loss.LastReceiveTS.After(ended) || loss.LastReceiveTS.Before(loss.FirstReceiveTS) {
			t.Errorf("got %+v", loss)
		}
	}
	if lost != len(missing) || lost == 0 {
		t.Errorf("the report says %d are lost; %d of %d acknowledged messages did not arrive", lost, len(missing), len(acknowledged))
	}
	for device, difference := range lacks {
		if difference != 0 {
			t.Errorf("device %s lacks %d messages more than the report says", device, difference)
		}
	}
	if len(everything.Losses) != len(report.Losses) {
		t.Errorf("another sink lost something: %+v", everything.Losses)
	}
	if most > limit*1.25 {
		t.Errorf("%.0f bytes were kept for a sink that may keep %d", most, limit)
	}
	t.Logf("%d acknowledged, %d lost, all of them reported; at most %.0f of %d bytes kept", len(acknowledged), lost, most, limit)
}
