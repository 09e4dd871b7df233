package observe

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Tracer starts spans. It decides on sampling before it creates anything, so
// that what is not sampled costs no allocation. The zero value samples nothing.
type Tracer struct {
	tracer   trace.Tracer // nil: nothing is ever sampled
	sampler  sampler
	shutdown func(context.Context) error
}

// Kind is the part that a span plays between processes.
type Kind uint8

// The kinds.
const (
	KindInternal Kind = iota
	KindServer        // answers a request
	KindClient        // makes a request
	KindProducer      // hands over a message that is taken later
	KindConsumer      // takes such a message
)

var spanKinds = [...]trace.SpanKind{
	KindInternal: trace.SpanKindInternal,
	KindServer:   trace.SpanKindServer,
	KindClient:   trace.SpanKindClient,
	KindProducer: trace.SpanKindProducer,
	KindConsumer: trace.SpanKindConsumer,
}

// SpanOption is a choice for [Tracer.Start]. It is a value and not a function,
// because a function would be allocated for spans that are never sampled. For
// the same reason it holds no pointer that the SDK keeps, such as that of a
// time.Time: the links would have to be allocated with it.
type SpanOption struct {
	kind             Kind
	hasKind          bool
	startNanoseconds int64 // since 1970; 0 is now
	links            []TraceContext
}

// WithKind says which part the span plays; without it KindInternal.
func WithKind(kind Kind) SpanOption { return SpanOption{kind: kind, hasKind: true} }

// WithStart says that the span began earlier.
func WithStart(start time.Time) SpanOption { return SpanOption{startNanoseconds: start.UnixNano()} }

// WithLinks links the span to others, of this trace or another one.
func WithLinks(links ...TraceContext) SpanOption { return SpanOption{links: links} }

// Span is one step of a trace. The zero Span does nothing.
type Span struct {
	context TraceContext
	span    trace.Span // nil when not sampled
}

// Start begins a span. Below a sampled parent it is sampled. Below no parent it
// is a new root, sampled as configured. A span that is not sampled does nothing
// and its Context is parent, so that an unsampled trace passes through.
func (t *Tracer) Start(parent TraceContext, name string, options ...SpanOption) Span {
	if t.tracer == nil {
		return Span{context: parent}
	}
	if !parent.IsZero() {
		if !t.sampler.child(parent) {
			return Span{context: parent}
		}
		return t.start(parent, [16]byte{}, name, options)
	}
	traceID, ok := t.sampler.root()
	if !ok {
		return Span{}
	}
	return t.start(TraceContext{}, traceID, name, options)
}

func (t *Tracer) start(parent TraceContext, root [16]byte, name string, options []SpanOption) Span {
	ctx := context.WithValue(context.Background(), rootKey{}, trace.TraceID(root))
	if !parent.IsZero() {
		ctx = trace.ContextWithRemoteSpanContext(context.Background(), parent.spanContext())
	}
	var starts []trace.SpanStartOption
	for i := range options {
		option := &options[i]
		if option.hasKind {
			starts = append(starts, trace.WithSpanKind(spanKinds[option.kind]))
		}
		if option.startNanoseconds != 0 {
			starts = append(starts, trace.WithTimestamp(time.Unix(0, option.startNanoseconds)))
		}
		for _, link := range option.links {
			if !link.IsZero() {
				starts = append(starts, trace.WithLinks(trace.Link{SpanContext: link.spanContext()}))
			}
		}
	}
	_, span := t.tracer.Start(ctx, name, starts...)
	created := span.SpanContext()
	return Span{
		context: TraceContext{TraceID: created.TraceID(), SpanID: created.SpanID(), Sampled: created.IsSampled()},
		span:    span,
	}
}

// Shutdown sends the spans that still wait, for at most two seconds, and lets go
// of the exporter. Spans that end later are dropped.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t.shutdown == nil {
		return nil
	}
	return t.shutdown(ctx)
}

// Context returns what children and other processes take as their parent.
func (s Span) Context() TraceContext { return s.context }

// Sampled reports whether the span is recorded, for callers that want to spare
// themselves the work of describing it.
func (s Span) Sampled() bool { return s.span != nil }

// Set adds an attribute: a string, bool, int, int64, float64 or time.Duration,
// which is written in seconds.
func (s Span) Set(key string, value any) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attributeOf(key, value))
}

// attributeOf keeps value off the heap, so that an unsampled Set allocates
// nothing: it may be passed to no function that keeps or prints it.
func attributeOf(key string, value any) attribute.KeyValue {
	switch value := value.(type) {
	case string:
		return attribute.String(key, value)
	case bool:
		return attribute.Bool(key, value)
	case int:
		return attribute.Int(key, value)
	case int64:
		return attribute.Int64(key, value)
	case float64:
		return attribute.Float64(key, value)
	case time.Duration:
		return attribute.Float64(key, value.Seconds())
	}
	return attribute.String(key, "(unsupported type)")
}

// Link ties the span to another one that was not known when it started.
func (s Span) Link(to TraceContext) {
	if s.span != nil && !to.IsZero() {
		s.span.AddLink(trace.Link{SpanContext: to.spanContext()})
	}
}

// Fail marks the span as failed; a nil error does nothing.
func (s Span) Fail(err error) {
	if s.span == nil || err == nil {
		return
	}
	s.span.RecordError(err)
	s.span.SetStatus(codes.Error, err.Error())
}

// End finishes the span. Nothing may be added to it afterwards.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// sampler decides from the trace id, as the samplers of OpenTelemetry do, so
// that processes with the same ratio choose the same traces.
type sampler struct {
	parentBased bool   // a parent's decision counts
	bound       uint64 // sampled when 63 bits of the trace id are below it
}

const boundAll = 1 << 63

func (s sampler) child(parent TraceContext) bool {
	if s.parentBased {
		return parent.Sampled
	}
	return s.sampled(parent.TraceID)
}

func (s sampler) root() (id [16]byte, sampled bool) {
	if s.bound == 0 {
		return id, false
	}
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()|1) // an id of zeros is invalid; bit 0 decides nothing
	return id, s.sampled(id)
}

func (s sampler) sampled(id [16]byte) bool { return binary.BigEndian.Uint64(id[8:])>>1 < s.bound }

type rootKey struct{}

// identifiers gives a new root the trace id that its sampler decided on.
type identifiers struct{}

func (identifiers) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(rootKey{}).(trace.TraceID)
	return id, identifiers{}.NewSpanID(ctx, id)
}

func (identifiers) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}
