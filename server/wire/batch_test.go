package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	analyticsv1 "combotto.io/gateway/gen/go/gateway/analytics/v1"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// TestRenderer_AppendBatch reads a batch back with the generated code.
func TestRenderer_AppendBatch(t *testing.T) {
	renderer := wire.NewRenderer("gw-1")
	want := &analyticsv1.IngestRequest{GatewayId: "gw-1", Sink: "cloud", IdempotencyKey: "gw-1/cloud/1-3"}
	body := renderer.AppendBatch(nil, "cloud", "gw-1/cloud/1-3")
	for _, payload := range []string{`{"schema_version":1,"metrics":{"n":1}}`, "{", `{"schema_version":1,"metrics":{"n":2}}`} {
		delivery := &edge.Delivery{Record: edge.Record{Device: "dev-1", Encoding: edge.EncodingJSON, Payload: []byte(payload)}}
		extended, err := renderer.AppendBatchRecord(body, delivery)
		if unreadable := payload == "{"; unreadable != (err != nil) || unreadable && len(extended) != len(body) {
			t.Errorf("%s: %d bytes were added, error %v", payload, len(extended)-len(body), err)
		}
		if body = extended; err == nil {
			message, _ := renderer.Message(delivery) // cannot fail where the batch did not
			want.Records = append(want.Records, message)
		}
	}
	var got analyticsv1.IngestRequest
	if err := proto.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// TestAppendMessage gives it what no gateway sends; the vectors have the rest.
func TestAppendMessage(t *testing.T) {
	want := `{"correlation_id":"00000000-0000-0000-0000-000000000000","gateway_id":"","device_id":"","receive_ts":"1970-01-01T00:00:00.000000Z",` +
		`"schema_version":0,"metrics":{"nothing":""},"source":"unknown","delivery":"live"}`
	message := &telemetryv1.Record{CorrelationId: "none", Metrics: []*telemetryv1.Metric{{Name: "nothing"}}}
	if diff := cmp.Diff(want, string(wire.AppendMessage(nil, message))); diff != "" {
		t.Error(diff)
	}
}
