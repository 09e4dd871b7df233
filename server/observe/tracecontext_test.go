package observe_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"combotto.io/gateway/server/observe"
)

var traceParents = map[string]struct {
	text string
	ok   bool
}{
	"Sampled":         {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
	"NotSampled":      {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true},
	"OtherFlags":      {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", true},
	"FutureVersion":   {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like", true},
	"FutureExact":     {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
	"FutureNoDash":    {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.", false},
	"VersionFF":       {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
	"Longer":          {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false},
	"Shorter":         {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
	"Empty":           {"", false},
	"UpperCase":       {"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false},
	"ZeroTrace":       {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
	"ZeroSpan":        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
	"OtherSeparators": {"00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01", false},
	"BadFlags":        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x", false},
}

func TestParseTraceParent(t *testing.T) {
	for name, test := range traceParents {
		t.Run(name, func(t *testing.T) {
			got, ok := observe.ParseTraceParent(test.text)
			if ok != test.ok || ok == got.IsZero() {
				t.Fatalf("got %+v, %v", got, ok)
			}
			if !ok || test.text[:2] != "00" || test.text[53:] == "ff" {
				return
			}
			if diff := cmp.Diff(test.text, got.TraceParent()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseTraceParent(f *testing.F) {
	for _, test := range traceParents {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, ok := observe.ParseTraceParent(text)
		if !ok {
			return
		}
		second, ok := observe.ParseTraceParent(first.TraceParent())
		if !ok || first != second {
			t.Errorf("%q: %+v, then %+v", text, first, second)
		}
	})
}

func TestContextWith(t *testing.T) {
	want, _ := observe.ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx := observe.ContextWith(t.Context(), want)
	if got := observe.FromContext(ctx); got != want {
		t.Errorf("got %+v", got)
	}
	if found := trace.SpanContextFromContext(ctx); found.TraceID() != want.TraceID || !found.IsSampled() {
		t.Errorf("OpenTelemetry finds %+v", found)
	}
	if got := observe.FromContext(t.Context()); !got.IsZero() || got.TraceParent() != "" {
		t.Errorf("an empty context has %+v", got)
	}
}
