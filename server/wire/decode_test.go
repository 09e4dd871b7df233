package wire_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// typical is a message as the benchmarks send it.
const typical = `{"schema_version":1,"boot_id":"a91f","sequence":42,"metrics":{"temperature_c":23.51,"humidity_pct":48.2,` +
	`"door_open":false,"mode":"eco","rssi_dbm":-71},"attributes":{"fw":"1.2.0"}}`

func TestDecoder_Decode(t *testing.T) {
	want := edge.Telemetry{
		SchemaVersion: 1,
		Identity:      edge.Identity{BootID: "a91f", Sequence: 42, HasSequence: true},
		Metrics: []edge.Metric{
			{Name: "temperature_c", Value: edge.Value{Kind: edge.KindNumber, Number: 23.51}},
			{Name: "humidity_pct", Value: edge.Value{Kind: edge.KindNumber, Number: 48.2}},
			{Name: "door_open", Value: edge.Value{Kind: edge.KindBool}},
			{Name: "mode", Value: edge.Value{Kind: edge.KindText, Text: "eco"}},
			{Name: "rssi_dbm", Value: edge.Value{Kind: edge.KindInteger, Integer: -71}},
		},
		Attributes: []edge.Attribute{{Name: "fw", Value: "1.2.0"}},
	}
	decoder := wire.NewDecoder()
	for range 2 { // the second time with memory that is used again
		got, encoding, err := decoder.Decode(edge.EncodingAuto, []byte(typical))
		if err != nil || encoding != edge.EncodingJSON {
			t.Fatal(encoding, err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDecoder_Decode_Encoding(t *testing.T) {
	protobuf := []byte{0x08, 1} // schema_version
	tests := map[string]struct {
		said    edge.Encoding
		payload string
		used    edge.Encoding
		ok      bool
	}{
		"AutoJSON":       {edge.EncodingAuto, `{"schema_version":1}`, edge.EncodingJSON, true},
		"AutoProtobuf":   {edge.EncodingAuto, string(protobuf), edge.EncodingProtobuf, true},
		"AutoSpaceFirst": {edge.EncodingAuto, ` {"schema_version":1}`, edge.EncodingProtobuf, false},
		"AutoEmpty":      {edge.EncodingAuto, ``, edge.EncodingProtobuf, false},
		"JSONSpaceFirst": {edge.EncodingJSON, "\n {\"schema_version\":1} \t", edge.EncodingJSON, true},
		"JSONIsNot":      {edge.EncodingJSON, string(protobuf), edge.EncodingJSON, false},
		"JSONBlank":      {edge.EncodingJSON, "  ", edge.EncodingJSON, false},
		"ProtobufIsNot":  {edge.EncodingProtobuf, `{"schema_version":1}`, edge.EncodingProtobuf, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			telemetry, used, err := wire.NewDecoder().Decode(test.said, []byte(test.payload))
			if used != test.used || (err == nil) != test.ok || (telemetry != nil) != test.ok {
				t.Fatalf("got %+v, %v, %v", telemetry, used, err)
			}
			if err != nil && !edge.AsError(err).Permanent() {
				t.Errorf("refused with %+v", edge.AsError(err))
			}
		})
	}
}

// TestDecoder_Decode_Independent makes sure that nothing of one payload, good or
// bad, shows in the next.
func TestDecoder_Decode_Independent(t *testing.T) {
	decoder := wire.NewDecoder()
	before := []string{
		`{"schema_version":7,"device_id":"a","message_id":"b","boot_id":"c","sequence":1,"observed_at_ms":1,"metrics":{"a":1,"b":2},"attributes":{"c":"d"},"x":1}`,
		`{"schema_version":1,"metrics":{"a":1,"a":2}}`, `{"schema_version":1,"metrics":{"a":`, `{"x":{"y":{"z":{"w":{}}}}}`, "\xff",
		"\x08\x01\x28\x07\x30\x01\x3a\x05\x0a\x01a\x18\x02", "\x3a\x05",
	}
	for _, payload := range before {
		_, _, _ = decoder.Decode(edge.EncodingAuto, []byte(payload))
		got, _, err := decoder.Decode(edge.EncodingJSON, []byte(`{"schema_version":1,"metrics":{"z":true}}`))
		if err != nil {
			t.Fatal(err)
		}
		want := &edge.Telemetry{SchemaVersion: 1, Attributes: got.Attributes[:0],
			Metrics: []edge.Metric{{Name: "z", Value: edge.Value{Kind: edge.KindBool, Bool: true}}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %q:\n%s", payload, diff)
		}
	}
}

func TestDecoder_Decode_Copies(t *testing.T) {
	payload := []byte(`{"schema_version":1,"message_id":"m-1","device_id":"dev-1","metrics":{"mode":"eco"},"attributes":{"a":"b"}}`)
	telemetry, _, err := wire.NewDecoder().Decode(edge.EncodingJSON, payload)
	if err != nil {
		t.Fatal(err)
	}
	want := dump(telemetry)
	copy(payload, strings.Repeat("#", len(payload)))
	if diff := cmp.Diff(want, dump(telemetry)); diff != "" {
		t.Errorf("the telemetry changes with the payload:\n%s", diff)
	}
}

// TestDecoder_Decode_ManyNames goes far beyond what a decoder remembers.
func TestDecoder_Decode_ManyNames(t *testing.T) {
	decoder := wire.NewDecoder()
	for i := range 2000 {
		text := fmt.Sprintf("v%d", i)
		got, _, err := decoder.Decode(edge.EncodingJSON, fmt.Appendf(nil, `{"metrics":{"n%d":"%s","always":1}}`, i, text))
		if err != nil || got.Metrics[0].Name != fmt.Sprintf("n%d", i) || got.Metrics[0].Value.Text != text || got.Metrics[1].Name != "always" {
			t.Fatal(i, got, err)
		}
	}
}

func TestDecoder_Decode_Unknown(t *testing.T) {
	telemetry, _, err := wire.NewDecoder().Decode(edge.EncodingJSON,
		[]byte(`{"a":null,"b":[1,{"c":[]}],"metrics":{"n":1},"D":"x","e":1.5e300,"f":{}}`))
	if err != nil || telemetry.Unknown != 5 {
		t.Errorf("got %+v, %v", telemetry, err)
	}
}

func TestDecoder_Decode_ObservedAt(t *testing.T) {
	tests := map[string]string{
		`"observed_at":"2026-11-22T18:00:00Z"`:                    "2026-11-22T18:00:00Z",
		`"observed_at":"2026-11-22T20:00:00.9999999+02:00"`:       "2026-11-22T18:00:00.999999Z",
		`"observed_at_ms":-1`:                                     "1969-12-31T23:59:59.999Z",
		`"observed_at_ms":1.5e3`:                                  "1970-01-01T00:00:01.5Z",
		`"observed_at":"2026-11-22T18:00:00"`:                     "out_of_range",
		`"observed_at":"2026-11-22 18:00:00Z"`:                    "out_of_range",
		`"observed_at":"2026-11-22T18:00:60Z"`:                    "out_of_range",
		`"observed_at":"2026-02-30T18:00:00Z"`:                    "out_of_range",
		`"observed_at":"2026-11-22T24:00:00Z"`:                    "out_of_range",
		`"observed_at":"2026-11-22T18:00:00,5Z"`:                  "out_of_range",
		`"observed_at":"0001-01-01T00:00:00+01:00"`:               "out_of_range",
		`"observed_at":"9999-12-31T23:59:59-01:00"`:               "out_of_range",
		`"observed_at":"2026-11-22T8:00:00Z"`:                     "out_of_range",
		`"observed_at":"2026-11-22T18:00:00+24:00"`:               "out_of_range",
		`"observed_at":"2026-11-22T18:00:00+23:60"`:               "out_of_range",
		`"observed_at":"2026-11-22T18:00:00-23:59"`:               "2026-11-23T17:59:00Z",
		`"observed_at":"2026-11-22t18:00:00z"`:                    "out_of_range",
		`"observed_at":""`:                                        "out_of_range",
		`"observed_at_ms":1.5`:                                    "out_of_range",
		`"observed_at_ms":9223372036854775807`:                    "out_of_range",
		`"observed_at_ms":1e300`:                                  "out_of_range",
		`"observed_at_ms":"1"`:                                    "wrong_type",
		`"observed_at":1`:                                         "wrong_type",
		`"observed_at":null`:                                      "wrong_type",
		`"observed_at_ms":1,"observed_at":"2026-11-22T18:00:00Z"`: "duplicate_key",
	}
	for member, want := range tests {
		t.Run(member, func(t *testing.T) {
			telemetry, _, err := wire.NewDecoder().Decode(edge.EncodingJSON, []byte("{"+member+"}"))
			got := ""
			if err != nil {
				got = string(edge.AsError(err).Reason)
			} else {
				got = telemetry.ObservedAt.Format(time.RFC3339Nano)
			}
			if got != want {
				t.Errorf("got %s (%v), want %s", got, err, want)
			}
		})
	}
}

func TestDecoder_Decode_Refusals(t *testing.T) {
	const malformed, invalid = "malformed", "invalid"
	tests := map[string]refusal{
		`{"a":{"b":{"c":1}}}`:                   {Code: invalid, Reason: "missing_field", Field: "schema_version"}, // depth 3 is allowed
		`{"a":[[[[]]]]}`:                        {Code: malformed, Reason: "depth"},
		`{"a":` + strings.Repeat("[", 60000):    {Code: malformed, Reason: "depth"},
		`[` + typical + `]`:                     {Code: invalid, Reason: "wrong_type"},
		`"text"`:                                {Code: invalid, Reason: "wrong_type"},
		`null`:                                  {Code: invalid, Reason: "wrong_type"},
		`{`:                                     {Code: malformed, Reason: "malformed"},
		typical + typical:                       {Code: malformed, Reason: "malformed"},
		typical + "\x00":                        {Code: malformed, Reason: "malformed"},
		`{'a':1}`:                               {Code: malformed, Reason: "malformed"},
		`{"a" 1}`:                               {Code: malformed, Reason: "malformed"},
		`{"a":01}`:                              {Code: malformed, Reason: "malformed"},
		`{"a":+1}`:                              {Code: malformed, Reason: "malformed"},
		`{"a":"` + "\n" + `"}`:                  {Code: malformed, Reason: "malformed"},
		`{"a":"\x41"}`:                          {Code: malformed, Reason: "malformed"},
		`{"a":"\udc00\ud800"}`:                  {Code: malformed, Reason: "malformed"},
		`{"\ud800":1}`:                          {Code: malformed, Reason: "malformed"},
		"{\"a\":\"\xed\xa0\x80\"}":              {Code: malformed, Reason: "encoding"},
		"{\"a\":\"\xc0\x80\"}":                  {Code: malformed, Reason: "encoding"},
		"{\"\xff\":1}":                          {Code: malformed, Reason: "encoding"},
		"\x00{\x00}":                            {Code: malformed, Reason: "malformed"},
		`{"a":[{"k":1,"\u006b":2}]}`:            {Code: malformed, Reason: "duplicate_key"},
		`{"metrics":{"n":1},"metrics":{"n":1}}`: {Code: malformed, Reason: "duplicate_key"},
		`{"attributes":{"a":"x","\u0061":"y"}}`: {Code: malformed, Reason: "duplicate_key"},
		`{"schema_version":1.5}`:                {Code: invalid, Reason: "schema_version", Field: "schema_version"},
		`{"schema_version":-1}`:                 {Code: invalid, Reason: "schema_version", Field: "schema_version"},
		`{"schema_version":4294967297}`:         {Code: invalid, Reason: "schema_version", Field: "schema_version"},
		`{"schema_version":true}`:               {Code: invalid, Reason: "wrong_type", Field: "schema_version"},
		`{"sequence":1e400}`:                    {Code: invalid, Reason: "out_of_range", Field: "sequence"},
		`{"sequence":18446744073709551616}`:     {Code: invalid, Reason: "out_of_range", Field: "sequence"},
		`{"sequence":{}}`:                       {Code: invalid, Reason: "wrong_type", Field: "sequence"},
		`{"metrics":{"n":-1e999}}`:              {Code: invalid, Reason: "out_of_range", Field: "metrics.n"},
		`{"metrics":{"a b":null}}`:              {Code: invalid, Reason: "wrong_type", Field: "metrics"},
		`{"metrics":"x"}`:                       {Code: invalid, Reason: "wrong_type", Field: "metrics"},
		`{"attributes":{"fw":true}}`:            {Code: invalid, Reason: "wrong_type", Field: "attributes.fw"},
		`{"attributes":[]}`:                     {Code: invalid, Reason: "wrong_type", Field: "attributes"},
		`{"metrics":{` + strings.Repeat(`"n":`, 3) + `1`: {Code: malformed, Reason: "malformed"},
	}
	for payload, want := range tests {
		t.Run(payload[:min(len(payload), 40)], func(t *testing.T) {
			if diff := cmp.Diff(want, refusalOf(t, edge.EncodingJSON, []byte(payload), "dev-1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDecoder_Decode_Truncated cuts a payload at each byte: none but the whole
// is telemetry.
func TestDecoder_Decode_Truncated(t *testing.T) {
	decoder := wire.NewDecoder()
	for i := range len(typical) {
		if _, _, err := decoder.Decode(edge.EncodingJSON, []byte(typical[:i])); edge.AsError(err).Code != edge.Malformed {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

func TestDecoder_Decode_Allocations(t *testing.T) {
	decoder, payload := wire.NewDecoder(), []byte(typical)
	got := testing.AllocsPerRun(1000, func() {
		if _, _, err := decoder.Decode(edge.EncodingAuto, payload); err != nil {
			t.Fatal(err)
		}
	})
	if got > 3 {
		t.Errorf("%v allocations for a typical message", got)
	}
}

func BenchmarkDecoder_Decode(b *testing.B) {
	decoder, payload := wire.NewDecoder(), []byte(typical)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, _, err := decoder.Decode(edge.EncodingAuto, payload); err != nil {
			b.Fatal(err)
		}
	}
}
