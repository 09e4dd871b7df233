package observe_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/server/observe"
)

func TestObserver_Shutdown(t *testing.T) {
	t.Run("ACollectorThatHangsHoldsNothingUp", func(t *testing.T) {
		serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
			<-r.Context().Done()
		}))
		t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
		t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
		observer, _ := newObserver(t)

		began := time.Now()
		for range 20000 {
			observer.Tracer.Start(observe.TraceContext{}, "root").End()
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("20,000 spans took %v", took)
		}
		began = time.Now()
		if err := observer.Shutdown(t.Context()); err == nil {
			t.Error("spans were left behind and Shutdown does not say so")
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
		// 2,048 wait, 10 are under way, 10 may be gathered; everything else is dropped.
		dropped := observer.Metrics.Counter("trace_spans_total", "dropped").Value()
		if dropped < 20000-2048-20 || dropped > 20000-2048 {
			t.Errorf("%d spans are counted as dropped", dropped)
		}
	})
	t.Run("ACollectorThatIsAbsent", func(t *testing.T) {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
		t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
		observer, _ := newObserver(t)
		observer.Tracer.Start(observe.TraceContext{}, "root").End()
		began := time.Now()
		_ = observer.Shutdown(t.Context()) // whether it gave up or was told to does not matter
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
	})
	t.Run("SpansThatEndLaterAreDropped", func(t *testing.T) {
		collector := newCollector(t, "always_on", "")
		observer, _ := newObserver(t)
		late := observer.Tracer.Start(observe.TraceContext{}, "late")
		if spans := collector.received(t, observer); len(spans) != 0 {
			t.Errorf("received %v", spans)
		}
		late.End()
		observer.Tracer.Start(observe.TraceContext{}, "later").End()
	})
}

func TestObserver_ExportErrors(t *testing.T) {
	refused := make(chan struct{}, 100)
	serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not for you", http.StatusForbidden)
		refused <- struct{}{}
	}))
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	observer, log := newObserver(t)
	for range 5 {
		observer.Tracer.Start(observe.TraceContext{}, "root").End()
	}
	if err := observer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(refused) != 5 {
		t.Fatalf("%d requests were refused, want 5", len(refused))
	}
	if lines := bytes.Count(log.Bytes(), []byte("\n")); lines != 1 || !strings.Contains(log.String(), "403") {
		t.Errorf("want one line about it, got %d:\n%s", lines, log)
	}
	if failed := observer.Metrics.Counter("trace_spans_total", "failed").Value(); failed != 5 {
		t.Errorf("%d spans are counted as failed", failed)
	}
}
