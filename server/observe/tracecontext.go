package observe

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"
)

// TraceContext is a W3C trace context, as a value that can be stored with a
// record. The zero value means that nobody traces.
type TraceContext struct {
	TraceID [16]byte
	SpanID  [8]byte
	Sampled bool
}

// IsZero reports whether nobody traces.
func (c TraceContext) IsZero() bool { return c == TraceContext{} }

// ParseTraceParent reads the text of a traceparent header (W3C Trace Context,
// level 2). Versions above 00 are read as far as 00 goes, as the standard asks.
func ParseTraceParent(text string) (TraceContext, bool) {
	const length = 55 // vv-{32}-{16}-ff
	var c TraceContext
	var version, flags [1]byte
	switch {
	case len(text) < length, len(text) > length && text[length] != '-':
		return TraceContext{}, false
	case text[2] != '-', text[35] != '-', text[52] != '-':
		return TraceContext{}, false
	case !decodeLower(version[:], text[0:2]), !decodeLower(c.TraceID[:], text[3:35]):
		return TraceContext{}, false
	case !decodeLower(c.SpanID[:], text[36:52]), !decodeLower(flags[:], text[53:55]):
		return TraceContext{}, false
	case version[0] == 0xff, version[0] == 0 && len(text) != length:
		return TraceContext{}, false
	case c.TraceID == [16]byte{}, c.SpanID == [8]byte{}:
		return TraceContext{}, false
	}
	c.Sampled = flags[0]&1 != 0
	return c, true
}

// decodeLower decodes hexadecimal digits; the standard allows lower case only.
func decodeLower(dst []byte, text string) bool {
	for i := range dst {
		high, low := digit(text[2*i]), digit(text[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

func digit(b byte) byte {
	switch {
	case b >= '0' && b <= '9':
		return b - '0'
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10
	}
	return 0xff
}

// TraceParent returns the text of a traceparent header, empty when nobody
// traces.
func (c TraceContext) TraceParent() string {
	if c.IsZero() {
		return ""
	}
	text := append(make([]byte, 0, 55), "00-"...)
	text = append(hex.AppendEncode(text, c.TraceID[:]), '-')
	text = append(hex.AppendEncode(text, c.SpanID[:]), '-')
	if c.Sampled {
		return string(append(text, "01"...))
	}
	return string(append(text, "00"...))
}

// ContextWith returns a context that carries c where OpenTelemetry's own
// instrumentation, and the log handler, find it.
func ContextWith(ctx context.Context, c TraceContext) context.Context {
	return trace.ContextWithSpanContext(ctx, c.spanContext())
}

// FromContext returns the trace context that ctx carries. A tracestate is not
// kept.
func FromContext(ctx context.Context) TraceContext {
	found := trace.SpanContextFromContext(ctx)
	if !found.IsValid() {
		return TraceContext{}
	}
	return TraceContext{TraceID: found.TraceID(), SpanID: found.SpanID(), Sampled: found.IsSampled()}
}

func (c TraceContext) spanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    c.TraceID,
		SpanID:     c.SpanID,
		TraceFlags: trace.TraceFlags(0).WithSampled(c.Sampled),
	})
}
