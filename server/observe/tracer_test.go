package observe_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/server/observe"
)

// collector is an OTLP/HTTP receiver.
type collector struct {
	mu       sync.Mutex
	paths    []string
	resource map[string]string
	spans    []*tracepb.Span
}

// newCollector starts a receiver and points the environment at it.
func newCollector(t *testing.T, sampler, argument string) *collector {
	t.Helper()
	c := &collector{}
	serve(t, c)
	t.Setenv("OTEL_TRACES_SAMPLER", sampler)
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", argument)
	return c
}

func serve(t *testing.T, handler http.Handler) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request coltracepb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, r.Method+" "+r.URL.Path)
	for _, part := range request.GetResourceSpans() {
		c.resource = attributes(part.GetResource().GetAttributes())
		for _, scope := range part.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

func attributes(pairs []*commonpb.KeyValue) map[string]string {
	texts := make(map[string]string)
	for _, pair := range pairs {
		texts[pair.GetKey()] = strings.TrimSpace(strings.SplitN(pair.GetValue().String(), ":", 2)[1])
	}
	return texts
}

// received shuts the observer down, which sends what waits, and returns the
// spans by name.
func (c *collector) received(t *testing.T, observer *observe.Observer) map[string]*tracepb.Span {
	t.Helper()
	if err := observer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	byName := make(map[string]*tracepb.Span)
	for _, span := range c.spans {
		byName[span.GetName()] = span
	}
	return byName
}

func TestTracer_Start(t *testing.T) {
	collector := newCollector(t, "parentbased_always_on", "")
	observer, _ := newObserver(t)
	tracer := observer.Tracer
	other, _ := observe.ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	began := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)

	root := tracer.Start(observe.TraceContext{}, "root", observe.WithKind(observe.KindServer), observe.WithStart(began))
	child := tracer.Start(root.Context(), "child", observe.WithKind(observe.KindProducer), observe.WithLinks(other, observe.TraceContext{}))
	child.Set("text", "x")
	child.Set("number", int64(7))
	child.Set("truth", true)
	child.Set("took", 1500*time.Millisecond)
	child.Fail(nil)
	child.Link(root.Context())
	child.End()
	remote := tracer.Start(other, "remote", observe.WithKind(observe.KindClient))
	remote.Fail(errors.New("no route"))
	remote.End()
	root.End()

	spans := collector.received(t, observer)
	if len(spans) != 3 {
		t.Fatalf("received %v", spans)
	}
	same(t, "trace of child", spans["child"].GetTraceId(), spans["root"].GetTraceId())
	same(t, "parent of child", spans["child"].GetParentSpanId(), spans["root"].GetSpanId())
	same(t, "trace of remote", spans["remote"].GetTraceId(), other.TraceID[:])
	same(t, "parent of remote", spans["remote"].GetParentSpanId(), other.SpanID[:])
	same(t, "parent of root", spans["root"].GetParentSpanId(), nil)
	if got := root.Context(); hex.EncodeToString(got.TraceID[:]) != hex.EncodeToString(spans["root"].GetTraceId()) || !got.Sampled {
		t.Errorf("root has the context %+v", got)
	}
	if got := spans["root"].GetStartTimeUnixNano(); got != uint64(began.UnixNano()) {
		t.Errorf("root began at %d", got)
	}
	want := map[string]string{"text": `"x"`, "number": "7", "truth": "true", "took": "1.5"}
	if diff := cmp.Diff(want, attributes(spans["child"].GetAttributes())); diff != "" {
		t.Error(diff)
	}
	if links := spans["child"].GetLinks(); len(links) != 2 || !bytes.Equal(links[0].GetSpanId(), other.SpanID[:]) {
		t.Errorf("child has the links %v", links)
	}
	kinds := []tracepb.Span_SpanKind{spans["root"].GetKind(), spans["child"].GetKind(), spans["remote"].GetKind()}
	if diff := cmp.Diff([]tracepb.Span_SpanKind{tracepb.Span_SPAN_KIND_SERVER, tracepb.Span_SPAN_KIND_PRODUCER, tracepb.Span_SPAN_KIND_CLIENT}, kinds); diff != "" {
		t.Error(diff)
	}
	if status := spans["remote"].GetStatus(); status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || status.GetMessage() != "no route" {
		t.Errorf("remote has the status %v", status)
	}
	if status := spans["child"].GetStatus(); status.GetCode() != tracepb.Status_STATUS_CODE_UNSET {
		t.Errorf("child has the status %v", status)
	}
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
}

