package queue_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Journey(t *testing.T) {
	q := start(t, queue.Settings{}, 3)
	entries := edgetest.Entries(3, 1, 1, 2)
	entries[2].Record.Identity = edge.Identity{MessageID: "m-3"}
	receipts := edgetest.Append(t, q, entries...)
	first := q.lease(t, 1, 3)
	retry := attempt(first, edge.Unavailable)
	retry.Status, retry.Excerpt = "503", "later"
	q.settle(t, 1, edge.Settlement{Attempt: retry})
	done := attempt(first[:2], edge.Delivered)
	done.Number = 2
	q.settle(t, 1, edge.Settlement{Attempt: done, Acked: first[:1], Dead: []edge.Death{{Delivery: first[1], Reason: edge.DeathRejected}}})

	stages := func(journey edge.Journey, err error) []edge.Stage {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return journey.Sinks
	}
	want := [][]edge.Stage{
		{{Sink: 1, State: edge.Acked, Attempts: []edge.Attempt{retry, done}}, {Sink: 2, State: edge.Enqueued}},
		{{Sink: 1, State: edge.Dead, Attempts: []edge.Attempt{retry, done}}, {Sink: 2, State: edge.Enqueued}},
		{{Sink: 1, State: edge.InFlight, Attempts: []edge.Attempt{retry}}, {Sink: 2, State: edge.Enqueued}},
	}
	for range 2 {
		q.recount(t)
		for i, receipt := range receipts {
			if diff := cmp.Diff(want[i], stages(q.Journey(t.Context(), receipt.Correlation))); diff != "" {
				t.Errorf("record %d: %s", i+1, diff)
			}
			if diff := cmp.Diff(want[i], stages(q.JourneyByIdentity(t.Context(), "dev-0", entries[i].Record.Identity))); diff != "" {
				t.Errorf("record %d by identity: %s", i+1, diff)
			}
		}
		q = start(t, queue.Settings{Path: q.crash(t)}, 3)
		want[2][0].State = edge.Enqueued // leases do not survive
	}

	foreign := receipts[0].Correlation
	foreign[15] ^= 1 // another file's id
	later := edge.NewCorrelationID(first[0].Record.ReceivedAt, 99, 0, receipts[0].Correlation.Log())
	other := edge.NewCorrelationID(first[0].Record.ReceivedAt.Add(time.Second), 1, 0, receipts[0].Correlation.Log())
	for name, id := range map[string]edge.CorrelationID{"foreign": foreign, "later": later, "other": other} {
		if _, err := q.Journey(t.Context(), id); code(err) != edge.NotFound {
			t.Errorf("%s: %v, want NotFound", name, err)
		}
	}
	if _, err := q.JourneyByIdentity(t.Context(), "dev-0", edge.Identity{MessageID: "m-4"}); code(err) != edge.NotFound {
		t.Errorf("unknown identity: %v, want NotFound", err)
	}
}
