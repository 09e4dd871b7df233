package telemetry_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/test/telemetry"
)

type message struct {
	BootID   string         `json:"boot_id"`
	Sequence uint64         `json:"sequence"`
	Metrics  map[string]any `json:"metrics"`
}

func TestSeries_Fill(t *testing.T) {
	series := telemetry.NewSeries("load-00007", "abcdef01")
	payload, seen := series.Template(), map[string]bool{}
	for number := range uint32(2000) {
		series.Fill(payload, number)
		text := string(payload)
		var got message
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got.BootID != "abcdef01" || got.Sequence != telemetry.FirstSequence+uint64(number) || len(got.Metrics) != 5 {
			t.Fatalf("number %d: %s", number, text)
		}
		metrics := text[strings.Index(text, "metrics"):]
		if seen[metrics] {
			t.Fatalf("number %d repeats %s", number, metrics)
		}
		seen[metrics] = true
		again := series.Template()
		if series.Fill(again, number); string(again) != text {
			t.Fatalf("number %d is another message the second time", number)
		}
	}
}

// notShortest finds a fraction that ends with a zero.
var notShortest = regexp.MustCompile(`\.(\d*0)?[,}]`)

func TestSeries_AppendMetrics(t *testing.T) {
	series := telemetry.NewSeries("load-00007", "abcdef01")
	payload := series.Template()
	const template = `{"temperature_c":20,"humidity_percent":40,"pressure":1000,"battery_mv":3000,"door_open":false}`
	if got := string(series.AppendMetrics(nil, payload)); got != template {
		t.Errorf("zeros: %s", got)
	}
	for number := range uint32(2000) {
		series.Fill(payload, number)
		var want message
		if err := json.Unmarshal(payload, &want); err != nil {
			t.Fatal(err)
		}
		text := series.AppendMetrics(nil, payload)
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want.Metrics, got); diff != "" || notShortest.Match(text) {
			t.Fatalf("%s: %s", text, diff)
		}
	}
}
