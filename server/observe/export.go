package observe

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const (
	defaultRatio    = 0.01 // of new roots, when an endpoint is set and no sampler
	shutdownTimeout = 2 * time.Second
	reportInterval  = time.Minute // between log lines about an absent collector
	maxSpansWaiting = 2048        // default of OTEL_BSP_MAX_QUEUE_SIZE
)

// newTracer follows the OTEL_* variables. Without an endpoint nothing is
// sampled and nothing runs in the background.
func newTracer(ctx context.Context, settings Settings, log *slog.Logger, metrics *Metrics) (*Tracer, error) {
	if !exportWanted() {
		return &Tracer{}, nil
	}
	sampler, err := samplerFromEnvironment()
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if os.Getenv(key) == "grpc" {
			return nil, fmt.Errorf("read %s: grpc is not supported; use http/protobuf, usually on port 4318", key)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the OTLP exporter: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(settings.Service), semconv.ServiceVersion(settings.Version), semconv.ServiceInstanceID(settings.GatewayID)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // last, because the environment wins
	)
	if err != nil {
		return nil, fmt.Errorf("describe the process for traces: %w", err)
	}
	bounded := newBoundedExport(exporter, log, metrics)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(described),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // Tracer has decided before it asks
		sdktrace.WithIDGenerator(identifiers{}),
		sdktrace.WithSpanProcessor(bounded),
	)
	return &Tracer{tracer: provider.Tracer("combotto.io/gateway"), sampler: sampler, shutdown: bounded.stopWith(provider)}, nil
}

func exportWanted() bool {
	if disabled, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); disabled {
		return false
	}
	if os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// samplerFromEnvironment reads OTEL_TRACES_SAMPLER and its argument. The names
// and defaults are the specification's, but for the sampler that is used when
// none is named: a gateway sees far more messages than anybody wants traced.
func samplerFromEnvironment() (sampler, error) {
	name, argument := os.Getenv("OTEL_TRACES_SAMPLER"), os.Getenv("OTEL_TRACES_SAMPLER_ARG")
	ratio := 1.0
	kind, parentBased := strings.CutPrefix(name, "parentbased_")
	switch kind {
	case "always_on":
		return sampler{parentBased: parentBased, bound: boundAll}, nil
	case "always_off":
		return sampler{parentBased: parentBased}, nil
	case "traceidratio":
	case "":
		if name != "" {
			return sampler{}, fmt.Errorf("read OTEL_TRACES_SAMPLER: %q is not a sampler", name)
		}
		parentBased, ratio = true, defaultRatio
	default:
		return sampler{}, fmt.Errorf("read OTEL_TRACES_SAMPLER: %q is not supported; use always_on, always_off or traceidratio, or one of them after parentbased_", name)
	}
	if argument != "" {
		parsed, err := strconv.ParseFloat(argument, 64)
		if err != nil || !(parsed >= 0 && parsed <= 1) {
			return sampler{}, fmt.Errorf("read OTEL_TRACES_SAMPLER_ARG: %q is not a ratio between 0 and 1", argument)
		}
		ratio = parsed
	}
	return sampler{parentBased: parentBased, bound: uint64(ratio * boundAll)}, nil
}

// boundedExport stands on both sides of the SDK's batch processor, to count
// what it would drop silently, to report errors sparingly, and to be able to
// end an export that hangs.
//
//	ended span -> OnEnd (full? drop, count) -> batch processor -> ExportSpans -> collector
type boundedExport struct {
	sdktrace.SpanProcessor // the batch processor
	exporter               sdktrace.SpanExporter
	waitingMax             int64
	waiting                atomic.Int64 // spans between OnEnd and ExportSpans
	log                    *slog.Logger
	exported               Counter
	failed                 Counter
	dropped                Counter
	stopped                context.Context // ends exports that hang when the process stops
	stop                   context.CancelFunc

	mu         sync.Mutex
	reportedAt time.Time
}

func newBoundedExport(exporter sdktrace.SpanExporter, log *slog.Logger, metrics *Metrics) *boundedExport {
	b := &boundedExport{
		exporter:   exporter,
		waitingMax: maxSpansWaiting,
		log:        log,
		exported:   metrics.Counter("trace_spans_total", "exported"),
		failed:     metrics.Counter("trace_spans_total", "failed"),
		dropped:    metrics.Counter("trace_spans_total", "dropped"),
	}
	if limit, err := strconv.Atoi(os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil && limit > 0 {
		b.waitingMax = int64(limit)
	}
	b.stopped, b.stop = context.WithCancel(context.Background())
	b.SpanProcessor = sdktrace.NewBatchSpanProcessor(exports{b})
	return b
}

// OnEnd never blocks.
func (b *boundedExport) OnEnd(span sdktrace.ReadOnlySpan) {
	if b.waiting.Add(1) > b.waitingMax {
		b.waiting.Add(-1)
		b.dropped.Inc()
		return
	}
	b.SpanProcessor.OnEnd(span)
}

// stopWith returns the function that stops provider within shutdownTimeout,
// whatever the collector does.
func (b *boundedExport) stopWith(provider *sdktrace.TracerProvider) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
		defer cancel()
		defer b.stop()
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("send the last spans: %w", err)
		}
		return nil
	}
}

// exports is the exporter that the batch processor sees.
type exports struct{ *boundedExport }

// ExportSpans always succeeds as far as the SDK can tell: it would hand errors
// to a global handler.
func (e exports) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.waiting.Add(-int64(len(spans)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.stopped, cancel)()
	if err := e.exporter.ExportSpans(ctx, spans); err != nil {
		e.failed.Add(len(spans))
		e.report(err)
		return nil
	}
	e.exported.Add(len(spans))
	return nil
}

// Shutdown closes the real exporter.
func (e exports) Shutdown(ctx context.Context) error { return e.exporter.Shutdown(ctx) }

func (b *boundedExport) report(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.reportedAt) < reportInterval {
		return
	}
	b.reportedAt = time.Now()
	b.log.Warn("traces are not reaching the collector", "error", err, "hint", "check OTEL_EXPORTER_OTLP_ENDPOINT; further errors are reported once a minute")
}
