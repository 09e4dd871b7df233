package observe_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/observe"
)

// scrape returns the series of /metrics whose names begin with prefix.
func scrape(t *testing.T, metrics *observe.Metrics, prefix string) []string {
	t.Helper()
	recorder := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	if recorder.Code != 200 {
		t.Fatalf("scrape: %d %s", recorder.Code, recorder.Body)
	}
	var series []string
	for line := range strings.Lines(recorder.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			series = append(series, strings.TrimSpace(line))
		}
	}
	return series
}

func TestMetrics_Counter(t *testing.T) {
	metrics := observe.NewDiscard().Metrics
	t.Run("ClosedCountersStartAtZero", func(t *testing.T) {
		if got := scrape(t, metrics, "gateway_ingest_messages_total"); len(got) != 4*5 || !strings.HasSuffix(got[0], " 0") {
			t.Errorf("got %q", got)
		}
		want := []string{"gateway_queue_quarantined_messages_total 0"}
		if diff := cmp.Diff(want, scrape(t, metrics, "gateway_queue_quarantined")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("ASinkAppearsWithAllItsOutcomes", func(t *testing.T) {
		metrics.Counter("sink_attempts_total", "archive", "busy").Add(3)
		want := []string{
			`gateway_sink_attempts_total{outcome="busy",sink="archive"} 3`,
			`gateway_sink_attempts_total{outcome="delivered",sink="archive"} 0`,
			`gateway_sink_attempts_total{outcome="misconfigured",sink="archive"} 0`,
			`gateway_sink_attempts_total{outcome="rejected",sink="archive"} 0`,
			`gateway_sink_attempts_total{outcome="suspect",sink="archive"} 0`,
		}
		if diff := cmp.Diff(want, scrape(t, metrics, "gateway_sink_attempts_total")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("IngressHasReasonsOfItsOwn", func(t *testing.T) {
		metrics.Counter("dead_lettered_total", "_ingress", "depth").Inc()
		metrics.Counter("dead_lettered_total", "archive", "rejected").Inc()
		got := scrape(t, metrics, "gateway_dead_lettered_total")
		if len(got) != 16+2 || !slices.Contains(got, `gateway_dead_lettered_total{reason="depth",sink="_ingress"} 1`) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("Value", func(t *testing.T) {
		counter := metrics.Counter("mqtt_retain_ignored_total")
		counter.Add(41)
		counter.Inc()
		if got := counter.Value(); got != 42 {
			t.Errorf("got %d", got)
		}
	})
}

func TestMetrics_Counter_Panics(t *testing.T) {
	metrics := observe.NewDiscard().Metrics
	tests := map[string]func(){
		`metric "nonsense" is not in the catalogue`: func() { metrics.Counter("nonsense") },
		`metric "queue_bytes" is a gauge`:           func() { metrics.Counter("queue_bytes") },
		`has the labels ["sink" "outcome"]`:         func() { metrics.Counter("sink_attempts_total", "archive") },
		`label outcome is one of`:                   func() { metrics.Counter("sink_attempts_total", "archive", "lucky") },
		`label reason is one of rejected`:           func() { metrics.Counter("dead_lettered_total", "archive", "depth") },
	}
	for want, resolve := range tests {
		t.Run(want, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("got the panic %q", got)
				}
			}()
			resolve()
		})
	}
}

func TestMetrics_Gauge(t *testing.T) {
	metrics := observe.NewDiscard().Metrics
	connections := metrics.Gauge("mqtt_connections")
	connections.Set(3)
	connections.Add(-1)
	if diff := cmp.Diff([]string{"gateway_mqtt_connections 2"}, scrape(t, metrics, "gateway_mqtt_connections")); diff != "" {
		t.Error(diff)
	}
}

func TestMetrics_Histogram(t *testing.T) {
	metrics := observe.NewDiscard().Metrics
	metrics.Histogram("queue_commit_messages").Observe(150)
	got := scrape(t, metrics, "gateway_queue_commit_messages")
	for _, want := range []string{
		`gateway_queue_commit_messages_bucket{le="100"} 0`, `gateway_queue_commit_messages_bucket{le="200"} 1`, "gateway_queue_commit_messages_count 1",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
}

func TestMetrics_Collect(t *testing.T) {
	t.Run("PulledAtEachScrape", func(t *testing.T) {
		metrics, depth := observe.NewDiscard().Metrics, 0.0
		metrics.Collect(func(emit observe.Emit) {
			depth++
			emit("queue_depth_messages", depth, "archive")
		})
		scrape(t, metrics, "")
		want := []string{`gateway_queue_depth_messages{sink="archive"} 2`}
		if diff := cmp.Diff(want, scrape(t, metrics, "gateway_queue_depth")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("ClosedValuesAreCompleted", func(t *testing.T) {
		metrics := observe.NewDiscard().Metrics
		metrics.Collect(func(emit observe.Emit) { emit("sink_state", 1, "archive", "active") })
		got := scrape(t, metrics, "gateway_sink_state")
		if len(got) != 5 || got[0] != `gateway_sink_state{sink="archive",state="active"} 1` || !strings.HasSuffix(got[1], " 0") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("ReplacesTheInstruments", func(t *testing.T) {
		metrics := observe.NewDiscard().Metrics
		metrics.Counter("sink_delivered_messages_total", "gone").Inc()
		metrics.Collect(func(emit observe.Emit) { emit("sink_delivered_messages_total", 7, "archive") })
		want := []string{`gateway_sink_delivered_messages_total{sink="archive"} 7`}
		if diff := cmp.Diff(want, scrape(t, metrics, "gateway_sink_delivered")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("AMistakeHidesNothingElse", func(t *testing.T) {
		metrics := observe.NewDiscard().Metrics
		metrics.Collect(func(emit observe.Emit) {
			emit("nonsense", 1)
			emit("queue_append_duration_seconds", 1)
			emit("sink_state", 1, "archive", "dreaming")
			emit("queue_bytes", 4096)
		})
		if diff := cmp.Diff([]string{"gateway_queue_bytes 4096"}, scrape(t, metrics, "gateway_queue_bytes")); diff != "" {
			t.Error(diff)
		}
		if _, err := metrics.Registry().Gather(); err == nil || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), "dreaming") {
			t.Errorf("the mistakes are not reported: %v", err)
		}
	})
}

// TestMetrics_Registry finds every metric of the catalogue on a live /metrics,
// under the catalogue's name and type, and nothing else with the prefix.
func TestMetrics_Registry(t *testing.T) {
	observer, _ := newObserver(t)
	want := make(map[string]string)
	for _, metric := range observe.Catalogue() {
		want[observe.Prefix+metric.Name] = metric.Type.String()
		resolve(observer.Metrics, metric)
	}
	families, err := observer.Metrics.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	have, libraries := make(map[string]string), make(map[string]bool)
	for _, family := range families {
		if name := family.GetName(); strings.HasPrefix(name, observe.Prefix) {
			have[name] = strings.ToLower(family.GetType().String())
			continue
		}
		libraries[strings.SplitAfter(family.GetName(), "_")[0]] = true
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{"go_": true, "process_": true}, libraries); diff != "" {
		t.Error(diff)
	}
}

// resolve makes a first series of a metric.
func resolve(metrics *observe.Metrics, metric observe.Metric) {
	var labels []string
	for _, label := range metric.Labels {
		labels = append(labels, append(label.Values, "any")[0])
	}
	switch metric.Type {
	case observe.TypeCounter:
		metrics.Counter(metric.Name, labels...)
	case observe.TypeGauge:
		metrics.Gauge(metric.Name, labels...)
	case observe.TypeHistogram:
		metrics.Histogram(metric.Name, labels...)
	}
}

func TestMetrics_Handler(t *testing.T) {
	observer, _ := newObserver(t)
	t.Run("BuildInfo", func(t *testing.T) {
		got := scrape(t, observer.Metrics, "gateway_build_info")
		if len(got) != 1 || !strings.Contains(got[0], `commit="abcdef0",go="go1`) || !strings.Contains(got[0], `version="1.2.3"`) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("OpenMetrics", func(t *testing.T) {
		request := httptest.NewRequest("GET", "/metrics", nil)
		request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		recorder := httptest.NewRecorder()
		observer.Metrics.Handler().ServeHTTP(recorder, request)
		if !strings.HasSuffix(recorder.Body.String(), "# EOF\n") {
			t.Error("not OpenMetrics")
		}
	})
}
