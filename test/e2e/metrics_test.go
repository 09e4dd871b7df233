package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/test/harness"
)

// TestMetrics sends messages of every fate and expects each in the counter that
// the contract names for it.
func TestMetrics(t *testing.T) {
	gateway := newGateway(t)
	gateway.SetSinks(gateway.FileSinkYAML())
	harness.Must(t, gateway.Start(t.Context()))

	counters := []string{
		`gateway_ingest_messages_total{result="accepted",source="http"}`,
		`gateway_ingest_messages_total{result="duplicate",source="http"}`,
		`gateway_ingest_messages_total{result="conflict",source="http"}`,
		`gateway_ingest_messages_total{result="rejected",source="http"}`,
		`gateway_ingest_messages_total{result="dropped",source="mqtt"}`,
		`gateway_ingest_rejected_total{reason="missing_field",source="http"}`,
		`gateway_sink_delivered_messages_total{sink="archive"}`,
		`gateway_sink_attempts_total{outcome="misconfigured",sink="archive"}`,
		`gateway_queue_depth_messages{sink="archive"}`,
		`gateway_dead_lettered_total{reason="rejected",sink="archive"}`,
		`gateway_mqtt_connections`,
	}
	read := func() map[string]float64 {
		all, picked := metrics(t, gateway), map[string]float64{}
		for _, name := range counters {
			if value, exists := all[name]; exists {
				picked[name] = value
			}
		}
		return picked
	}
	want := map[string]float64{}
	for _, name := range counters {
		want[name] = 0
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("at the start (-want +got):\n%s", diff)
	}

	const first, other = `{"schema_version":1,"boot_id":"b","sequence":1,"metrics":{"a":1}}`, `{"schema_version":1,"boot_id":"b","sequence":1,"metrics":{"a":2}}`
	for _, sent := range []struct {
		body   string
		status int
	}{
		{first, http.StatusAccepted},
		{first, http.StatusAccepted}, // a duplicate
		{other, http.StatusAccepted}, // a conflict: stored as new
		{`{"schema_version":1}`, http.StatusUnprocessableEntity},
	} {
		if status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/json", []byte(sent.body)); status != sent.status {
			t.Fatalf("%s: status %d: %s", sent.body, status, answer)
		}
	}
	awaitDrained(t, gateway, 20*time.Second)
	want[counters[0]], want[counters[1]], want[counters[2]], want[counters[3]] = 1, 1, 1, 1
	want[`gateway_ingest_rejected_total{reason="missing_field",source="http"}`] = 1
	want[`gateway_sink_delivered_messages_total{sink="archive"}`] = 2
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("after four messages (-want +got):\n%s", diff)
	}
	stop(t, gateway)
}
