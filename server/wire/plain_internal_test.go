package wire

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// bothWays reads a payload plainly and in general, with decoders that have read
// another one before. plainly is nil where the plain reader gives up.
func bothWays(t *testing.T, payload []byte) (plainly, generally *edge.Telemetry) {
	t.Helper()
	before := []byte(`{"schema_version":7,"device_id":"a","message_id":"b","boot_id":"c","sequence":1,"observed_at_ms":1,"metrics":{"a":1,"t":"x"},"attributes":{"c":"d"}}`)
	plain, general := NewDecoder(), NewDecoder()
	if !plain.decodePlain(before) {
		t.Fatal("the payload before is not plain")
	}
	plain.forget()
	if plain.decodePlain(payload) {
		plainly = &plain.telemetry
	}
	if err := general.decodeJSON(payload); err == nil {
		generally = &general.telemetry
	}
	return plainly, generally
}

// same fails when the plain reader read something that the general one refuses
// or reads differently.
func same(t *testing.T, payload string) (plainly *edge.Telemetry) {
	t.Helper()
	plainly, generally := bothWays(t, []byte(payload))
	if plainly == nil {
		return nil
	}
	if generally == nil {
		t.Fatalf("read what is to be refused: %q", payload)
	}
	// Bits, because -0 is not 0 in the canonical record.
	equal := func(a, b edge.Metric) bool {
		return a.Name == b.Name && a.Value.Kind == b.Value.Kind && a.Value.Bool == b.Value.Bool && a.Value.Integer == b.Value.Integer &&
			a.Value.Text == b.Value.Text && math.Float64bits(a.Value.Number) == math.Float64bits(b.Value.Number)
	}
	if !slices.EqualFunc(plainly.Metrics, generally.Metrics, equal) || !slices.Equal(plainly.Attributes, generally.Attributes) {
		t.Errorf("%s:\n%+v, want\n%+v", payload, plainly, generally)
	}
	got, want := *plainly, *generally
	got.Metrics, want.Metrics, got.Attributes, want.Attributes = nil, nil, nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s:\n%s", payload, diff)
	}
	return plainly
}

// TestPlain_Reads lists what must take the short way: the benchmarks stand on it.
func TestPlain_Reads(t *testing.T) {
	for _, payload := range []string{
		`{}`,
		`{"schema_version":1,"boot_id":"a91f","sequence":42,"metrics":{"t":23.51,"open":false,"shut":true,"mode":"eco","rssi":-71},"attributes":{"fw":"1.2.0"}}`,
		` { "schema_version" : 1 , "device_id" : "dev-1" , "message_id":"m-1"` + "\n\t\r" + `, "metrics" : { } } `,
		`{"observed_at":"2026-11-22T20:00:00.9999999+02:00"}`, `{"observed_at_ms":1790000000000}`,
		`{"sequence":9007199254740991,"metrics":{"a":0,"b":-0,"c":0.0,"d":-0.0,"e":999999999999999999,"f":-999999999999999999,"g":0.1,"h":123456789012.345,"i":""}}`,
	} {
		if same(t, payload) == nil {
			t.Errorf("gives up on %s", payload)
		}
	}
}

// TestPlain_GivesUp lists what the general reader has to judge.
func TestPlain_GivesUp(t *testing.T) {
	var many strings.Builder
	for i := range plainMembers + 1 {
		many.WriteString(`,"m` + string(rune('a'+i)) + `":1`)
	}
	for _, payload := range []string{
		``, ` `, `{`, `[]`, `null`, `{}{}`, `{},`, `{"a":1}`, `{"metrics":null}`, `{"metrics":[]}`, `{"sequence":-1}`, `{"sequence":1.0}`, `{"sequence":1e3}`,
		`{"schema_version":4294967296}`, `{"schema_version":1,"schema_version":1}`, `{"metrics":{},"metrics":{}}`, `{"metrics":{"a":1,"a":1}}`,
		`{"attributes":{"a":"x","a":"x"}}`, `{"attributes":{"a":1}}`, `{"boot_id":""}`, `{"device_id":"\u0061"}`, `{"boot_id":"é"}`, "{\"boot_id\":\"\x7f\"}", "{\"boot_id\":\"\n\"}",
		`{"metrics":{"a":01}}`, `{"metrics":{"a":-}}`, `{"metrics":{"a":.5}}`, `{"metrics":{"a":1.}}`, `{"metrics":{"a":1e5}}`, `{"metrics":{"a":1.5E5}}`, `{"metrics":{"a":+1}}`,
		`{"metrics":{"a":1234567890123456789}}`, `{"metrics":{"a":12345678.90123456}}`, `{"metrics":{"a":tru}}`, `{"metrics":{"a":truex}}`, `{"metrics":{"a":null}}`, `{"metrics":{"a":NaN}}`,
		`{"metrics":{"a":1,}}`, `{"metrics":{"a" 1}}`, `{"metrics":{"a":1 "b":2}}`, `{"metrics":{` + many.String()[1:] + `}}`, `{"observed_at":"yesterday"}`, `{"observed_at":"2026-11-22T18:00:00Z","observed_at_ms":1}`,
		"\xef\xbb\xbf{}", "{}\x00",
	} {
		if same(t, payload) != nil {
			t.Errorf("reads %s", payload)
		}
	}
}

// FuzzDecoder_Plain holds the two readers equal.
func FuzzDecoder_Plain(f *testing.F) {
	f.Add(`{"schema_version":1,"boot_id":"a91f","sequence":42,"observed_at":"2026-11-22T18:00:00.5Z","metrics":{"t":-23.51,"open":false,"mode":"eco"},"attributes":{"fw":"1.2.0"}}`)
	f.Add(` {"message_id":"m","device_id":"d","observed_at_ms":-5,"metrics":{"a":1e5,"b":0.000000000000001,"c":123456789012345678}} `)
	f.Fuzz(func(t *testing.T, payload string) { same(t, payload) })
}

// FuzzPlain_Number looks at numbers alone, where a wrong bit is easily made.
func FuzzPlain_Number(f *testing.F) {
	for _, number := range []string{"0", "-0.0", "0.1", "3.141592653589793", "99999999999999.9", "1e22", "-5", "5e-324"} {
		f.Add(number)
	}
	f.Fuzz(func(t *testing.T, number string) { same(t, `{"metrics":{"n":`+number+`}}`) })
}
