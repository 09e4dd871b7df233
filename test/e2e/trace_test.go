package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// The trace that the caller of these tests has begun.
const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
	traceParent = "00-" + traceID + "-" + callerSpan + "-01"
)

// newTracedGateway sends its traces to the collector.
func newTracedGateway(t *testing.T, collector *harness.Collector, receiver *harness.Receiver) *harness.Gateway {
	t.Helper()
	gateway := newGateway(t)
	gateway.SetSinks(harness.HTTPSinkYAML("analytics", receiver.Address()))
	gateway.Env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.Endpoint(), "OTEL_BSP_SCHEDULE_DELAY=100"}
	return gateway
}

func newCollector(t *testing.T) *harness.Collector {
	t.Helper()
	collector := harness.NewCollector()
	t.Cleanup(collector.Close)
	return collector
}

// postTraced posts one message as part of the caller's trace.
func postTraced(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/json", []byte(message), "Traceparent", traceParent)
	if status != http.StatusAccepted {
		t.Fatalf("status %d: %s", status, answer)
	}
}

// awaitTrace waits for the spans of the caller's trace: an ingest, an append and
// so many attempts.
func awaitTrace(t *testing.T, collector *harness.Collector, attempts int) map[string][]harness.Span {
	t.Helper()
	var byName map[string][]harness.Span
	harness.Must(t, harness.Poll(harness.Within(t, 30*time.Second), "the trace", func() (bool, error) {
		byName = map[string][]harness.Span{}
		for _, span := range collector.Spans() {
			if span.TraceID == traceID {
				byName[span.Name] = append(byName[span.Name], span)
			}
		}
		return len(byName["ingest"]) > 0 && len(byName["append"]) > 0 && len(byName["deliver"]) >= attempts, fmt.Errorf("spans %v", byName)
	}))
	return byName
}

// checkTrace judges the spans up to the durable record and returns the span id
// that deliveries continue.
func checkTrace(t *testing.T, collector *harness.Collector, spans map[string][]harness.Span) string {
	t.Helper()
	if len(spans["ingest"]) != 1 || len(spans["append"]) != 1 {
		t.Fatalf("%d ingest spans and %d append spans, want one each", len(spans["ingest"]), len(spans["append"]))
	}
	ingest, stored := spans["ingest"][0], spans["append"][0]
	if !descends(spans, ingest, callerSpan) {
		t.Errorf("ingest is not below the caller's span: %+v", ingest)
	}
	if stored.ParentID != ingest.SpanID {
		t.Errorf("append is not below ingest: %+v", stored)
	}
	linked := slices.ContainsFunc(collector.Spans(), func(commit harness.Span) bool {
		return commit.Name == "commit" && (slices.Contains(commit.Links, stored.SpanID) || slices.Contains(stored.Links, commit.SpanID))
	})
	if !linked {
		t.Errorf("append is not linked to its commit: %+v", stored)
	}
	return stored.SpanID
}

// descends reports whether a span lies below an ancestor.
func descends(spans map[string][]harness.Span, span harness.Span, ancestor string) bool {
	parents := map[string]string{}
	for _, named := range spans {
		for _, one := range named {
			parents[one.SpanID] = one.ParentID
		}
	}
	for id := span.SpanID; id != ""; id = parents[id] {
		if parents[id] == ancestor {
			return true
		}
	}
	return false
}

func TestTrace(t *testing.T) {
	t.Run("OnePostAndASinkThatFailsTwiceIsOneTrace", func(t *testing.T) {
		var asked atomic.Int32
		receiver := newReceiver(t, func(harness.Request) harness.Answer {
			if asked.Add(1) <= 2 {
				return harness.Answer{Status: http.StatusServiceUnavailable, Body: "not now"}
			}
			return harness.Accept
		})
		collector := newCollector(t)
		gateway := newTracedGateway(t, collector, receiver)
		harness.Must(t, gateway.Start(t.Context()))
		postTraced(t, gateway)
		awaitDrained(t, gateway, 30*time.Second)

		spans := awaitTrace(t, collector, 3)
		stored := checkTrace(t, collector, spans)
		attempts := spans["deliver"]
		slices.SortFunc(attempts, func(a, b harness.Span) int { return int(int64(a.Start) - int64(b.Start)) })
		if len(attempts) != 3 {
			t.Fatalf("%d attempts, want 3", len(attempts))
		}
		for i, attempt := range attempts {
			if attempt.ParentID != stored || attempt.Failed != (i < 2) {
				t.Errorf("attempt %d: %+v", i+1, attempt)
			}
		}
		if got := receiver.Accepted(); len(got) != 1 || len(got[0].TraceParent) != len(traceParent) || got[0].TraceParent[3:35] != traceID {
			t.Errorf("the receiver cannot continue the trace: %+v", got)
		}
		stop(t, gateway)
	})

	t.Run("RestartBetweenAppendAndDeliveryIsStillOneTrace", func(t *testing.T) {
		receiver := newReceiver(t, nil)
		harness.Must(t, receiver.Close())
		collector := newCollector(t)
		gateway := newTracedGateway(t, collector, receiver)
		harness.Must(t, gateway.Start(t.Context()))
		postTraced(t, gateway)
		stored := checkTrace(t, collector, awaitTrace(t, collector, 1))
		harness.Must(t, gateway.Kill())

		harness.Must(t, receiver.Open())
		harness.Must(t, gateway.Start(t.Context()))
		awaitDrained(t, gateway, 30*time.Second)
		harness.Must(t, harness.Poll(harness.Within(t, 30*time.Second), "the delivery's span", func() (bool, error) {
			return slices.ContainsFunc(collector.Spans(), func(span harness.Span) bool {
				return span.TraceID == traceID && span.Name == "deliver" && span.ParentID == stored && !span.Failed
			}), fmt.Errorf("spans %+v", collector.Spans())
		}))
		stop(t, gateway)
	})
}
