package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// spansMax bounds the spans of one attempt.
const spansMax = 32

// attempt gives the batch to the sink once, under the sink's deadline.
func (l *lane) attempt(ctx context.Context, batch []edge.Delivery, number int, at place) (edge.Attempt, edge.Outcome) {
	ctx, cancel := context.WithTimeout(ctx, l.sink.Timeout)
	defer cancel()
	spans := l.startSpans(batch, number)
	if len(spans) > 0 {
		// The receiver's own spans continue the first traced record's.
		ctx = observe.ContextWith(ctx, spans[0].span.Context())
	}
	startedAt := time.Now()
	outcome := sane(l.deliver(ctx, batch))
	endedAt := time.Now()
	endSpans(spans, outcome)
	l.instruments.observe(outcome, endedAt.Sub(startedAt))
	return edge.Attempt{
		Number: number,
		First:  batch[0].Record.Position, Last: batch[len(batch)-1].Record.Position, Records: len(batch),
		Slot: at.slot % at.slots, Slots: at.slots,
		StartedAt: startedAt, EndedAt: endedAt,
		Class: outcome.Class, Status: outcome.Status, Excerpt: outcome.Excerpt,
	}, outcome
}

// deliver survives a sink that panics. That says nothing about the destination
// or the records, so that nothing may be given up because of it.
func (l *lane) deliver(ctx context.Context, batch []edge.Delivery) (outcome edge.Outcome) {
	defer func() {
		if cause := recover(); cause != nil {
			l.log.Error("sink panicked; this is a bug in the gateway", "panic", cause, "stack", string(debug.Stack()))
			outcome = edge.Outcome{Class: edge.Unavailable, Status: "panic", Excerpt: fmt.Sprint(cause)}
		}
	}()
	return l.destination.Deliver(ctx, batch)
}

// deliverSpan is one record's view of an attempt.
type deliverSpan struct {
	span  observe.Span
	index int // of the record in the batch
}

// startSpans starts a span below each traced record, for the first spansMax.
func (l *lane) startSpans(batch []edge.Delivery, number int) []deliverSpan {
	var spans []deliverSpan
	for i := range batch {
		record := &batch[i].Record
		if record.TraceParent == "" {
			continue
		}
		parent, ok := observe.ParseTraceParent(record.TraceParent)
		if !ok {
			continue
		}
		span := l.tracer.Start(parent, "deliver", observe.WithKind(observe.KindClient))
		if !span.Sampled() {
			continue
		}
		span.Set(observe.AttributeSink, l.sink.Name)
		span.Set(observe.AttributeAttempt, number)
		span.Set(observe.AttributeCorrelation, record.Correlation.String())
		if spans = append(spans, deliverSpan{span, i}); len(spans) == spansMax {
			break
		}
	}
	return spans
}

func endSpans(spans []deliverSpan, outcome edge.Outcome) {
	for _, s := range spans {
		s.span.Set(observe.AttributeOutcome, outcome.Class.String())
		s.span.Set(observe.AttributeStatus, outcome.Status)
		if outcome.Class != edge.Delivered {
			s.span.Fail(errors.New(describe(outcome.Status, outcome.Excerpt)))
		}
		for _, refused := range outcome.Refused {
			if refused.Index == s.index {
				s.span.Fail(errors.New(describe(refused.Status, refused.Excerpt)))
			}
		}
		s.span.End()
	}
}

// describe says in one line how an attempt failed.
func describe(status, excerpt string) string {
	if excerpt == "" {
		return status
	}
	return status + ": " + excerpt
}
