package queue_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Retention(t *testing.T) {
	q := start(t, queue.Settings{RetentionDelivered: time.Nanosecond}, 2)
	for i := range 200 { // more frames than one commit removes
		record := edgetest.Record("dev", i)
		edgetest.Append(t, q, edge.Entry{Record: record, Owed: []edge.SinkID{1, 2}})
	}
	first := q.lease(t, 1, 200)
	q.reject(t, 1, first[:1])
	q.ack(t, 1, first[1:])
	q.ack(t, 2, q.lease(t, 2, 150)[:100])
	q.recount(t) // waits until the settlements are saved: no frame goes before
	append1 := func(n int) {
		edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("other", n)})
	}
	for n := range 40 {
		append1(n)
	}
	// Frames 1 to 100 are settled for both; what sink 2 has leased stays.
	if got := q.Stats().Oldest; got != 101 {
		t.Errorf("the oldest record is %d, want 101", got)
	}
	q.recount(t)

	// A dead letter outlives its frame, and identities outlive theirs.
	q = start(t, queue.Settings{Path: q.crash(t), RetentionDelivered: time.Nanosecond}, 2)
	letter, err := q.DeadLetter(t.Context(), key(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	journey, err := q.Journey(t.Context(), letter.Record.Correlation)
	if err != nil || len(journey.Sinks) != 1 || journey.Sinks[0].State != edge.Dead || journey.Frame != 0 {
		t.Errorf("got %+v, %v; want the dead letter", journey, err)
	}
	if _, err := q.Journey(t.Context(), first[1].Record.Correlation); code(err) != edge.NotFound {
		t.Errorf("got %v, want NotFound for a removed record", err)
	}
	if receipt := edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", 2)})[0]; !receipt.Duplicate {
		t.Errorf("got %+v for a message whose frame is gone, want a duplicate", receipt)
	}
	if diff := cmp.Diff(edge.Position(101), q.lease(t, 2, 1)[0].Record.Position); diff != "" {
		t.Error(diff)
	}
}

func TestQueue_Retention_PositionsAreNeverUsedTwice(t *testing.T) {
	q := start(t, queue.Settings{RetentionDelivered: time.Nanosecond}, 0)
	edgetest.Append(t, q, edgetest.Entries(5, 1)...)
	q = q.restart(t, 0) // the last commit removes what is old
	if got := q.Stats().Oldest; got != 0 {
		t.Fatalf("the oldest record is %d, want none", got)
	}
	if got := edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("new", 1)})[0].Correlation.Position(); got != 6 {
		t.Errorf("the next position is %d, want 6", got)
	}
	if got := q.Stats().Accepted; got != 6 {
		t.Errorf("accepted %d, want 6", got)
	}
}

// A lane that passes over what its sink is not owed holds none of it, though
// nothing of the sink is settled for long.
func TestQueue_Retention_PassedOver(t *testing.T) {
	bubble(t, "IsNotPinned", func(t *testing.T) {
		q := start(t, queue.Settings{RetentionDelivered: time.Second}, 2)
		for i := range 101 {
			owed := []edge.SinkID{2}
			if i%100 == 0 {
				owed = []edge.SinkID{1}
			}
			edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", i), Owed: owed})
		}
		q.ack(t, 1, q.lease(t, 1, 1))
		q.recount(t)
		last := q.lease(t, 1, 1) // its receiver hangs
		q.ack(t, 2, q.lease(t, 2, 99))
		time.Sleep(time.Minute)
		edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", 101)})
		time.Sleep(time.Minute)
		if got := q.Stats().Oldest; got != last[0].Record.Position {
			t.Errorf("the oldest record is %d, want %d", got, last[0].Record.Position)
		}
		q.recount(t)
	})
}
