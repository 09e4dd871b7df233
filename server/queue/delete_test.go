package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_DeleteSink(t *testing.T) {
	bubble(t, "DiscardsBacklogAndDeadLetters", deleteDiscards)
	bubble(t, "GoesOnAfterACrash", deleteGoesOnAfterACrash)
	bubble(t, "RetentionRemovedSink", deleteByPolicy)
}

// withBacklog is a queue with a removed sink, number 1, that is owed 600 records
// and has 300 dead letters, five of which are requeued. Sink 2 is served.
func withBacklog(t *testing.T, settings queue.Settings) *running {
	t.Helper()
	q := start(t, settings, 2)
	for i := range 10 {
		entries := edgetest.Entries(90, 3, 1, 2)
		for j := range entries {
			entries[j].Record = edgetest.Record(entries[j].Record.Device, 100*i+j)
		}
		edgetest.Append(t, q, entries...)
	}
	for range 3 {
		q.reject(t, 1, q.lease(t, 1, 100))
	}
	var keys []edge.DeadLetterKey
	for position := range 5 {
		keys = append(keys, key(1, edge.Position(position+1)))
	}
	if count, err := q.RequeueKeys(t.Context(), keys, false); err != nil || count != 5 {
		t.Fatal(count, err)
	}
	q.close(t)
	settings.Path = q.path
	return startWith(t, settings, queue.SinkSpec{Name: "sink-2", Kind: "test"})
}

func deleteDiscards(t *testing.T) {
	q := withBacklog(t, queue.Settings{RetentionDelivered: time.Second})
	deletion := edge.Deletion{Actor: "ann", Discard: true}
	if _, err := q.DeleteSink(t.Context(), 2, deletion); code(err) != edge.Precondition {
		t.Errorf("deleting a configured sink: %v", err)
	}
	if _, err := q.DeleteSink(t.Context(), 1, edge.Deletion{Actor: "ann"}); code(err) != edge.Precondition {
		t.Errorf("deleting a backlog without saying so: %v", err)
	}
	if count, err := q.DeleteSink(t.Context(), 1, edge.Deletion{Actor: "ann", ValidateOnly: true}); count != 900 || err != nil {
		t.Errorf("counted %d, %v; want 900", count, err)
	}
	if got := q.lost(t); len(got) != 0 {
		t.Fatalf("lost %+v, want nothing so far", got)
	}
	if count, err := q.DeleteSink(t.Context(), 1, deletion); count != 900 || err != nil {
		t.Fatalf("discarded %d, %v; want 900", count, err)
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 9)
	if err != nil || len(losses) != 1 {
		t.Fatalf("%+v, %v", losses, err)
	}
	if loss := losses[0]; loss.Count != 900 || loss.First != 1 || loss.Last != 900 || loss.Actor != "ann" || loss.Kind != edge.LossDiscarded ||
		loss.Reason != edge.LossOperator || loss.SinkName != "sink-1" || len(loss.Devices) != 3 || loss.Devices[0].Count != 300 {
		t.Errorf("got %+v", loss)
	}
	q.ack(t, 2, q.lease(t, 2, 900))
	<-time.After(3 * time.Second)
	if got := q.Stats(); got.Oldest != 0 || len(got.Sinks) != 1 {
		t.Errorf("the oldest record is %d, sinks %+v; want nothing pinned by what is deleted", got.Oldest, got.Sinks)
	}
	q.recount(t)

	// The name is free, and the id is not.
	again := q.restart(t, 2)
	if got := again.Stats().Sinks; len(got) != 2 || got[1].ID != 3 || got[1].Name != "sink-1" || got[1].Owed != 0 {
		t.Errorf("got %+v, want a new sink with a new id", got)
	}
	if losses, err := again.Losses(t.Context(), edge.LossFilter{Sinks: []edge.SinkID{1}}, 0, 9); err != nil || len(losses) != 1 || losses[0].SinkName != "sink-1" {
		t.Errorf("got %+v, %v", losses, err)
	}
	if _, err := again.DeleteSink(t.Context(), 1, deletion); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
	again.recount(t)
}

func deleteGoesOnAfterACrash(t *testing.T) {
	q := withBacklog(t, queue.Settings{})
	done := make(chan error, 1)
	go func() {
		_, err := q.DeleteSink(t.Context(), 1, edge.Deletion{Actor: "ann", Discard: true})
		done <- err
	}()
	var crashes []string
	for len(crashes) < 12 {
		crashes = append(crashes, q.crash(t))
		<-time.After(7 * time.Millisecond)
		synctest.Wait()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, path := range crashes {
		after := startWith(t, queue.Settings{Path: path}, queue.SinkSpec{Name: "sink-2", Kind: "test"})
		<-time.After(5 * time.Second)
		discarded := int64(0)
		losses, err := after.Losses(t.Context(), edge.LossFilter{}, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, loss := range losses {
			discarded += loss.Count
			if loss.Actor != "ann" {
				t.Errorf("discarded by %q", loss.Actor)
			}
		}
		if got := after.sink(1); discarded != 900 && (discarded != 0 || got.Pending != 600 || got.Dead != 300) {
			t.Errorf("%d are reported, and what is left is %+v: want all or nothing", discarded, got)
		}
		after.recount(t)
		after.close(t)
	}
}

func deleteByPolicy(t *testing.T) {
	q := withBacklog(t, queue.Settings{RetentionRemovedSink: time.Hour})
	<-time.After(50 * time.Minute)
	q = func() *running { // removed for as long, whatever is restarted
		q.close(t)
		return startWith(t, queue.Settings{Path: q.path, RetentionRemovedSink: time.Hour}, queue.SinkSpec{Name: "sink-2", Kind: "test"})
	}()
	if got := q.lost(t); len(got) != 0 {
		t.Fatalf("lost %+v before it was due", got)
	}
	<-time.After(10*time.Minute + 5*time.Second)
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 9)
	if err != nil || len(losses) != 1 || losses[0].Count != 900 || losses[0].Reason != edge.LossSinkRemoved || losses[0].Actor != "" {
		t.Errorf("got %+v, %v", losses, err)
	}
	if got := q.sink(2); got.Pending != 900 || got.Discarded != 0 {
		t.Errorf("another sink was touched: %+v", got)
	}
	q.recount(t)
}
