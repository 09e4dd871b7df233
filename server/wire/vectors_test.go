package wire_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

const vectors = "../../proto/vectors"

// folders returns the vectors below a folder, of which there must be some.
func folders(t testing.TB, kind string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(vectors, kind, "*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no vectors in %s/%s: %v", vectors, kind, err)
	}
	return found
}

// payloads returns the payloads of a vector, of which there is at least one.
func payloads(t testing.TB, folder string) map[edge.Encoding][]byte {
	t.Helper()
	found := make(map[edge.Encoding][]byte)
	for name, encoding := range map[string]edge.Encoding{"payload.json": edge.EncodingJSON, "payload.binpb": edge.EncodingProtobuf} {
		if payload, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			found[encoding] = payload
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no payload", folder)
	}
	return found
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestVectors_Valid(t *testing.T) {
	for _, folder := range folders(t, "valid") {
		for encoding, payload := range payloads(t, folder) {
			t.Run(filepath.Base(folder)+"/"+encoding.String(), func(t *testing.T) {
				delivery, gateway, replay := stamped(t, folder)
				delivery.Record.Encoding, delivery.Record.Payload = encoding, payload
				telemetry, _, err := wire.NewDecoder().Decode(encoding, payload)
				if err != nil {
					t.Fatal(err)
				}
				if err := telemetry.Check(delivery.Record.Device); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(read(t, folder, "decoded.txt"), dump(telemetry)); diff != "" {
					t.Errorf("decoded (-want +got):\n%s", diff)
				}
				expectCanonical(t, wire.NewRenderer(gateway), delivery, replay, read(t, folder, "canonical.json"))
			})
		}
	}
}

// expectCanonical looks at both ways to the canonical record: from the payload,
// and from the protobuf record that was made of it.
func expectCanonical(t *testing.T, renderer *wire.Renderer, delivery *edge.Delivery, replay, want string) {
	t.Helper()
	message, err := renderer.Message(delivery)
	if err != nil {
		t.Fatal(err)
	}
	message.ReplayId = replay
	if diff := cmp.Diff(want, string(wire.AppendMessage(nil, message))); diff != "" {
		t.Errorf("canonical record of the protobuf record (-want +got):\n%s", diff)
	}
	got, err := renderer.AppendRecord(nil, delivery)
	if err != nil {
		t.Fatal(err)
	}
	// Replays have no id in the vocabulary yet.
	want = strings.Replace(want, `,"replay_id":"`+replay+`"`, "", 1)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("canonical record (-want +got):\n%s", diff)
	}
}

// stamped returns a delivery with the stamps of a vector, without a payload.
func stamped(t *testing.T, folder string) (delivery *edge.Delivery, gateway edge.GatewayID, replay string) {
	t.Helper()
	var stamps struct {
		GatewayID     edge.GatewayID `json:"gateway_id"`
		DeviceID      edge.DeviceID  `json:"device_id"`
		CorrelationID string         `json:"correlation_id"`
		ReceiveTS     time.Time      `json:"receive_ts"`
		Source        string         `json:"source"`
		MessageID     string         `json:"message_id"`
		TraceParent   string         `json:"traceparent"`
		Verified      bool           `json:"verified"`
		Delivery      string         `json:"delivery"`
		ReplayID      string         `json:"replay_id"`
		Revision      int            `json:"revision"`
	}
	if err := json.Unmarshal([]byte(read(t, folder, "stamps.json")), &stamps); err != nil {
		t.Fatal(err)
	}
	correlation, ok := edge.ParseCorrelationID(stamps.CorrelationID)
	if !ok {
		t.Fatalf("%q is no correlation id", stamps.CorrelationID)
	}
	delivery = &edge.Delivery{Record: edge.Record{
		Correlation: correlation, Device: stamps.DeviceID, ReceivedAt: stamps.ReceiveTS, TraceParent: stamps.TraceParent,
		Verified: stamps.Verified, Revision: stamps.Revision, Identity: edge.Identity{MessageID: stamps.MessageID},
	}}
	for _, source := range edge.Sources {
		if source.String() == stamps.Source {
			delivery.Record.Source = source
		}
	}
	for kind := edge.Live; kind <= edge.Replay; kind++ {
		if kind.String() == stamps.Delivery {
			delivery.Kind = kind
		}
	}
	return delivery, stamps.GatewayID, stamps.ReplayID
}

// dump writes telemetry as decoded.txt does.
func dump(t *edge.Telemetry) string {
	var text strings.Builder
	fmt.Fprintf(&text, "schema_version %d\n", t.SchemaVersion)
	for _, name := range [][2]string{{"device_id", string(t.Device)}, {"message_id", t.Identity.MessageID}, {"boot_id", t.Identity.BootID}} {
		if name[1] != "" {
			fmt.Fprintf(&text, "%s %s\n", name[0], quoted(name[1]))
		}
	}
	if t.Identity.HasSequence {
		fmt.Fprintf(&text, "sequence %d\n", t.Identity.Sequence)
	}
	if !t.ObservedAt.IsZero() {
		fmt.Fprintf(&text, "observed_at_us %d\n", t.ObservedAt.UnixMicro())
	}
	for _, metric := range t.Metrics {
		fmt.Fprintf(&text, "metric %s %s\n", quoted(metric.Name), value(metric.Value))
	}
	for _, attribute := range t.Attributes {
		fmt.Fprintf(&text, "attribute %s %s\n", quoted(attribute.Name), quoted(attribute.Value))
	}
	return text.String()
}

func value(value edge.Value) string {
	switch value.Kind {
	case edge.KindNumber:
		return fmt.Sprintf("number %016x", math.Float64bits(value.Number))
	case edge.KindInteger:
		return fmt.Sprintf("integer %d", value.Integer)
	case edge.KindBool:
		return fmt.Sprintf("boolean %t", value.Bool)
	}
	return "text " + quoted(value.Text)
}

func quoted(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		if b < ' ' || b > '~' || b == '"' || b == '%' {
			fmt.Fprintf(&out, "%%%02X", b)
			continue
		}
		out.WriteByte(b)
	}
	return `"` + out.String() + `"`
}

func TestVectors_Invalid(t *testing.T) {
	for _, folder := range folders(t, "invalid") {
		for encoding, payload := range payloads(t, folder) {
			t.Run(filepath.Base(folder), func(t *testing.T) {
				var want refusal
				if err := json.Unmarshal([]byte(read(t, folder, "refusal.json")), &want); err != nil {
					t.Fatal(err)
				}
				got := refusalOf(t, encoding, payload, want.Device)
				got.Device, want.About = want.Device, ""
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// refusal is refusal.json.
type refusal struct {
	About  string        `json:"about"`
	Device edge.DeviceID `json:"device_id"`
	Code   string        `json:"code"`
	Reason edge.Reason   `json:"reason"`
	Field  string        `json:"field"`
}

// refusalOf says how a payload is refused: by the decoder, or by what it means.
func refusalOf(t *testing.T, encoding edge.Encoding, payload []byte, device edge.DeviceID) refusal {
	t.Helper()
	telemetry, _, err := wire.NewDecoder().Decode(encoding, payload)
	if err == nil {
		err = telemetry.Check(device)
	}
	if err == nil {
		t.Fatalf("accepted %q as %+v", payload, telemetry)
	}
	refused := edge.AsError(err)
	code := map[edge.Code]string{edge.Malformed: "malformed", edge.Invalid: "invalid"}[refused.Code]
	if code == "" || refused.Message == "" {
		t.Errorf("refused with %+v", refused)
	}
	return refusal{Code: code, Reason: refused.Reason, Field: refused.Field}
}
