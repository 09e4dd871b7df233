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
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// Settings are the limits of the door.
type Settings struct {
	MaxPayloadBytes int // ingest.max_payload; a payload of exactly this size passes
	// Believe returns a reading of the wall clock, or what stands for it when the
	// clock cannot be right. Nil believes every clock.
	Believe func(wall time.Time) (at time.Time, floored bool)
}

// Pipeline takes submissions and appends records. It implements
// [edge.Submitter].
type Pipeline struct {
	settings Settings
	plan     *edge.Plan
	appender edge.Appender
	tracer   *observe.Tracer
	doors    [len(edge.Sources) + 1]*observe.Door   // by source
	unknown  [len(edge.Sources) + 1]observe.Counter // fields that this gateway does not know
	floored  observe.Counter                        // receive times that are not the wall clock's
	entries  sync.Pool                              // of *[1]edge.Entry; see Offer
}

// New builds a pipeline that routes by plan.
func New(settings Settings, plan *edge.Plan, appender edge.Appender, observer *observe.Observer) *Pipeline {
	p := &Pipeline{settings: settings, plan: plan, appender: appender, tracer: observer.Tracer}
	p.floored = observer.Metrics.Counter("ingest_floored_timestamps_total")
	p.entries.New = func() any { return new([1]edge.Entry) }
	for _, source := range edge.Sources {
		p.doors[source] = observer.Metrics.Door(source.String())
		p.unknown[source] = observer.Metrics.Counter("ingest_unknown_fields_total", source.String())
	}
	return p
}

// Offer implements [edge.Submitter]. It counts what it refuses. A submission that
// the queue does not take now is for the door to count, which may try again.
func (p *Pipeline) Offer(ctx context.Context, submission *edge.Submission) error {
	refusal := p.judge(submission)
	if refusal != nil {
		p.doors[submission.Record.Source].Refuse(string(refusal.Reason), 1)
		if !submission.KeepRefused || !refusal.Permanent() {
			return refusal
		}
	}
	// The appender copies entries, so the one that it is given is used again: as an
	// argument of its own it would be the largest allocation of a message.
	entries := p.entries.Get().(*[1]edge.Entry)
	entry := &entries[0]
	span := p.stamp(entry, submission)
	if entry.Refusal = refusal; refusal == nil {
		entry.Owed = p.plan.Route(&entry.Record)
	}
	err := p.appender.Append(ctx, entries[:]...)
	clear(entries[:]) // let go of the payload
	p.entries.Put(entries)
	if err != nil {
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
func (p *Pipeline) stamp(entry *edge.Entry, submission *edge.Submission) observe.Span {
	entry.Record, entry.Replier, entry.Token = submission.Record, submission.Replier, submission.Token
	record := &entry.Record
	if p.settings.Believe != nil {
		at, floored := p.settings.Believe(record.ReceivedAt)
		if record.ReceivedAt = at; floored {
			p.floored.Inc()
		}
	}
	if telemetry := submission.Telemetry; telemetry != nil {
		p.unknown[record.Source].Add(telemetry.Unknown)
		if !record.Identity.Explicit {
			record.Identity = telemetry.Identity
		}
	}
	parent, _ := observe.ParseTraceParent(record.TraceParent)
	span := p.tracer.Start(parent, "ingest", observe.WithKind(observe.KindProducer))
	if !span.Sampled() {
		return span
	}
	span.Set(observe.AttributeSource, record.Source.String())
	span.Set(observe.AttributeDevice, string(record.Device))
	record.TraceParent = span.Context().TraceParent()
	entry.Replier = &traced{inner: submission.Replier, span: span}
	return span
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
		t.span.Set(observe.AttributeCorrelation, receipt.Correlation.String())
	}
	t.span.End()
	return t.inner != nil && t.inner.Reply(token, receipt, err)
}

func (t *traced) Flush() { t.inner.Flush() }
