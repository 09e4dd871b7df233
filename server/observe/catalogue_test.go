package observe_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/observe"
)

var update = flag.Bool("update", false, "write docs/reference/metrics.md")

func TestCatalogue_WellFormed(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	seen := make(map[string]bool)
	for _, metric := range observe.Catalogue() {
		if !name.MatchString(metric.Name) || seen[metric.Name] {
			t.Errorf("%s: malformed, or there twice", metric.Name)
		}
		seen[metric.Name] = true
		if !strings.HasSuffix(metric.Help, ".") {
			t.Errorf("%s: the help is not a sentence", metric.Name)
		}
		if counter := metric.Type == observe.TypeCounter; counter != strings.HasSuffix(metric.Name, "_total") {
			t.Errorf("%s: counters, and only they, end in _total", metric.Name)
		}
		histogram := metric.Type == observe.TypeHistogram
		if histogram != (len(metric.Buckets) > 0) || histogram != (metric.Why != "") || !slices.IsSorted(metric.Buckets) {
			t.Errorf("%s: histograms, and only they, have buckets and a reason for them", metric.Name)
		}
		for _, label := range metric.Labels {
			if !name.MatchString(label.Name) || strings.Contains(label.Name, "device") {
				t.Errorf("%s: label %s", metric.Name, label.Name)
			}
		}
	}
}

// TestCatalogue_Contract holds the names that outsiders rely on, as far as they
// are built: dashboards and alerts are written against them.
func TestCatalogue_Contract(t *testing.T) {
	want := strings.Fields(`ingest_messages_total{source,result} ingest_rejected_total{source,reason}
		queue_append_duration_seconds queue_commit_messages queue_depth_messages{sink} queue_oldest_age_seconds{sink}
		queue_pinned_bytes{sink} queue_bytes queue_wal_bytes queue_limit_bytes queue_expired_messages_total{sink,reason}
		queue_discarded_messages_total{sink,reason} queue_quarantined_messages_total idempotency_window_seconds
		sink_delivered_messages_total{sink} sink_attempts_total{sink,outcome} sink_delivery_duration_seconds{sink}
		sink_last_success_timestamp_seconds{sink} sink_state{sink,state} dead_letters{sink,reason}
		dead_lettered_total{sink,reason} mqtt_connections mqtt_refusals_total{reason} config_last_reload_successful
		config_last_reload_success_timestamp_seconds build_info{version,commit,go}`)
	var have []string
	for _, metric := range observe.Catalogue() {
		have = append(have, signature(metric))
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestCatalogue_Reference(t *testing.T) {
	const path = "../../docs/reference/metrics.md"
	want := reference()
	if *update {
		if err := os.MkdirAll("../../docs/reference", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("the reference is out of date (go test ./server/observe -update):\n%s", diff)
	}
}

func signature(metric observe.Metric) string {
	var labels []string
	for _, label := range metric.Labels {
		labels = append(labels, label.Name)
	}
	if len(labels) == 0 {
		return metric.Name
	}
	return metric.Name + "{" + strings.Join(labels, ",") + "}"
}

// reference writes the catalogue for people.
func reference() string {
	var page strings.Builder
	page.WriteString("# Metrics\n\n" +
		"Generated from `server/observe/catalogue.go` by `go test ./server/observe -update`; do not edit.\n\n" +
		"Every metric is on `GET /metrics`, in the text format of Prometheus or, when asked for, OpenMetrics. Beside these there are\n" +
		"the metrics of the Go runtime (`go_*`) and of the process (`process_*`). No label carries a device id. Counters are there at 0\n" +
		"from the start; those of a sink from its first appearance on. Messages refused at a door have `sink=\"_ingress\"`.\n")
	for _, metric := range observe.Catalogue() {
		fmt.Fprintf(&page, "\n## `%s%s`\n\n%s (%v)\n", observe.Prefix, signature(metric), metric.Help, metric.Type)
		if metric.Type == observe.TypeHistogram {
			var bounds []string
			for _, bound := range metric.Buckets {
				bounds = append(bounds, strconv.FormatFloat(bound, 'g', -1, 64))
			}
			fmt.Fprintf(&page, "\nBuckets: %s; because %s.\n", strings.Join(bounds, ", "), metric.Why)
		}
		for i, label := range metric.Labels {
			if i == 0 {
				page.WriteString("\n")
			}
			page.WriteString(describe(label))
		}
	}
	return page.String()
}

func describe(label observe.Label) string {
	line := fmt.Sprintf("- `%s`: ", label.Name)
	switch {
	case label.Name == "sink":
		line += "the name of the sink"
	case len(label.Values) == 0:
		line += "what this binary was built from"
	default:
		line += "`" + strings.Join(label.Values, "`, `") + "`"
	}
	if len(label.Ingress) > 0 {
		line += "; where the sink is `_ingress`: `" + strings.Join(label.Ingress, "`, `") + "`"
	}
	return line + "\n"
}
