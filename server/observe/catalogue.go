package observe

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Prefix stands before every name of the catalogue.
const Prefix = "gateway_"

// Type is how a metric behaves, in the words of Prometheus.
type Type uint8

// The types.
const (
	TypeCounter Type = iota + 1
	TypeGauge
	TypeHistogram
)

func (t Type) String() string {
	switch t {
	case TypeCounter:
		return "counter"
	case TypeGauge:
		return "gauge"
	case TypeHistogram:
		return "histogram"
	}
	return "unknown"
}

// Metric is one line of the catalogue.
type Metric struct {
	Name    string // without Prefix
	Type    Type
	Help    string
	Labels  []Label
	Buckets []float64 // upper bounds, of a histogram
	Why     string    // why these buckets
}

// Label is one label of a metric.
type Label struct {
	Name   string
	Values []string // the closed list; empty for an open label, whose values appear with what they name
	// Ingress replaces Values where the sink is _ingress, because messages are
	// refused at the door for other reasons than deliveries die of.
	Ingress []string
}

func (l Label) open() bool { return len(l.Values) == 0 }

// The closed lists. Those that server/edge owns are repeated here, because this
// package imports nothing of the gateway; tests of their users hold them equal.
var (
	labelSink    = Label{Name: "sink"}
	labelSource  = Label{Name: "source", Values: []string{"mqtt", "bridge", "http", "rpc"}}
	labelResult  = Label{Name: "result", Values: []string{"accepted", "duplicate", "conflict", "rejected", "dropped"}}
	labelRefusal = Label{Name: "reason", Values: refusals}
	labelDeath   = Label{Name: "reason", Values: []string{"rejected", "encoding"}, Ingress: refusals}
	labelOutcome = Label{Name: "outcome", Values: []string{"delivered", "busy", "misconfigured", "rejected", "suspect"}}
	labelState   = Label{Name: "state", Values: []string{"idle", "active", "waiting", "paused", "stopped"}}

	refusals = []string{
		"malformed", "encoding", "duplicate_key", "depth", "missing_field", "wrong_type", "out_of_range",
		"schema_version", "device", "too_large", "unauthorized", "conflict", "busy", "full", "stopping", "internal",
	}
)

// Buckets from below one fsync of an NVMe disk to a disk that has all but
// stopped, and from one record to the largest commit.
var (
	bucketsDisk    = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	bucketsNetwork = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	bucketsRecords = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}
)

// Catalogue returns every metric that the gateway has, beside those of the Go
// runtime and of the process.
func Catalogue() []Metric {
	return slices.Concat(ingestMetrics(), queueMetrics(), sinkMetrics(), mqttMetrics(), gatewayMetrics())
}

func ingestMetrics() []Metric {
	return []Metric{
		{Name: "ingest_messages_total", Type: TypeCounter, Labels: []Label{labelSource, labelResult},
			Help: "Messages that reached a door, by what became of them. Accepted ones are durable; dropped ones had no room and a sender that could not be told."},
		{Name: "ingest_rejected_total", Type: TypeCounter, Labels: []Label{labelSource, labelRefusal},
			Help: "Messages that were refused at a door, by reason."},
		{Name: "ingest_unknown_fields_total", Type: TypeCounter, Labels: []Label{labelSource},
			Help: "Fields of accepted messages that this gateway does not know. They are kept with the payload."},
		{Name: "ingest_floored_timestamps_total", Type: TypeCounter,
			Help: "Messages whose receive time is not the wall clock's, because that was earlier than it can be: before the gateway was built, or before the last time that it saw. Their receive times count on from there."},
	}
}