func TestTracer_Resource(t *testing.T) {
	tests := map[string]struct{ environment, want string }{
		"Default":     {"", `"gateway"`},
		"Environment": {"site-gateway", `"site-gateway"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			collector := newCollector(t, "always_on", "")
			t.Setenv("OTEL_SERVICE_NAME", test.environment)
			observer, _ := newObserver(t)
			observer.Tracer.Start(observe.TraceContext{}, "root").End()
			collector.received(t, observer)
			if diff := cmp.Diff([]string{"POST /v1/traces"}, collector.paths); diff != "" {
				t.Error(diff)
			}
			got := collector.resource
			if got["service.name"] != test.want || got["service.version"] != `"1.2.3"` || got["service.instance.id"] != `"site-7"` {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTracer_Sampling(t *testing.T) {
	sampled, _ := observe.ParseTraceParent("00-0af7651916cd43dd0000000000000000-b7ad6b7169203331-01")
	unsampled := sampled
	unsampled.Sampled = false
	tests := map[string]struct {
		sampler, argument      string
		least, most            int // of 10,000 roots
		belowOn, belowOff      bool
		disabled, exporter, to string
	}{
		"Default":           {least: 20, most: 200, belowOn: true},
		"DefaultWithRatio":  {argument: "1", least: 10000, most: 10000, belowOn: true},
		"ParentBasedOn":     {sampler: "parentbased_always_on", least: 10000, most: 10000, belowOn: true},
		"ParentBasedOff":    {sampler: "parentbased_always_off", belowOn: true},
		"ParentBasedRatio":  {sampler: "parentbased_traceidratio", argument: "0.5", least: 4500, most: 5500, belowOn: true},
		"On":                {sampler: "always_on", least: 10000, most: 10000, belowOn: true, belowOff: true},
		"Off":               {sampler: "always_off"},
		"RatioByTraceID":    {sampler: "traceidratio", argument: "0.5", least: 4500, most: 5500, belowOn: true, belowOff: true},
		"Disabled":          {sampler: "always_on", disabled: "true"},
		"NoExporter":        {sampler: "always_on", exporter: "none"},
		"NoEndpointNothing": {sampler: "always_on", to: "nowhere"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			newCollector(t, test.sampler, test.argument)
			t.Setenv("OTEL_SDK_DISABLED", test.disabled)
			t.Setenv("OTEL_TRACES_EXPORTER", test.exporter)
			if test.to == "nowhere" {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
			}
			observer, _ := newObserver(t)
			defer observer.Shutdown(t.Context()) //nolint:errcheck // nothing is sent that matters
			roots := 0
			for range 10000 {
				if observer.Tracer.Start(observe.TraceContext{}, "root").Sampled() {
					roots++
				}
			}
			if roots < test.least || roots > test.most {
				t.Errorf("%d of 10,000 roots are sampled", roots)
			}
			if got := observer.Tracer.Start(sampled, "below").Sampled(); got != test.belowOn {
				t.Errorf("below a sampled parent: %v", got)
			}
			below := observer.Tracer.Start(unsampled, "below")
			if below.Sampled() != test.belowOff {
				t.Errorf("below an unsampled parent: %v", below.Sampled())
			}
			if !below.Sampled() && below.Context() != unsampled {
				t.Error("an unsampled trace does not pass through")
			}
		})
	}
}

func TestNew_GRPC(t *testing.T) {
	newCollector(t, "", "")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := observe.New(t.Context(), observe.Settings{}); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("got %v", err)
	}
}

func TestNew_BadSampler(t *testing.T) {
	tests := map[string][2]string{
		"Unknown": {"jaeger_remote", ""}, "ParentBasedNothing": {"parentbased_", ""}, "Ratio": {"traceidratio", "1.5"}, "NotANumber": {"", "NaN"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			newCollector(t, test[0], test[1])
			if _, err := observe.New(t.Context(), observe.Settings{}); err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_SAMPLER") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// unsampled exercises everything that a message which nobody traces goes
// through.
func unsampled(tracer *observe.Tracer, parent observe.TraceContext) {
	span := tracer.Start(parent, "append", observe.WithKind(observe.KindProducer), observe.WithLinks(parent))
	span.Set("messages", int64(12345))
	span.Set("sink", "archive")
	span.Fail(nil)
	span.End()
}

func TestTracer_Start_UnsampledAllocatesNothing(t *testing.T) {
	newCollector(t, "parentbased_traceidratio", "0.0000000001")
	observer, _ := newObserver(t)
	defer observer.Shutdown(t.Context()) //nolint:errcheck // nothing is sent
	parent, _ := observe.ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	for name, parent := range map[string]observe.TraceContext{"Root": {}, "Child": parent} {
		if got := testing.AllocsPerRun(1000, func() { unsampled(observer.Tracer, parent) }); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func BenchmarkTracer_Start(b *testing.B) {
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	observer, err := observe.New(b.Context(), observe.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	defer observer.Shutdown(b.Context()) //nolint:errcheck // nobody listens
	parent, _ := observe.ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	b.Run("Unsampled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			unsampled(observer.Tracer, parent)
		}
	})
}
