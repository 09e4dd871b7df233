package edgetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"combotto.io/gateway/server/edge"
)

// TestSink is the contract of [edge.Sink]. The constructor returns a sink whose
// destination accepts everything at once, and closes it with t.Cleanup.
func TestSink(t *testing.T, build func(t *testing.T) edge.Sink) {
	t.Run("Delivers", func(t *testing.T) {
		expectDelivered(t, build(t).Deliver(t.Context(), deliveries("dev-1", 1, 5)))
	})
	t.Run("DeliversConcurrently", func(t *testing.T) {
		sink := build(t)
		var attempts sync.WaitGroup
		for i := range 8 {
			attempts.Go(func() {
				for n := range 5 {
					batch := deliveries(edge.DeviceID(fmt.Sprintf("dev-%d", i)), 1+100*i+10*n, 10)
					expectDelivered(t, sink.Deliver(t.Context(), batch))
				}
			})
		}
		attempts.Wait()
	})
	t.Run("EndedContextIsUnavailable", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		sink := build(t)
		for range 20 { // a select that has two ready cases takes the wrong one half of the time
			outcome := sink.Deliver(ctx, deliveries("dev-1", 1, 5))
			if outcome.Class != edge.Unavailable || outcome.Status == "" {
				t.Fatalf("got %+v, want Unavailable with a status", outcome)
			}
		}
	})
	t.Run("UnreadablePayloadIsRefusedAlone", func(t *testing.T) {
		batch := deliveries("dev-1", 1, 3)
		batch[1].Record.Payload = []byte("{")
		outcome := build(t).Deliver(t.Context(), batch)
		if outcome.Class != edge.Delivered || len(outcome.Refused) != 1 ||
			outcome.Refused[0].Index != 1 || !outcome.Refused[0].Unwritable || outcome.Refused[0].Status == "" || outcome.Refused[0].Excerpt == "" {
			t.Errorf("got %+v, want the second record refused as unwritable, with a status and an excerpt", outcome)
		}
	})
	t.Run("AllUnreadableIsRefused", func(t *testing.T) {
		batch := deliveries("dev-1", 1, 1)
		batch[0].Record.Payload = nil
		if outcome := build(t).Deliver(t.Context(), batch); outcome.Class != edge.Delivered || len(outcome.Refused) != 1 || !outcome.Refused[0].Unwritable {
			t.Errorf("got %+v, want the record refused as unwritable", outcome)
		}
	})
}

// deliveries returns count live deliveries of one device, from a position on.
func deliveries(device edge.DeviceID, first, count int) []edge.Delivery {
	batch := make([]edge.Delivery, count)
	for i := range batch {
		record := Record(device, first+i)
		record.Position = edge.Position(first + i)
		record.Correlation = edge.NewCorrelationID(time.Now(), record.Position, 0, 1)
		batch[i] = edge.Delivery{Record: record}
	}
	return batch
}

func expectDelivered(t *testing.T, outcome edge.Outcome) {
	t.Helper()
	if outcome.Class != edge.Delivered || len(outcome.Refused) > 0 || outcome.RetryAfter != 0 {
		t.Errorf("got %+v, want Delivered", outcome)
	}
	if len(outcome.Excerpt) > edge.MaxExcerptBytes || !utf8.ValidString(outcome.Excerpt) {
		t.Errorf("excerpt of %d bytes, want at most %d of valid UTF-8: %q", len(outcome.Excerpt), edge.MaxExcerptBytes, outcome.Excerpt)
	}
}