func queueMetrics() []Metric {
	return []Metric{
		{Name: "queue_append_duration_seconds", Type: TypeHistogram, Buckets: bucketsDisk,
			Help: "From the hand-over of a record to the queue until its commit is durable.",
			Why:  "an fsync of an NVMe disk takes about 0.25 ms, one of an SD card up to seconds"},
		{Name: "queue_commit_messages", Type: TypeHistogram, Buckets: bucketsRecords,
			Help: "Records in one commit.",
			Why:  "one record per commit at a trickle, thousands at full load"},
		{Name: "queue_depth_messages", Type: TypeGauge, Labels: []Label{labelSink},
			Help: "Records that still wait for the sink."},
		{Name: "queue_oldest_age_seconds", Type: TypeGauge, Labels: []Label{labelSink},
			Help: "Age of the oldest record that waits for the sink; 0 when none does."},
		{Name: "queue_pinned_bytes", Type: TypeGauge, Labels: []Label{labelSink},
			Help: "Stored bytes from the oldest record on that waits for the sink: what this sink keeps from being removed. An estimate."},
		{Name: "queue_bytes", Type: TypeGauge,
			Help: "Bytes that count against queue_limit_bytes: what is in use of the queue's file, the write-ahead log, and the reserve."},
		{Name: "queue_wal_bytes", Type: TypeGauge,
			Help: "Bytes of the write-ahead log."},
		{Name: "queue_reserve_bytes", Type: TypeGauge,
			Help: "Bytes that are kept free for the day on which the disk is full. 0 on that day."},
		{Name: "queue_limit_bytes", Type: TypeGauge,
			Help: "Bytes that the queue may use (queue.max_bytes, resolved); 0 is unlimited."},
		{Name: "queue_headroom_seconds", Type: TypeGauge,
			Help: "Time until the queue is full and the doors refuse, at the rate of the last 5 minutes: 0 while it is, +Inf while what the sinks are owed does not grow."},
		{Name: "queue_filling", Type: TypeGauge,
			Help: "1 from 70 % of queue_limit_bytes on, until below 65 %."},
		{Name: "queue_accepting", Type: TypeGauge,
			Help: "1 while the queue takes records, 0 while it is full or stopping."},
		{Name: "queue_unrouted_messages_total", Type: TypeCounter,
			Help: "Records that were stored but owed to no sink."},
		{Name: "queue_expired_messages_total", Type: TypeCounter, Labels: []Label{labelSink, {Name: "reason", Values: []string{"undelivered", "ttl", "max_lag_bytes", "evicted"}}},
			Help: "Records that were removed undelivered by policy: older than retention.undelivered, older than the sink's ttl, beyond its max_lag_bytes, or dead letters of it that made room (evicted)."},
		{Name: "queue_discarded_messages_total", Type: TypeCounter, Labels: []Label{labelSink, {Name: "reason", Values: []string{"operator", "sink_removed"}}},
			Help: "Records that an operator gave up, or that went with a removed sink. Of the removed sinks that have nothing left, the 64 newest are among them."},
		{Name: "queue_quarantined_messages_total", Type: TypeCounter,
			Help: "Stored records that could not be read back and were set aside. Anything above 0 is a damaged disk."},
		{Name: "queue_salvaged_files_total", Type: TypeCounter,
			Help: "Files of the queue that were damaged, and mended at a start, or set aside and replaced by what could be read of them, or that were removed while no gateway ran, the write-ahead log alone included. Anything above 0 is a damaged disk, or somebody who removes files."},
		{Name: "queue_ledger_mismatches", Type: TypeGauge,
			Help: "Counters of the queue that are not what was written or not what is stored: found by the last start, or by the last gatewayctl ledger verify. Anything above 0 is a damaged disk, or a file that somebody has edited."},
		{Name: "idempotency_window_seconds", Type: TypeGauge,
			Help: "How far back a repeated message is still recognised, of every device."},
		{Name: "idempotency_window_messages", Type: TypeGauge,
			Help: "How many messages of one device are recognised at most: 1024, or fewer when the queue is small for so many devices."},
	}
}

func sinkMetrics() []Metric {
	return []Metric{
		{Name: "sink_delivered_messages_total", Type: TypeCounter, Labels: []Label{labelSink},
			Help: "Records that the sink's destination acknowledged."},
		{Name: "sink_attempts_total", Type: TypeCounter, Labels: []Label{labelSink, labelOutcome},
			Help: "Attempts to deliver a batch, by outcome."},
		{Name: "sink_delivery_duration_seconds", Type: TypeHistogram, Labels: []Label{labelSink}, Buckets: bucketsNetwork,
			Help: "Duration of one attempt, successful or not.",
			Why:  "a local file takes a millisecond, an attempt over a bad link up to its deadline"},
		{Name: "sink_last_success_timestamp_seconds", Type: TypeGauge, Labels: []Label{labelSink},
			Help: "Time of the last acknowledgement since the start, as Unix time; 0 when there was none."},
		{Name: "sink_state", Type: TypeGauge, Labels: []Label{labelSink, labelState},
			Help: "1 for the state that the sink's lane is in, 0 for the others."},
		{Name: "dead_letters", Type: TypeGauge, Labels: []Label{labelSink, labelDeath},
			Help: "Dead letters that are kept now. Messages refused at a door have the sink _ingress."},
		{Name: "dead_letter_bytes", Type: TypeGauge, Labels: []Label{labelSink},
			Help: "Stored bytes of the dead letters of a sink: they have no bound, or with required: false that of max_lag_bytes. An estimate."},
		{Name: "dead_lettered_total", Type: TypeCounter, Labels: []Label{labelSink, labelDeath},
			Help: "Dead letters ever made."},
		{Name: "dead_letters_evicted_total", Type: TypeCounter,
			Help: "Dead letters that made room: of _ingress, or of sinks with required: false. Those of _ingress that were found damaged are among them."},
	}
}

