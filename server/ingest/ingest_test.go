package ingest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/ingest"
	"combotto.io/gateway/server/observe"
)

const sink = edge.SinkID(1)

// bench is a pipeline in front of a fake queue.
type bench struct {
	*ingest.Pipeline
	queue    *edgetest.Queue
	observer *observe.Observer
	replies  *edgetest.Replies
}

func newBench() *bench {
	queue, observer := edgetest.NewQueue(sink), observe.NewDiscard()
	plan := edge.NewPlan([]edge.PlannedSink{{ID: sink, Name: "archive"}})
	pipeline := ingest.New(ingest.Settings{MaxPayloadBytes: 100}, plan, queue, observer)
	return &bench{pipeline, queue, observer, edgetest.NewReplies()}
}

// submission is one that passes.
func (b *bench) submission() *edge.Submission {
	return &edge.Submission{
		Record: edge.Record{
			Device: "dev-1", Source: edge.SourceHTTP, Encoding: edge.EncodingJSON,
			ReceivedAt: time.Unix(1_800_000_000, 0).UTC(), Payload: []byte("{}"),
		},
		Telemetry: &edge.Telemetry{
			SchemaVersion: 1, Metrics: []edge.Metric{{Name: "t"}},
			Identity: edge.Identity{BootID: "b", Sequence: 7, HasSequence: true},
		},
		Replier: b.replies, Token: 42,
	}
}

func (b *bench) rejected(source edge.Source, reason edge.Reason) uint64 {
	return b.observer.Metrics.Counter("ingest_rejected_total", source.String(), string(reason)).Value()
}

func TestPipeline_Offer(t *testing.T) {
	t.Run("StampsAndRoutes", func(t *testing.T) {
		b := newBench()
		submission := b.submission()
		if err := b.Offer(t.Context(), submission); err != nil {
			t.Fatal(err)
		}
		reply := b.replies.Wait(t, 1)[0]
		if reply.Token != 42 || reply.Err != nil || reply.Receipt.Correlation.IsZero() {
			t.Errorf("got %+v", reply)
		}
		deliveries, err := b.queue.Lease(t.Context(), sink, edge.LeaseLimit{Records: 9, Bytes: 1 << 20})
		if err != nil || len(deliveries) != 1 {
			t.Fatalf("leased %v, %v", deliveries, err)
		}
		want := submission.Record
		want.Identity = submission.Telemetry.Identity
		got := deliveries[0].Record
		got.Position, got.Correlation = 0, edge.CorrelationID{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("AnExplicitKeyWins", func(t *testing.T) {
		b := newBench()
		submission := b.submission()
		submission.Record.Identity = edge.Identity{MessageID: "key", Explicit: true}
		if err := b.Offer(t.Context(), submission); err != nil {
			t.Fatal(err)
		}
		deliveries, err := b.queue.Lease(t.Context(), sink, edge.LeaseLimit{Records: 9, Bytes: 1 << 20})
		if err != nil || deliveries[0].Record.Identity != (edge.Identity{MessageID: "key", Explicit: true}) {
			t.Errorf("got %+v, %v", deliveries, err)
		}
	})
}

func TestPipeline_Offer_Refuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*edge.Submission)
		want   edge.Reason
	}{
		"DeviceID":        {func(s *edge.Submission) { s.Record.Device = "a/b" }, edge.ReasonDevice},
		"PayloadTooLarge": {func(s *edge.Submission) { s.Record.Payload = make([]byte, 101) }, edge.ReasonTooLarge},
		"Fault": {func(s *edge.Submission) {
			s.Telemetry, s.Fault = nil, edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "x")
		}, edge.ReasonMalformed},
		"Meaning":     {func(s *edge.Submission) { s.Telemetry.Metrics = nil }, edge.ReasonMissingField},
		"ExplicitKey": {func(s *edge.Submission) { s.Record.Identity = edge.Identity{MessageID: "a b", Explicit: true} }, edge.ReasonOutOfRange},
		"LongExplicitKey": {func(s *edge.Submission) {
			s.Record.Identity = edge.Identity{MessageID: strings.Repeat("k", 65), Explicit: true}
		}, edge.ReasonOutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			submission := b.submission()
			test.change(submission)
			err := b.Offer(t.Context(), submission)
			if refusal := edge.AsError(err); err == nil || refusal.Reason != test.want {
				t.Fatalf("got %v, want reason %s", err, test.want)
			}
			if got := b.rejected(edge.SourceHTTP, test.want); got != 1 {
				t.Errorf("counted %d times", got)
			}
			if account := b.queue.Account(sink); account != (edgetest.Account{}) {
				t.Errorf("something was stored: %+v", account)
			}
		})
	}
	t.Run("NothingAtTheLimit", func(t *testing.T) {
		b := newBench()
		submission := b.submission()
		submission.Record.Payload = make([]byte, 100)
		if err := b.Offer(t.Context(), submission); err != nil {
			t.Error(err)
		}
	})
}

func TestPipeline_Offer_Passes(t *testing.T) {
	t.Run("ARefusalThatTheSenderCannotBeTold", func(t *testing.T) {
		b := newBench()
		submission := b.submission()
		submission.Telemetry.Metrics, submission.KeepRefused = nil, true
		if err := b.Offer(t.Context(), submission); err != nil {
			t.Fatal(err)
		}
		if reply := b.replies.Wait(t, 1)[0]; reply.Err != nil || !reply.Receipt.Refused {
			t.Errorf("got %+v", reply)
		}
		if got := b.rejected(edge.SourceHTTP, edge.ReasonMissingField); got != 1 {
			t.Errorf("counted %d times", got)
		}
		if account := b.queue.Account(sink); account.Due != 0 {
			t.Errorf("it is owed to a sink: %+v", account)
		}
	})
	t.Run("TheQueuesErrorOn", func(t *testing.T) {
		b := newBench()
		full := &edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "full"}
		pipeline := ingest.New(ingest.Settings{MaxPayloadBytes: 100}, edge.NewPlan(nil), refusing{full}, b.observer)
		if err := pipeline.Offer(t.Context(), b.submission()); !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
	})
}

// refusing is a queue that takes nothing.
type refusing struct{ err error }

func (r refusing) Append(context.Context, ...edge.Entry) error { return r.err }
