package wire_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

func marshal(t testing.TB, message proto.Message) []byte {
	t.Helper()
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// number and text and the like write one field.
func varint(number protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), value)
}

func fixed32(number protowire.Number) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(nil, number, protowire.Fixed32Type), 1)
}

func text(number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

func joined(fields ...[]byte) (all []byte) {
	for _, field := range fields {
		all = append(all, field...)
	}
	return all
}

// TestDecoder_Decode_LikeTheGeneratedType holds the decoder to the code that
// protoc-gen-go writes: what one encodes, the other reads.
func TestDecoder_Decode_LikeTheGeneratedType(t *testing.T) {
	name := rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.]{0,20}`)
	decoder := wire.NewDecoder()
	rapid.Check(t, func(t *rapid.T) {
		message := &telemetryv1.Telemetry{
			SchemaVersion: rapid.Uint32().Draw(t, "version"), DeviceId: rapid.String().Draw(t, "device"),
			MessageId: rapid.String().Draw(t, "message"), BootId: rapid.String().Draw(t, "boot"),
		}
		if rapid.Bool().Draw(t, "numbered") {
			message.Sequence = proto.Uint64(rapid.Uint64().Draw(t, "sequence"))
			message.ObservedAtMs = proto.Int64(rapid.Int64Range(-62135596799999, 253402300799999).Draw(t, "observed"))
		}
		for _, name := range rapid.SliceOfNDistinct(name, 0, 20, rapid.ID).Draw(t, "names") {
			message.Metrics = append(message.Metrics, drawMetric(t, name))
			message.Attributes = append(message.Attributes, &telemetryv1.Attribute{Name: name, Value: rapid.String().Draw(t, "value")})
		}
		payload, err := wire.TelemetryPayload(message)
		if err != nil {
			t.Fatal(err)
		}
		if len(payload) == 0 {
			t.Skip("an empty payload is refused")
		}
		telemetry, _, err := decoder.Decode(edge.EncodingProtobuf, payload)
		if err != nil {
			t.Fatal(err)
		}
		delivery := &edge.Delivery{}
		again := wire.RecordMessage("", delivery, telemetry)
		back := &telemetryv1.Telemetry{
			SchemaVersion: telemetry.SchemaVersion, DeviceId: string(telemetry.Device), MessageId: telemetry.Identity.MessageID,
			BootId: telemetry.Identity.BootID, Sequence: again.Sequence, Metrics: again.Metrics, Attributes: again.Attributes,
		}
		if !telemetry.ObservedAt.IsZero() {
			back.ObservedAtMs = proto.Int64(telemetry.ObservedAt.UnixMilli())
		}
		if !proto.Equal(message, back) {
			t.Errorf("encoded %v, decoded %v", message, back)
		}
	})
}

func drawMetric(t *rapid.T, name string) *telemetryv1.Metric {
	metric := &telemetryv1.Metric{Name: name}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		metric.Value = &telemetryv1.Metric_Number{Number: rapid.Float64().Draw(t, "number")}
	case 1:
		metric.Value = &telemetryv1.Metric_Integer{Integer: rapid.Int64().Draw(t, "integer")}
	case 2:
		metric.Value = &telemetryv1.Metric_Boolean{Boolean: rapid.Bool().Draw(t, "boolean")}
	case 3:
		metric.Value = &telemetryv1.Metric_Text{Text: rapid.String().Draw(t, "text")}
	}
	return metric
}

func TestDecoder_Decode_ProtobufRefusals(t *testing.T) {
	const malformed, invalid = "malformed", "invalid"
	metric := func(fields ...[]byte) []byte { return text(7, string(joined(fields...))) }
	good := joined(varint(1, 1), metric(text(1, "n"), varint(3, 2)))
	tests := map[string]struct {
		payload []byte
		want    refusal
	}{
		"VersionType":       {joined(text(1, "1")), refusal{Code: invalid, Reason: "wrong_type", Field: "schema_version"}},
		"VersionTooLarge":   {varint(1, 1<<32+1), refusal{Code: invalid, Reason: "schema_version", Field: "schema_version"}},
		"DeviceType":        {varint(2, 1), refusal{Code: invalid, Reason: "wrong_type", Field: "device_id"}},
		"MessageType":       {fixed32(3), refusal{Code: invalid, Reason: "wrong_type", Field: "message_id"}},
		"BootType":          {fixed32(4), refusal{Code: invalid, Reason: "wrong_type", Field: "boot_id"}},
		"SequenceType":      {fixed32(5), refusal{Code: invalid, Reason: "wrong_type", Field: "sequence"}},
		"ObservedType":      {text(6, "x"), refusal{Code: invalid, Reason: "wrong_type", Field: "observed_at_ms"}},
		"MetricsType":       {varint(7, 1), refusal{Code: invalid, Reason: "wrong_type", Field: "metrics"}},
		"AttributesType":    {varint(8, 1), refusal{Code: invalid, Reason: "wrong_type", Field: "attributes"}},
		"MetricNameType":    {metric(varint(1, 1)), refusal{Code: invalid, Reason: "wrong_type", Field: "metrics"}},
		"NumberType":        {metric(text(1, "n"), varint(2, 1)), refusal{Code: invalid, Reason: "wrong_type", Field: "metrics"}},
		"IntegerType":       {metric(text(1, "n"), text(3, "1")), refusal{Code: invalid, Reason: "wrong_type", Field: "metrics"}},
		"DeviceUTF8":        {text(2, "\xff"), refusal{Code: malformed, Reason: "encoding", Field: "device_id"}},
		"AttributeUTF8":     {text(8, string(text(1, "\xff"))), refusal{Code: malformed, Reason: "encoding", Field: "attributes"}},
		"FieldZero":         {varint(0, 1), refusal{Code: malformed, Reason: "malformed"}},
		"WireTypeSeven":     {[]byte{1<<3 | 7, 1}, refusal{Code: malformed, Reason: "malformed"}},
		"EndWithoutGroup":   {protowire.AppendTag(nil, 20, protowire.EndGroupType), refusal{Code: malformed, Reason: "malformed"}},
		"GroupWithoutEnd":   {protowire.AppendTag(nil, 20, protowire.StartGroupType), refusal{Code: malformed, Reason: "malformed"}},
		"DeepGroups":        {[]byte(strings.Repeat("\xa3\x01", 30000)), refusal{Code: malformed, Reason: "malformed"}},
		"LengthBeyondEnd":   {append(protowire.AppendTag(nil, 2, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0x7f), refusal{Code: malformed, Reason: "malformed"}},
		"InnerTruncated":    {metric([]byte{0x0a, 5, 'n'}), refusal{Code: malformed, Reason: "malformed"}},
		"NegativeInfinity":  {marshal(t, &telemetryv1.Telemetry{Metrics: []*telemetryv1.Metric{{Name: "n", Value: &telemetryv1.Metric_Number{Number: math.Inf(-1)}}}}), refusal{Code: invalid, Reason: "out_of_range", Field: "metrics.n"}},
		"SignedBeside":      {joined(good, text(14, "signature")), refusal{Code: malformed, Reason: "malformed"}},
		"SignedAndMore":     {joined(text(11, string(good)), text(14, "signature"), varint(1, 1)), refusal{Code: malformed, Reason: "malformed"}},
		"SignedPayloadType": {joined(varint(11, 1), text(14, "signature")), refusal{Code: invalid, Reason: "wrong_type", Field: "payload"}},
		"SignedNoPayload":   {text(14, "signature"), refusal{Code: invalid, Reason: "missing_field", Field: "payload"}},
		"SignedTwice":       {joined(text(11, string(joined(text(11, string(good)), text(14, "signature")))), text(14, "signature")), refusal{Code: malformed, Reason: "malformed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, refusalOf(t, edge.EncodingProtobuf, test.payload, "dev-1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDecoder_Decode_ProtobufRules follows the rules that every protobuf decoder
// follows: the last value wins, and what is not known is passed over.
func TestDecoder_Decode_ProtobufRules(t *testing.T) {
	group := joined(protowire.AppendTag(nil, 20, protowire.StartGroupType), varint(1, 9), protowire.AppendTag(nil, 20, protowire.EndGroupType))
	payload := joined(
		varint(1, 2), varint(1, 1), text(2, "a"), text(2, "b"), varint(6, 1000), varint(6, 2000), varint(9, 1), group,
		text(7, string(joined(text(1, "n"), text(5, "x"), varint(4, 1), varint(99, 1)))),
		text(8, string(joined(text(1, "k"), fixed32(3)))),
	)
	telemetry, _, err := wire.NewDecoder().Decode(edge.EncodingProtobuf, payload)
	if err != nil {
		t.Fatal(err)
	}
	want := "schema_version 1\ndevice_id \"b\"\nobserved_at_us 2000000\nmetric \"n\" boolean true\nattribute \"k\" \"\"\n"
	if diff := cmp.Diff(want, dump(telemetry)); diff != "" {
		t.Error(diff)
	}
	if telemetry.Unknown != 4 {
		t.Errorf("%d unknown fields, want 4", telemetry.Unknown)
	}
}

func TestDecoder_Decode_ProtobufAllocations(t *testing.T) {
	telemetry, _, err := wire.NewDecoder().Decode(edge.EncodingJSON, []byte(typical))
	if err != nil {
		t.Fatal(err)
	}
	record := wire.RecordMessage("", &edge.Delivery{}, telemetry)
	payload := marshal(t, &telemetryv1.Telemetry{SchemaVersion: 1, BootId: record.BootId, Sequence: record.Sequence, Metrics: record.Metrics, Attributes: record.Attributes})
	decoder := wire.NewDecoder()
	got := testing.AllocsPerRun(1000, func() {
		if _, _, err := decoder.Decode(edge.EncodingAuto, payload); err != nil {
			t.Fatal(err)
		}
	})
	if got > 3 {
		t.Errorf("%v allocations for a typical message", got)
	}
}

func TestTelemetryPayload_NotUTF8(t *testing.T) {
	_, err := wire.TelemetryPayload(&telemetryv1.Telemetry{DeviceId: "\xff"})
	if refused := edge.AsError(err); refused.Code != edge.Malformed || refused.Reason != edge.ReasonEncoding {
		t.Errorf("got %v", err)
	}
}
