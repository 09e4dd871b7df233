// Package observe sets up logs, metrics and traces once, and hands every other
// package small instruments that are resolved once and cost next to nothing on
// the hot path.
//
// Logs are JSON lines of log/slog; the handler adds the trace and the
// correlation id that it finds in the context. Metrics live in a registry of
// their own, never the global one, and only names of the [Catalogue] exist: a
// name or a label value that is not in it is a programming error and panics
// where the instrument is resolved, so that the first test that wires a
// component finds it. Traces go out over OTLP/HTTP as the OTEL_* variables say;
// a collector that is absent, slow or hangs costs dropped spans, never time.
//
// The package knows nothing of devices, records or sinks. Lists that other
// packages own too, such as why a message is refused, are repeated in the
// catalogue, and their owners' tests hold them equal.
//
// Everything is safe for concurrent use. Tests call [NewDiscard], which has a
// real registry, drops logs and samples nothing.
package observe

import (
	"context"
	"io"
	"log/slog"
	"runtime"
)

// Observer is what a component is given to speak through.
type Observer struct {
	Log     *slog.Logger
	Metrics *Metrics
	Tracer  *Tracer
}

// Settings say who speaks and where logs go. Where traces go is said by the
// OTEL_* variables of the environment.
type Settings struct {
	Service   string // service.name of traces, unless OTEL_SERVICE_NAME says otherwise; default gateway
	Version   string
	Commit    string
	GatewayID string
	LogWriter io.Writer    // takes JSON lines; nil drops them
	LogLevel  slog.Leveler // a *slog.LevelVar can be turned later; nil is Info
}

// New sets up logs, metrics and traces. It does not wait for the network: a
// collector that cannot be reached is found out, and logged, in the background.
// An error means that an OTEL_* variable cannot be understood.
func New(ctx context.Context, settings Settings) (*Observer, error) {
	if settings.Service == "" {
		settings.Service = "gateway"
	}
	log := newLogger(settings.LogWriter, settings.LogLevel)
	metrics := newMetrics(log)
	metrics.Gauge("build_info", settings.Version, settings.Commit, runtime.Version()).Set(1)
	tracer, err := newTracer(ctx, settings, log, metrics)
	if err != nil {
		return nil, err
	}
	return &Observer{Log: log, Metrics: metrics, Tracer: tracer}, nil
}

// NewDiscard returns an observer for tests: logs are dropped, metrics are real
// and nothing is traced.
func NewDiscard() *Observer {
	log := slog.New(slog.DiscardHandler)
	return &Observer{Log: log, Metrics: newMetrics(log), Tracer: &Tracer{}}
}

// Shutdown sends the spans that still wait, for at most two seconds.
func (o *Observer) Shutdown(ctx context.Context) error { return o.Tracer.Shutdown(ctx) }
