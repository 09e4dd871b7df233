package wire_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// delivered returns a delivery of a payload with every stamp set.
func delivered(payload string) *edge.Delivery {
	receivedAt := time.Date(2026, 11, 22, 19, 0, 0, 120_000_000, time.FixedZone("CET", 3600))
	return &edge.Delivery{Kind: edge.Requeue, Record: edge.Record{
		Correlation: edge.NewCorrelationID(receivedAt, 77, 0, 5), Device: "dev-1", Source: edge.SourceHTTP,
		Encoding: edge.EncodingJSON, ReceivedAt: receivedAt, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Verified: true, Revision: 2, Payload: []byte(payload),
	}}
}

func TestRenderer_AppendRecord(t *testing.T) {
	delivery := delivered(`{"metrics":{"z":1.0,"a":1e21,"t":"<\"\u00e9\u2028>","b":true,"s":1e-7},"schema_version":1,"observed_at_ms":5,` +
		`"sequence":0,"boot_id":"b","message_id":"m","attributes":{"y":"1","x":"2"},"device_id":"dev-1"}`)
	got, err := wire.NewRenderer("site-7").AppendRecord([]byte("kept "), delivery)
	if err != nil {
		t.Fatal(err)
	}
	want := `kept {"correlation_id":"` + delivery.Record.Correlation.String() + `","gateway_id":"site-7","device_id":"dev-1",` +
		`"receive_ts":"2026-11-22T18:00:00.120000Z","observed_at":"1970-01-01T00:00:00.005000Z","boot_id":"b","sequence":0,"message_id":"m",` +
		`"schema_version":1,"metrics":{"z":1,"a":1e+21,"t":"<\"é` + "\u2028" + `>","b":true,"s":1e-7},"attributes":{"y":"1","x":"2"},"source":"http",` +
		`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","verified":true,"delivery":"requeue","revision":2}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRenderer_AppendRecord_Undecodable(t *testing.T) {
	got, err := wire.NewRenderer("site-7").AppendRecord([]byte("kept"), delivered(`{`))
	if string(got) != "kept" || edge.AsError(err).Code != edge.Malformed {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRenderer_Message(t *testing.T) {
	delivery := delivered(`{"schema_version":1,"sequence":7,"observed_at_ms":5,"metrics":{"n":1,"x":1.5,"b":true,"t":"a"},"attributes":{"y":"1"}}`)
	delivery.Record.Identity = edge.Identity{MessageID: "from-the-request", Explicit: true}
	want := &telemetryv1.Record{
		CorrelationId: delivery.Record.Correlation.String(), GatewayId: "site-7", DeviceId: "dev-1",
		ReceiveTs: timestamppb.New(delivery.Record.ReceivedAt), ObservedAt: &timestamppb.Timestamp{Nanos: 5_000_000},
		Sequence: proto.Uint64(7), MessageId: "from-the-request", SchemaVersion: 1,
		Metrics: []*telemetryv1.Metric{
			{Name: "n", Value: &telemetryv1.Metric_Integer{Integer: 1}}, {Name: "x", Value: &telemetryv1.Metric_Number{Number: 1.5}},
			{Name: "b", Value: &telemetryv1.Metric_Boolean{Boolean: true}}, {Name: "t", Value: &telemetryv1.Metric_Text{Text: "a"}},
		},
		Attributes: []*telemetryv1.Attribute{{Name: "y", Value: "1"}},
		Source:     telemetryv1.Source_SOURCE_HTTP, Traceparent: delivery.Record.TraceParent, Verified: true,
		Delivery: telemetryv1.DeliveryKind_DELIVERY_KIND_REQUEUE, Revision: 2,
	}
	got, err := wire.NewRenderer("site-7").Message(delivery)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestRenderer_Message_Undecodable(t *testing.T) {
	got, err := wire.NewRenderer("site-7").Message(delivered(`{`))
	if err == nil || got.GetDeviceId() != "dev-1" || got.GetCorrelationId() == "" || len(got.GetMetrics()) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAppendCanonical_Numbers(t *testing.T) {
	tests := map[string]edge.Value{
		"9223372036854775807":     {Kind: edge.KindInteger, Integer: math.MaxInt64},
		"-9223372036854775808":    {Kind: edge.KindInteger, Integer: math.MinInt64},
		"9007199254740993":        {Kind: edge.KindInteger, Integer: 1<<53 + 1},
		"0.1":                     {Kind: edge.KindNumber, Number: 0.1},
		"-0":                      {Kind: edge.KindNumber, Number: math.Copysign(0, -1)},
		"1.7976931348623157e+308": {Kind: edge.KindNumber, Number: math.MaxFloat64},
		"5e-324":                  {Kind: edge.KindNumber, Number: math.SmallestNonzeroFloat64},
		"0.000001":                {Kind: edge.KindNumber, Number: 1e-6},
		"999999999999999900000":   {Kind: edge.KindNumber, Number: 999999999999999900000},
	}
	for want, value := range tests {
		telemetry := &edge.Telemetry{SchemaVersion: 1, Metrics: []edge.Metric{{Name: "n", Value: value}}}
		var record struct{ Metrics map[string]json.Number }
		if err := json.Unmarshal(wire.AppendCanonical(nil, "g", &edge.Delivery{}, telemetry), &record); err != nil {
			t.Fatal(err)
		}
		if got := record.Metrics["n"].String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestRenderer_AppendRecord_Allocations(t *testing.T) {
	renderer, delivery, buffer := wire.NewRenderer("site-7"), delivered(typical), make([]byte, 0, 1024)
	got := testing.AllocsPerRun(1000, func() {
		if _, err := renderer.AppendRecord(buffer, delivery); err != nil {
			t.Fatal(err)
		}
	})
	if got > 3 {
		t.Errorf("%v allocations for a typical message", got)
	}
}

func BenchmarkRenderer_AppendRecord(b *testing.B) {
	renderer, delivery, buffer := wire.NewRenderer("site-7"), delivered(typical), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := renderer.AppendRecord(buffer, delivery); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAppendCanonical_Times compares with the layout that the contract states.
func TestAppendCanonical_Times(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC), time.Date(2028, 2, 29, 12, 0, 0, 120_000_000, time.FixedZone("", 3600)),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.UnixMicro(0),
	} {
		want := `"receive_ts":"` + at.UTC().Format("2006-01-02T15:04:05.000000Z") + `"`
		record := wire.AppendCanonical(nil, "g", &edge.Delivery{Record: edge.Record{ReceivedAt: at}}, &edge.Telemetry{})
		if !strings.Contains(string(record), want) {
			t.Errorf("%s lacks %s", record, want)
		}
	}
}
