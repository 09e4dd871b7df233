package queue_test

import (
	"testing"
	"testing/synctest"
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

// A batch of two requeued letters spans records that have expired; and a loss spans
// records that another slot has delivered. Each is told what became of it.
func TestQueue_Journey_LossAndDelivery(t *testing.T) { synctest.Test(t, journeyLossAndDelivery) }

func journeyLossAndDelivery(t *testing.T) {
	q := start(t, queue.Settings{RetentionUndelivered: time.Minute}, 1)
	entries := edgetest.Entries(9, 3, 1)
	receipts := edgetest.Append(t, q, entries...)
	leased := q.lease(t, 1, 9)
	q.reject(t, 1, []edge.Delivery{leased[0], leased[8]})
	slot := edge.SlotOf(leased[3].Record.Device, 2)
	var of []edge.Delivery // all of one slot between two of its records
	for _, delivery := range leased[3:7] {
		if edge.SlotOf(delivery.Record.Device, 2) == slot {
			of = append(of, delivery)
		}
	}
	delivered := attempt(of, edge.Delivered)
	delivered.Slot, delivered.Slots = slot, 2
	q.settle(t, 1, edge.Settlement{Attempt: delivered, Acked: of})
	<-time.After(2 * time.Minute)
	q.requeue(t, 2, key(1, 1), key(1, 9))
	again := q.lease(t, 1, 2)
	q.settle(t, 1, edge.Settlement{Attempt: attempt(again, edge.Delivered), Acked: again})
	want := map[edge.Position]edge.State{1: edge.Acked, 9: edge.Acked}
	for _, delivery := range of {
		want[delivery.Record.Position] = edge.Acked
	}
	for i, receipt := range receipts {
		position := edge.Position(i + 1)
		if want[position] == 0 {
			want[position] = edge.Expired
		}
		journey, err := q.Journey(t.Context(), receipt.Correlation)
		if err != nil || journey.Sinks[0].State != want[position] {
			t.Errorf("record %d: %+v, %v; want %v", position, journey.Sinks, err, want[position])
		}
	}
	if len(of) < 3 || len(of) == 4 {
		t.Fatalf("the slot has %d of four records: choose other devices", len(of))
	}
}
