package dispatch

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// instruments are the metrics of one lane.
type instruments struct {
	delivered   observe.Counter
	attempts    [edge.Rejected + 1]observe.Counter // by class
	duration    observe.Histogram
	lastSuccess observe.Gauge
}

func newInstruments(sink string, metrics *observe.Metrics) instruments {
	i := instruments{
		delivered:   metrics.Counter("sink_delivered_messages_total", sink),
		duration:    metrics.Histogram("sink_delivery_duration_seconds", sink),
		lastSuccess: metrics.Gauge("sink_last_success_timestamp_seconds", sink),
	}
	for class := edge.Delivered; class <= edge.Rejected; class++ {
		i.attempts[class] = metrics.Counter("sink_attempts_total", sink, class.String())
	}
	return i
}

func (i *instruments) observe(outcome edge.Outcome, took time.Duration) {
	i.attempts[outcome.Class].Inc()
	i.duration.Observe(took.Seconds())
}

func (i *instruments) succeeded(records int, at time.Time) {
	i.delivered.Add(records)
	i.lastSuccess.Set(float64(at.UnixMilli()) / 1000)
}