func mqttMetrics() []Metric {
	return []Metric{
		{Name: "mqtt_connections", Type: TypeGauge,
			Help: "MQTT clients that are connected."},
		{Name: "mqtt_refusals_total", Type: TypeCounter, Labels: []Label{{Name: "reason", Values: mqttRefusals}},
			Help: "MQTT connections that were refused or ended by the gateway, and packets that were refused, by reason."},
		{Name: "mqtt_dropped_total", Type: TypeCounter, Labels: []Label{{Name: "reason", Values: []string{"full", "client_behind", "fan_out_behind", "retained_limit"}}},
			Help: "MQTT messages that went no further: QoS 0 while the queue is full, deliveries to a client or a fan-out that does not keep up, retained messages beyond the limit."},
		{Name: "mqtt_retain_ignored_total", Type: TypeCounter,
			Help: "Telemetry that arrived with the retain flag, which telemetry ignores."},
		{Name: "mqtt_sessions_evicted_total", Type: TypeCounter,
			Help: "Sessions of clients that were away which were forgotten early, because too many are remembered."},
		{Name: "mqtt_accept_errors_total", Type: TypeCounter,
			Help: "Times that a connection could not be accepted, for want of file descriptors for example. The listener goes on."},
		{Name: "mqtt_panics_total", Type: TypeCounter,
			Help: "Panics inside the broker that cost one connection. Anything above 0 is a bug."},
	}
}

var mqttRefusals = []string{
	"malformed", "protocol_error", "protocol_version", "connect_timeout", "connection_limit", "client_id", "credentials",
	"packet_too_large", "receive_maximum", "keep_alive", "topic_name", "topic_filter", "not_authorized", "payload",
	"slow_reader", "taken_over", "full", "stopping", "internal",
}

func gatewayMetrics() []Metric {
	return []Metric{
		{Name: "config_last_reload_successful", Type: TypeGauge,
			Help: "1 when the last load of the configuration succeeded, else 0."},
		{Name: "config_last_reload_success_timestamp_seconds", Type: TypeGauge,
			Help: "Time of the last successful load of the configuration, as Unix time."},
		{Name: "trace_spans_total", Type: TypeCounter, Labels: []Label{{Name: "result", Values: []string{"exported", "failed", "dropped"}}},
			Help: "Sampled spans: sent to the collector, lost with a failed request, or dropped because too many waited."},
		{Name: "build_info", Type: TypeGauge, Labels: []Label{{Name: "version"}, {Name: "commit"}, {Name: "go"}},
			Help: "Always 1; the labels say what runs."},
	}
}

func (m *Metric) labelNames() []string {
	names := make([]string, len(m.Labels))
	for i := range m.Labels {
		names[i] = m.Labels[i].Name
	}
	return names
}

// closedValues returns the closed list of label i beside the other values.
func (m *Metric) closedValues(i int, labelValues []string) []string {
	label := &m.Labels[i]
	if label.Ingress != nil && labelValues[0] == "_ingress" {
		return label.Ingress
	}
	return label.Values
}

func (m *Metric) check(labelValues []string) error {
	if len(labelValues) != len(m.Labels) {
		return fmt.Errorf("metric %q has the labels %q, got the values %q", m.Name, m.labelNames(), labelValues)
	}
	for i, value := range labelValues {
		if closed := m.closedValues(i, labelValues); len(closed) > 0 && !slices.Contains(closed, value) {
			return fmt.Errorf("metric %q: label %s is one of %s, got %q", m.Name, m.Labels[i].Name, strings.Join(closed, ", "), value)
		}
	}
	return nil
}

// series yields the label values of every series that shares the open values
// with labelValues. The slice is reused.
func (m *Metric) series(labelValues []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		values := slices.Clone(labelValues)
		var vary func(i int) bool
		vary = func(i int) bool {
			if i == len(values) {
				return yield(values)
			}
			if m.Labels[i].open() {
				return vary(i + 1)
			}
			for _, value := range m.closedValues(i, values) {
				values[i] = value
				if !vary(i + 1) {
					return false
				}
			}
			return true
		}
		vary(0)
	}
}
