package dispatch_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
)

// collector is an OTLP/HTTP receiver.
type collector struct {
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var request collectorv1.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// spanView is what an operator sees of a span.
type spanView struct {
	Name, Outcome, Status string
	Attempt               int64
	Failed                bool
	Child                 bool // of the record's trace context
}

func (c *collector) view(parent observe.TraceContext) (views []spanView) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range c.spans {
		view := spanView{
			Name: span.Name, Failed: span.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR,
			Child: slices.Equal(span.TraceId, parent.TraceID[:]) && slices.Equal(span.ParentSpanId, parent.SpanID[:]),
		}
		for _, attribute := range span.Attributes {
			switch attribute.Key {
			case observe.AttributeOutcome:
				view.Outcome = attribute.Value.GetStringValue()
			case observe.AttributeStatus:
				view.Status = attribute.Value.GetStringValue()
			case observe.AttributeAttempt:
				view.Attempt = attribute.Value.GetIntValue()
			}
		}
		views = append(views, view)
	}
	slices.SortFunc(views, func(a, b spanView) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return views
}

// TestDispatcher_Traces runs in real time, because it sends real spans to a
// real receiver.
func TestDispatcher_Traces(t *testing.T) {
	sampled := observe.TraceContext{TraceID: [16]byte{15: 7}, SpanID: [8]byte{7: 9}, Sampled: true}
	unsampled := sampled
	unsampled.Sampled = false
	t.Run("SpanPerAttempt", func(t *testing.T) {
		var mu sync.Mutex
		var carried []observe.TraceContext
		script := edgetest.Sequence(
			edge.Outcome{Class: edge.Unavailable, Status: "503", Excerpt: "busy"},
			edge.Outcome{Class: edge.Unavailable, Status: "503"},
			edge.Outcome{Class: edge.Delivered, Status: "207", Refused: []edge.Refused{{Index: 2, Status: "422"}}},
		)
		sink := edgetest.NewSink(func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome {
			mu.Lock()
			defer mu.Unlock()
			carried = append(carried, observe.FromContext(ctx))
			return script(ctx, call, batch)
		})
		entries := edgetest.Entries(4, 1, 1)
		entries[0].Record.TraceParent = unsampled.TraceParent()
		entries[1].Record.TraceParent = sampled.TraceParent()
		entries[2].Record.TraceParent = "not a trace parent"
		got := deliverTraced(t, sink, entries).view(sampled)
		want := []spanView{
			{"deliver", "busy", "503", 1, true, true},
			{"deliver", "busy", "503", 2, true, true},
			{"deliver", "delivered", "207", 3, false, true},
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, c := range carried {
			if c.TraceID != sampled.TraceID || c.SpanID == sampled.SpanID || !c.Sampled {
				t.Errorf("the sink was called with %+v, want the context of the deliver span", c)
			}
		}
	})
	t.Run("RefusedRecordFails", func(t *testing.T) {
		sink := edgetest.NewSink(edgetest.RefuseRecords(isSequence(1)))
		entries := edgetest.Entries(2, 1, 1)
		for i := range entries {
			entries[i].Record.TraceParent = sampled.TraceParent()
		}
		failed := 0
		for _, view := range deliverTraced(t, sink, entries).view(sampled) {
			if view.Failed {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d of 2 spans failed, want that of the refused record", failed)
		}
	})
	t.Run("AtMost32", func(t *testing.T) {
		entries := edgetest.Entries(40, 1, 1)
		for i := range entries {
			entries[i].Record.TraceParent = sampled.TraceParent()
		}
		if got := len(deliverTraced(t, edgetest.NewSink(nil), entries).view(sampled)); got != 32 {
			t.Errorf("%d spans for one attempt, want 32", got)
		}
	})
}

// deliverTraced delivers the entries as one batch and returns the collector
// that received the spans.
func deliverTraced(t *testing.T, sink *edgetest.Sink, entries []edge.Entry) *collector {
	t.Helper()
	receiver := &collector{}
	server := httptest.NewServer(receiver)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	observer, err := observe.New(t.Context(), observe.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	queue := edgetest.NewQueue(1)
	edgetest.Append(t, queue, entries...)
	dispatcher := dispatch.New(edge.NewPlan([]edge.PlannedSink{planned(1, 1, 100)}), queue, only(sink), observer)
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- dispatcher.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for dispatcher.Stats()[0].LastSuccess.IsZero() && ctx.Err() == nil {
		<-tick.C
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if err := observer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	return receiver
}
