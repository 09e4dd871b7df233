package vectors_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/proto/vectors"
)

// The generated Go code decodes every payload to the values of decoded.txt, and
// encodes what it knows to the same bytes again.
func TestValid_Decoded(t *testing.T) {
	for _, vector := range valid(t) {
		if vector.Protobuf == nil {
			continue
		}
		t.Run(vector.Name, func(t *testing.T) {
			payload := vector.Protobuf
			if isSigned(payload) {
				signed := &telemetryv1.SignedTelemetry{}
				decode(t, payload, signed)
				payload = signed.GetPayload()
			}
			telemetry := &telemetryv1.Telemetry{}
			decode(t, payload, telemetry)
			if got := dump(telemetry); got != vector.Decoded {
				t.Errorf("decoded to\n%swant\n%s", got, vector.Decoded)
			}
		})
	}
}

// The signature holds for the device that it was made for, and for no other.
func TestValid_Signature(t *testing.T) {
	text, err := os.ReadFile("valid/signed/test-1.public.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := os.ReadFile("valid/signed/payload.binpb")
	if err != nil {
		t.Fatal(err)
	}
	signed := &telemetryv1.SignedTelemetry{}
	decode(t, payload, signed)
	for device, want := range map[string]bool{"dev-1": true, "dev-2": false} {
		digest := sha256.Sum256(append([]byte("gateway.telemetry.v1\x00"+device+"\x00"), signed.GetPayload()...))
		if got := ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], signed.GetSignature()); got != want {
			t.Errorf("device %s: signature holds: %t, want %t", device, got, want)
		}
	}
}

func valid(t *testing.T) []vectors.Vector {
	t.Helper()
	all, err := vectors.Valid()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func decode(t *testing.T, payload []byte, into proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(payload, into); err != nil {
		t.Fatal(err)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, payload) {
		t.Errorf("encoded again to %x, want %x", again, payload)
	}
}

// isSigned tells SignedTelemetry from Telemetry, whose numbers do not overlap.
func isSigned(payload []byte) bool {
	number, _, _ := protowire.ConsumeTag(payload)
	return number >= 11 && number <= 14
}

// dump writes the lines of decoded.txt.
func dump(telemetry *telemetryv1.Telemetry) string {
	var out strings.Builder
	fmt.Fprintf(&out, "schema_version %d\n", telemetry.GetSchemaVersion())
	for _, item := range [][2]string{
		{"device_id", telemetry.GetDeviceId()}, {"message_id", telemetry.GetMessageId()}, {"boot_id", telemetry.GetBootId()},
	} {
		if item[1] != "" {
			fmt.Fprintf(&out, "%s %s\n", item[0], quote(item[1]))
		}
	}
	if telemetry.Sequence != nil {
		fmt.Fprintf(&out, "sequence %d\n", telemetry.GetSequence())
	}
	if telemetry.ObservedAtMs != nil {
		fmt.Fprintf(&out, "observed_at_us %d\n", telemetry.GetObservedAtMs()*1000)
	}
	for _, metric := range telemetry.GetMetrics() {
		fmt.Fprintf(&out, "metric %s %s\n", quote(metric.GetName()), value(metric))
	}
	for _, attribute := range telemetry.GetAttributes() {
		fmt.Fprintf(&out, "attribute %s %s\n", quote(attribute.GetName()), quote(attribute.GetValue()))
	}
	return out.String()
}

func value(metric *telemetryv1.Metric) string {
	switch value := metric.GetValue().(type) {
	case *telemetryv1.Metric_Number:
		return fmt.Sprintf("number %016x", math.Float64bits(value.Number))
	case *telemetryv1.Metric_Integer:
		return fmt.Sprintf("integer %d", value.Integer)
	case *telemetryv1.Metric_Boolean:
		return fmt.Sprintf("boolean %t", value.Boolean)
	case *telemetryv1.Metric_Text:
		return "text " + quote(value.Text)
	}
	return "nothing"
}

// quote writes bytes that are not printable ASCII, quotes and percent signs as
// %XX.
func quote(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		if b < ' ' || b > '~' || b == '"' || b == '%' {
			fmt.Fprintf(&out, "%%%02X", b)
		} else {
			out.WriteByte(b)
		}
	}
	return `"` + out.String() + `"`
}
