package crash_test

import (
	"flag"
	"syscall"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// backlog is how much TestBacklog lets wait. 72 hours at 100 messages per second
// are 26 million.
var backlog = flag.Int64("backlog", 500_000, "messages of TestBacklog")

const (
	// fieldRate is what a site sends; the load is the same number of messages as
	// fast as they are acknowledged.
	fieldRate = 100
	// drainMin is how much faster than the field a backlog has to go.
	drainMin = 3
	// rssGrowthMax is what the gateway may take more than after a quarter of the
	// backlog: by then what it remembers of every device has its full size.
	rssGrowthMax = 64 << 20
)

// TestBacklog fills the queue while its only sink is away, as an outage of days
// does, and lets the sink come back.
func TestBacklog(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	r := newRig(t, binaries.Path("gateway"))
	harness.Must(t, r.receiver.Kill())
	r.gateway.SetSinks(harness.HTTPSinkYAML("analytics", r.address))
	harness.Must(t, r.gateway.Start(t.Context()))
	r.lives = append(r.lives, life{began: acklog.Now()})
	r.startLoad("--repeat", "0")
	step := max(*backlog/20, 1)
	var first, most int64
	began := time.Now()
	for waiting := step; waiting <= *backlog; waiting += step {
		r.awaitWithin(time.Hour, "the backlog", func() bool { return r.load.Progress().Acknowledged >= waiting })
		rss, err := r.gateway.Process().RSS()
		harness.Must(t, err)
		if first == 0 && waiting >= *backlog/4 {
			first = rss
		}
		most = max(most, rss)
		t.Logf("%10d messages wait: %3d MiB resident", waiting, rss>>20)
	}
	harness.Must(t, r.load.Signal(syscall.SIGTERM))
	summary, err := r.load.Finish(harness.Within(t, patience))
	harness.Must(t, err)
	filled := time.Since(began)

	began = time.Now()
	r.startReceiver()
	r.awaitDrained(time.Hour)
	drained := time.Since(began)
	rss, err := r.gateway.Process().RSS()
	harness.Must(t, err)
	code, err := r.gateway.Stop(t.Context())
	harness.Must(t, err)
	if code != 0 {
		t.Errorf("SIGTERM: exit code %d, want 0", code)
	}
	run := r.evidence(false) // of one start, which is enough for an attempt that found nobody
	run.Sinks = run.Sinks[1:]
	report, err := verify.Check(run)
	harness.Must(t, err)
	harness.Must(t, report.Err())
	rate := float64(report.Promised) / drained.Seconds()
	t.Logf("%v; filled in %v (%.0f/s), drained in %v (%.0f/s): %.0f times the field's %d/s, %.2f times the load's rate; memory %d MiB after a quarter, at most %d, %d when drained",
		report, filled.Round(time.Second), summary.Rate, drained.Round(time.Second), rate, rate/fieldRate, fieldRate, rate/summary.Rate, first>>20, most>>20, rss>>20)
	if rate < drainMin*fieldRate {
		t.Errorf("the backlog went at %.0f messages per second, want %d", rate, drainMin*fieldRate)
	}
	if most = max(most, rss); most-first > rssGrowthMax {
		t.Errorf("memory grew by %d MiB", (most-first)>>20)
	}
	for _, sink := range report.Deliveries {
		if sink.Dead > 0 || sink.Pending > 0 {
			t.Errorf("%s: %d dead letters and %d pending of an outage", sink.Sink, sink.Dead, sink.Pending)
		}
	}
	if summary.Refused > 0 {
		t.Errorf("%d messages were refused", summary.Refused)
	}
}
