// Package ingest is the one way in: every message of every door passes Offer,
// which judges what the message means, stamps it and hands it to the queue.
//
// It promises that a message is either refused, with an error written for its
// sender, or handed to the queue, whose answer reaches the sender's Replier
// after the commit. It keeps nothing and starts no goroutine; the only waiting
// it does is the queue's back-pressure. It does not decode: doors do that, with
// package wire. It does not know who may publish: doors ask that first.
//
// A Pipeline is safe for concurrent use. Tests give it the fake queue of
// package edgetest.
package ingest

import (
	"context"
	"sync/atomic"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// Settings are the limits of the door.
type Settings struct {
	MaxPayloadBytes int // ingest.max_payload; a payload of exactly this size passes
}

// Pipeline takes submissions and appends records. It implements
// [edge.Submitter].
type Pipeline struct {
	settings Settings
	appender edge.Appender
	tracer   *observe.Tracer
	counters [len(edge.Sources) + 1]counters // by source

	plan    atomic.Pointer[edge.Plan]
	stopped atomic.Bool
}

// counters are one door's counters of what ingest itself refuses; what becomes
// of the rest is counted by the queue, which knows.
type counters struct {
	rejected observe.Counter
	unknown  observe.Counter // messages with unknown fields
	reasons  map[edge.Reason]observe.Counter
}

// New builds a pipeline that routes by plan.
func New(settings Settings, plan *edge.Plan, appender edge.Appender, observer *observe.Observer) *Pipeline {
	p := &Pipeline{settings: settings, appender: appender, tracer: observer.Tracer}
	for _, source := range edge.Sources {
		c := counters{
			rejected: observer.Metrics.Counter("ingest_messages_total", source.String(), "rejected"),
			unknown:  observer.Metrics.Counter("ingest_unknown_fields_total", source.String()),
			reasons:  map[edge.Reason]observe.Counter{},
		}
		for _, reason := range edge.Reasons {
			c.reasons[reason] = observer.Metrics.Counter("ingest_rejected_total", source.String(), string(reason))
		}
		p.counters[source] = c
	}
	p.plan.Store(plan)
	return p
}

// SetPlan makes later records follow another plan.
func (p *Pipeline) SetPlan(plan *edge.Plan) { p.plan.Store(plan) }

// Stop refuses everything from now on. What was taken is still answered.
func (p *Pipeline) Stop() { p.stopped.Store(true) }

// Offer implements [edge.Submitter].
func (p *Pipeline) Offer(ctx context.Context, submission *edge.Submission) error {
	if p.stopped.Load() {
		return &edge.Error{Code: edge.Stopping, Reason: edge.ReasonStopping, Message: "the gateway is stopping", RetryAfter: 5 * time.Second}
	}
	refusal := p.judge(submission)
	if refusal != nil {
		p.count(submission.Record.Source, refusal)
		if !submission.KeepRefused || !refusal.Permanent() {
			return refusal
		}
	}
	entry, span := p.stamp(submission)
	if entry.Refusal = refusal; refusal == nil {
		entry.Owed = p.plan.Load().Route(&entry.Record)
	}
	if err := p.appender.Append(ctx, entry); err != nil {
		span.Fail(err)
		span.End()
		return err
	}
	return nil
}

// judge returns why the message can not be taken as it is, or nil.
func (p *Pipeline) judge(submission *edge.Submission) *edge.Error {
	record := &submission.Record
	switch {
	case !edge.ValidDeviceID(record.Device):
		return edge.Refuse(edge.Invalid, edge.ReasonDevice, "device_id", "must match [A-Za-z0-9][A-Za-z0-9._-]{0,63}")
	case len(record.Payload) > p.settings.MaxPayloadBytes:
		return edge.Refuse(edge.TooLarge, edge.ReasonTooLarge, "", "payload of %d bytes, at most %d are allowed", len(record.Payload), p.settings.MaxPayloadBytes)
	case submission.Fault != nil:
		return edge.AsError(submission.Fault)
	}
	if err := submission.Telemetry.Check(record.Device); err != nil {
		return edge.AsError(err)
	}
	if record.Identity.Explicit && !edge.ValidMessageID(record.Identity.MessageID) {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "request_id", "must be 1 to %d printable ASCII characters without spaces", edge.MaxMessageIDBytes)
	}
	return nil
}

// stamp turns the submission into an entry and opens the span of a sampled one.
func (p *Pipeline) stamp(submission *edge.Submission) (edge.Entry, observe.Span) {
	entry := edge.Entry{Record: submission.Record, Replier: submission.Replier, Token: submission.Token}
	record := &entry.Record
	if telemetry := submission.Telemetry; telemetry != nil {
		if telemetry.Unknown > 0 {
			p.counters[record.Source].unknown.Inc()
		}
		if !record.Identity.Explicit {
			record.Identity = telemetry.Identity
		}
	}
	parent, _ := observe.ParseTraceParent(record.TraceParent)
	span := p.tracer.Start(parent, "ingest", observe.WithKind(observe.KindProducer))
	if !span.Sampled() {
		return entry, span
	}
	span.Set("messaging.source", record.Source.String())
	span.Set("gateway.device_id", string(record.Device))
	record.TraceParent = span.Context().TraceParent()
	entry.Replier = &traced{inner: submission.Replier, span: span}
	return entry, span
}

// count adds a refusal to the counters of its door.
func (p *Pipeline) count(source edge.Source, refusal *edge.Error) {
	c := &p.counters[source]
	c.rejected.Inc()
	c.reasons[refusal.Reason].Inc()
}

// traced ends the span of a sampled message when its answer is known.
type traced struct {
	inner edge.Replier
	span  observe.Span
}

func (t *traced) Reply(token uint64, receipt edge.Receipt, err error) bool {
	if err != nil {
		t.span.Fail(err)
	} else {
		t.span.Set("gateway.correlation_id", receipt.Correlation.String())
	}
	t.span.End()
	return t.inner != nil && t.inner.Reply(token, receipt, err)
}

func (t *traced) Flush() { t.inner.Flush() }
