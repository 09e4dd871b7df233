package wire_test

import (
	"encoding/json"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

func seed(f *testing.F, encoding edge.Encoding) {
	f.Helper()
	for _, kind := range []string{"valid", "invalid"} {
		for _, folder := range folders(f, kind) {
			if payload, ok := payloads(f, folder)[encoding]; ok {
				f.Add(payload)
			}
		}
	}
	f.Add([]byte(typical))
}

// decode decodes a payload twice, with one decoder, and checks what holds for
// whatever it is given.
func decode(t *testing.T, encoding edge.Encoding, payload []byte) (*edge.Telemetry, bool) {
	t.Helper()
	decoder := wire.NewDecoder()
	_, _, first := decoder.Decode(encoding, payload)
	telemetry, _, err := decoder.Decode(encoding, payload)
	if (first == nil) != (err == nil) {
		t.Errorf("first %v, then %v", first, err)
	}
	if err == nil {
		return telemetry, true
	}
	refused, ok := err.(*edge.Error)
	if !ok || refused.Code != edge.Malformed && refused.Code != edge.Invalid || !slices.Contains(edge.Reasons[:], refused.Reason) || refused.Message == "" {
		t.Errorf("refused with %#v", err)
	}
	return nil, false
}

// roundTrip renders telemetry that means something and reads it back: the
// canonical record is telemetry itself, with stamps that a decoder passes over.
func roundTrip(t *testing.T, telemetry *edge.Telemetry) {
	t.Helper()
	if telemetry.Check(telemetry.Device) != nil {
		return
	}
	delivery := &edge.Delivery{Record: edge.Record{Device: "dev-1"}}
	record := wire.AppendCanonical(nil, "site-7", delivery, telemetry)
	back, ok := decode(t, edge.EncodingJSON, record)
	if !ok {
		t.Fatalf("the record cannot be read: %s", record)
	}
	want, got := *telemetry, *back
	want.Device, want.Unknown, got.Device, got.Unknown = "", 0, "", 0
	if dumpNumbers(&want) != dumpNumbers(&got) {
		t.Errorf("%s\nbecame\n%s\nin\n%s", dump(&want), dump(&got), record)
	}
}

// dumpNumbers is dump with every number as a double, because a double that is
// whole looks like an integer in JSON.
func dumpNumbers(telemetry *edge.Telemetry) string {
	plain := *telemetry
	plain.Metrics = slices.Clone(telemetry.Metrics)
	for i := range plain.Metrics {
		if value := &plain.Metrics[i].Value; value.Kind == edge.KindInteger {
			*value = edge.Value{Kind: edge.KindNumber, Number: float64(value.Integer)}
		} else if value.Kind == edge.KindNumber && value.Number == 0 {
			value.Number = 0 // -0 in JSON reads back as the integer 0
		}
	}
	return dump(&plain)
}

func FuzzDecoder_JSON(f *testing.F) {
	seed(f, edge.EncodingJSON)
	f.Fuzz(func(t *testing.T, payload []byte) {
		telemetry, ok := decode(t, edge.EncodingJSON, payload)
		if !ok {
			return
		}
		if !json.Valid(payload) {
			t.Error("accepted what the standard library calls no JSON")
		}
		roundTrip(t, telemetry)
	})
}

func FuzzDecoder_Protobuf(f *testing.F) {
	seed(f, edge.EncodingProtobuf)
	f.Fuzz(func(t *testing.T, payload []byte) {
		telemetry, ok := decode(t, edge.EncodingProtobuf, payload)
		if !ok {
			return
		}
		if proto.Unmarshal(payload, &telemetryv1.Telemetry{}) != nil && proto.Unmarshal(payload, &telemetryv1.SignedTelemetry{}) != nil {
			t.Error("accepted what the generated code cannot read")
		}
		roundTrip(t, telemetry)
	})
}

func FuzzEncodingOf(f *testing.F) {
	for contentType := range contentTypes {
		f.Add(contentType)
	}
	f.Fuzz(func(t *testing.T, contentType string) {
		if _, err := wire.EncodingOf(contentType); err != nil && edge.AsError(err).Code != edge.Unsupported {
			t.Error(err)
		}
	})
}
