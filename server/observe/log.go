package observe

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
)

type correlationKey struct{}

// WithCorrelation returns a context whose log lines carry a correlation id.
func WithCorrelation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

func newLogger(writer io.Writer, level slog.Leveler) *slog.Logger {
	if writer == nil {
		return slog.New(slog.DiscardHandler)
	}
	handler := slog.NewJSONHandler(writer, &slog.HandlerOptions{Level: level})
	return slog.New(&correlatingHandler{Handler: handler, root: handler})
}

// correlatingHandler adds trace_id, span_id and correlation_id from the context
// to each line, always at the top level: the ids must be found in the same place
// whatever groups a logger has open.
type correlatingHandler struct {
	slog.Handler                                   // with every attribute and group so far
	root         slog.Handler                      // as it was before the first group
	replay       []func(slog.Handler) slog.Handler // leads from root to Handler; empty while no group is open
}

func (h *correlatingHandler) Handle(ctx context.Context, record slog.Record) error {
	ids := contextAttributes(ctx)
	if len(ids) == 0 {
		return h.Handler.Handle(ctx, record)
	}
	handler := h.root.WithAttrs(ids)
	for _, step := range h.replay {
		handler = step(handler)
	}
	return handler.Handle(ctx, record)
}

func (h *correlatingHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return h.with(func(handler slog.Handler) slog.Handler { return handler.WithAttrs(attributes) }, len(h.replay) > 0)
}

func (h *correlatingHandler) WithGroup(name string) slog.Handler {
	return h.with(func(handler slog.Handler) slog.Handler { return handler.WithGroup(name) }, name != "")
}

func (h *correlatingHandler) with(step func(slog.Handler) slog.Handler, inGroup bool) slog.Handler {
	next := &correlatingHandler{Handler: step(h.Handler), root: h.root}
	if !inGroup {
		next.root = next.Handler
		return next
	}
	next.replay = append(h.replay[:len(h.replay):len(h.replay)], step)
	return next
}

func contextAttributes(ctx context.Context) []slog.Attr {
	var ids []slog.Attr
	if trace := FromContext(ctx); !trace.IsZero() {
		ids = append(ids,
			slog.String("trace_id", hex.EncodeToString(trace.TraceID[:])),
			slog.String("span_id", hex.EncodeToString(trace.SpanID[:])))
	}
	if id, ok := ctx.Value(correlationKey{}).(string); ok && id != "" {
		ids = append(ids, slog.String("correlation_id", id))
	}
	return ids
}
