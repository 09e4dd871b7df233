package broker

import (
	"context"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/wire"
)

// fill makes the submission of a message to a telemetry topic. What the payload
// says is valid until the decoder is used again.
func (b *Broker) fill(s *edge.Submission, decoder *wire.Decoder, r *route, payload []byte, properties mqttwire.Properties, now time.Time) {
	*s = edge.Submission{Record: edge.Record{
		Device:     r.device,
		Source:     edge.SourceMQTT,
		Encoding:   b.settings.DefaultEncoding,
		ReceivedAt: now.UTC().Truncate(time.Microsecond),
		Payload:    payload,
	}}
	if len(properties) > 0 {
		if text := string(properties.User("traceparent")); text != "" {
			if _, ok := observe.ParseTraceParent(text); ok {
				s.Record.TraceParent = text
			}
		}
		if contentType := properties.Value(mqttwire.ContentType); len(contentType) > 0 {
			if s.Record.Encoding, s.Fault = wire.EncodingOf(string(contentType)); s.Fault != nil {
				return
			}
		}
	}
	s.Telemetry, s.Record.Encoding, s.Fault = decoder.Decode(s.Record.Encoding, payload)
}

// patience is how one sender waits for a full gateway: once for the grace, and
// not again before a message has got through.
type patience struct{ fullSince time.Time }

const (
	firstFullWait   = 20 * time.Millisecond
	longestFullWait = time.Second
)

// offer hands a submission to ingest and, while the gateway is full, tries again
// until the grace is over, ctx ends or the broker stops.
func (p *patience) offer(ctx context.Context, b *Broker, s *edge.Submission) error {
	for wait := firstFullWait; ; wait = min(2*wait, longestFullWait) {
		err := b.ingest.Offer(ctx, s)
		if err == nil || edge.AsError(err).Code != edge.Full {
			if !p.fullSince.IsZero() && err == nil {
				p.fullSince = time.Time{}
			}
			return err
		}
		if p.fullSince.IsZero() {
			p.fullSince = time.Now()
		}
		left := b.settings.FullGrace - time.Since(p.fullSince)
		if left <= 0 {
			return err
		}
		timer := time.NewTimer(min(wait, left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-b.stopped:
			timer.Stop()
			return edge.NewStopping()
		}
	}
}
