package analytics_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/analytics"
	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sink/httpsink"
)

// TestReceiver_Delivery puts the receiver at the end of a real lane and a real
// HTTP sink: an outage, a poison that costs its whole batch, and its repair.
func TestReceiver_Delivery(t *testing.T) {
	for _, format := range []httpsink.Format{httpsink.NDJSON, httpsink.JSON, httpsink.Protobuf} {
		t.Run(string(format), func(t *testing.T) {
			receiver := analytics.New(analytics.Settings{Faults: analytics.Faults{Status: 503}})
			server := httptest.NewServer(receiver.Handler())
			t.Cleanup(server.Close)
			queue := edgetest.NewQueue(1)
			sink, err := httpsink.New(httpsink.Settings{Gateway: "gw-1", Sink: "cloud", URL: server.URL + "/ingest", Format: format}, observe.NewDiscard())
			if err != nil {
				t.Fatal(err)
			}
			plan := edge.NewPlan([]edge.PlannedSink{{ID: 1, Name: "cloud", Concurrency: 4, Batch: edge.BatchLimit{Records: 50, Bytes: 1 << 20}, Timeout: 5 * time.Second}})
			dispatcher := dispatch.New(plan, queue, map[edge.SinkID]edge.Sink{1: sink}, observe.NewDiscard())
			ctx, cancel := context.WithCancel(t.Context())
			stopped := make(chan error, 1)
			go func() { stopped <- dispatcher.Run(ctx) }()

			const records, devices = 2000, 9
			entries := edgetest.Entries(records, devices, 1)
			poisonous := &entries[700].Record
			poisonous.Payload = []byte(`{"schema_version":1,"metrics":{"poison":1},"boot_id":"boot-1","sequence":77}`)
			edgetest.Append(t, queue, entries...)
			eventually(t, func() bool { return receiver.Stats().Failed >= 3 })
			call(receiver.Handler(), "PUT", "/faults", "", []byte(`{"reject_metric":"poison","whole":true}`))
			eventually(t, func() bool { return queue.Account(1) == edgetest.Account{Dead: 1} })
			expectArrived(t, receiver, records-1, 1)

			call(receiver.Handler(), "DELETE", "/faults", "", nil)
			if err := queue.Requeue(1, edge.Position(701)); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return queue.Account(1) == edgetest.Account{} })
			expectArrived(t, receiver, records, 0)
			cancel()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			if err := sink.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// expectArrived expects records in order, without duplicates.
func expectArrived(t *testing.T, receiver *analytics.Receiver, unique, missing int64) {
	t.Helper()
	type arrived struct{ Unique, Duplicates, Missing, Inversions, Repeated int64 }
	stats := receiver.Stats()
	got := arrived{stats.Unique, stats.Duplicates, stats.Missing, stats.Inversions, stats.Repeated}
	if diff := cmp.Diff(arrived{Unique: unique, Missing: missing}, got); diff != "" {
		t.Error(diff)
	}
}

// eventually polls, because the sink and the receiver are real.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	deadline := time.NewTimer(edgetest.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("it did not happen in time")
		}
	}
}
