// Package observe sets up logs, metrics and traces once, and hands every other
// package small instruments that are resolved once and cost next to nothing on
// the hot path.
//
// Logs are JSON lines of log/slog. Metrics live in a registry of their own,
// never the global one, and only names of the catalogue exist. Traces go out
// over OTLP/HTTP as the OTEL_* variables say; a collector that is absent or
// slow costs dropped spans, never time.
//
// Everything is safe for concurrent use. Tests call [NewDiscard].
package observe

import "log/slog"

// Observer is what a component is given to speak through.
type Observer struct {
	Log     *slog.Logger
	Metrics *Metrics
	Tracer  *Tracer
}
