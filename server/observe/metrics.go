package observe

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Metrics holds the metrics of the catalogue. Names are given without the
// prefix gateway_.
//
// A family is either kept in instruments or pulled at each scrape from somebody
// who counts anyway; as soon as a pull emits a family, its instruments are not
// shown.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	families []*family // in the order of the catalogue
	byName   map[string]*family

	mu    sync.Mutex
	pulls []func(Emit)
}

// Counter counts up.
type Counter struct{ counter prometheus.Counter }

// Add adds n, which must not be negative.
func (c Counter) Add(n int) { c.counter.Add(float64(n)) }

// Inc adds one.
func (c Counter) Inc() { c.counter.Inc() }

// Value returns the count so far, for a status that shows what a metric counts.
func (c Counter) Value() uint64 {
	var metric dto.Metric
	if err := c.counter.Write(&metric); err != nil { // a counter of ours always writes
		return 0
	}
	return uint64(metric.GetCounter().GetValue())
}

// Gauge is a value that goes up and down.
type Gauge struct{ gauge prometheus.Gauge }

// Set replaces the value.
func (g Gauge) Set(value float64) { g.gauge.Set(value) }

// Add changes the value by delta.
func (g Gauge) Add(delta float64) { g.gauge.Add(delta) }

// Histogram sorts observations into buckets.
type Histogram struct{ histogram prometheus.Observer }

// Observe adds one observation.
func (h Histogram) Observe(value float64) { h.histogram.Observe(value) }

// Emit hands over one value at a scrape.
type Emit func(name string, value float64, labelValues ...string)

func newMetrics(log *slog.Logger) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), byName: make(map[string]*family)}
	catalogue := Catalogue()
	for i := range catalogue {
		f := newFamily(catalogue[i])
		m.families = append(m.families, f)
		m.byName[f.metric.Name] = f
	}
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), scrape{m})
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// One broken family must not blind the operator to all others.
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4,
	})
	return m
}

// Counter resolves the counter of a name and its label values, in the order of
// the catalogue.
func (m *Metrics) Counter(name string, labelValues ...string) Counter {
	f := m.resolve(TypeCounter, name, labelValues)
	return Counter{f.counters.WithLabelValues(labelValues...)}
}

// Gauge resolves a gauge.
func (m *Metrics) Gauge(name string, labelValues ...string) Gauge {
	f := m.resolve(TypeGauge, name, labelValues)
	return Gauge{f.gauges.WithLabelValues(labelValues...)}
}

// Histogram resolves a histogram.
func (m *Metrics) Histogram(name string, labelValues ...string) Histogram {
	f := m.resolve(TypeHistogram, name, labelValues)
	return Histogram{f.histograms.WithLabelValues(labelValues...)}
}

// Collect has pull called at each scrape, for values that somebody else's Stats
// holds. It must be quick and safe for concurrent use.
func (m *Metrics) Collect(pull func(emit Emit)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pulls = append(m.pulls, pull)
}

// Handler serves the metrics in the text format of Prometheus or OpenMetrics.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Registry gives libraries a place for metrics of their own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

func (m *Metrics) resolve(kind Type, name string, labelValues []string) *family {
	f, ok := m.byName[name]
	if !ok {
		panic(fmt.Sprintf("observe: metric %q is not in the catalogue", name))
	}
	if f.metric.Type != kind {
		panic(fmt.Sprintf("observe: metric %q is a %v, not a %v", name, f.metric.Type, kind))
	}
	if err := f.metric.check(labelValues); err != nil {
		panic("observe: " + err.Error())
	}
	f.start(labelValues)
	return f
}

// family is one metric of the catalogue with all its series.
type family struct {
	metric     Metric
	desc       *prometheus.Desc
	vec        prometheus.Collector // one of the three below
	counters   *prometheus.CounterVec
	gauges     *prometheus.GaugeVec
	histograms *prometheus.HistogramVec
}

func newFamily(metric Metric) *family {
	name, labels := Prefix+metric.Name, metric.labelNames()
	f := &family{metric: metric, desc: prometheus.NewDesc(name, metric.Help, labels, nil)}
	switch metric.Type {
	case TypeCounter:
		f.counters = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: metric.Help}, labels)
		f.vec = f.counters
	case TypeGauge:
		f.gauges = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: metric.Help}, labels)
		f.vec = f.gauges
	case TypeHistogram:
		f.histograms = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: metric.Help, Buckets: metric.Buckets}, labels)
		f.vec = f.histograms
	}
	if !slices.ContainsFunc(metric.Labels, Label.open) {
		f.start(make([]string, len(labels)))
	}
	return f
}

// start creates every series that shares the open label values, so that a
// counter is at 0 before its first event and not absent.
func (f *family) start(labelValues []string) {
	for values := range f.metric.series(labelValues) {
		switch f.metric.Type {
		case TypeCounter:
			f.counters.WithLabelValues(values...)
		case TypeGauge:
			f.gauges.WithLabelValues(values...)
		case TypeHistogram:
			f.histograms.WithLabelValues(values...)
		}
	}
}

// scrape is the collector of the whole catalogue.
type scrape struct{ metrics *Metrics }

func (s scrape) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range s.metrics.families {
		descs <- f.desc
	}
}

func (s scrape) Collect(out chan<- prometheus.Metric) {
	s.metrics.mu.Lock()
	pulls := s.metrics.pulls
	s.metrics.mu.Unlock()
	pulled := make(map[*family]map[string][]string) // family -> joined label values -> label values
	for _, pull := range pulls {
		pull(func(name string, value float64, labelValues ...string) {
			s.emit(out, pulled, name, value, labelValues)
		})
	}
	for _, f := range s.metrics.families {
		if seen, ok := pulled[f]; ok {
			f.complete(out, seen)
			continue
		}
		f.vec.Collect(out)
	}
}

func (s scrape) emit(out chan<- prometheus.Metric, pulled map[*family]map[string][]string, name string, value float64, labelValues []string) {
	f, ok := s.metrics.byName[name]
	if !ok || f.metric.Type == TypeHistogram {
		err := fmt.Errorf("metric %q is pulled but is no counter or gauge of the catalogue", name)
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	if err := f.metric.check(labelValues); err != nil {
		out <- prometheus.NewInvalidMetric(f.desc, err)
		return
	}
	if pulled[f] == nil {
		pulled[f] = make(map[string][]string)
	}
	labelValues = slices.Clone(labelValues)
	pulled[f][joined(labelValues)] = labelValues
	out <- f.constant(value, labelValues)
}

// complete adds, at 0, the series that belong to those that were pulled.
func (f *family) complete(out chan<- prometheus.Metric, pulled map[string][]string) {
	seen := make(map[string]bool, len(pulled))
	for key := range pulled {
		seen[key] = true
	}
	for _, labelValues := range pulled {
		for values := range f.metric.series(labelValues) {
			if key := joined(values); !seen[key] {
				seen[key] = true
				out <- f.constant(0, slices.Clone(values))
			}
		}
	}
}

func (f *family) constant(value float64, labelValues []string) prometheus.Metric {
	kind := prometheus.GaugeValue
	if f.metric.Type == TypeCounter {
		kind = prometheus.CounterValue
	}
	metric, err := prometheus.NewConstMetric(f.desc, kind, value, labelValues...)
	if err != nil { // a label value that is not UTF-8
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return metric
}

func joined(labelValues []string) string { return strings.Join(labelValues, "\xff") }
