package queue_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Contract(t *testing.T) {
	t.Parallel()
	build := func(t *testing.T, sinks ...edge.SinkID) edgetest.AppendLeaser {
		return start(t, queue.Settings{}, len(sinks))
	}
	t.Run("Appender", func(t *testing.T) { edgetest.TestAppender(t, build) })
	t.Run("Leaser", func(t *testing.T) { edgetest.TestLeaser(t, build) })
}

func TestQueue_Run(t *testing.T) {
	t.Run("FinishesWhatItHasTaken", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		replies := edgetest.NewReplies()
		entries := edgetest.Entries(500, 5, 1)
		for i := range entries {
			entries[i].Replier = replies
		}
		if err := q.Append(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
		q.close(t)
		for _, reply := range replies.Wait(t, len(entries)) {
			if reply.Err != nil {
				t.Fatal(reply.Err)
			}
		}
		if got := code(q.Append(t.Context(), entries[0])); got != edge.Stopping {
			t.Errorf("Append after the end: %v, want Stopping", got)
		}
		if _, err := q.Lease(t.Context(), 1, everything); err == nil {
			t.Error("leased after the end")
		}
		q = q.restart(t, 1)
		if got := len(q.lease(t, 1, 500)); got != 500 {
			t.Errorf("%d records after a restart, want 500", got)
		}
	})

	t.Run("OnlyOnce", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		edgetest.Append(t, q, edgetest.Entries(1, 1, 1)...)
		if err := q.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestQueue_Close(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	for range 2 {
		q, err := queue.Open(t.Context(), queue.Settings{Path: path}, observe.NewDiscard())
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *running) ensure(t *testing.T, specs ...queue.SinkSpec) []edge.SinkID {
	t.Helper()
	ids, err := r.EnsureSinks(t.Context(), specs)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestQueue_EnsureSinks(t *testing.T) {
	t.Run("NamesKeepTheirIDs", sinksNamesKeepTheirIDs)
	t.Run("ARemovedSinkKeepsItsBacklog", sinksARemovedSinkKeepsItsBacklog)
	t.Run("ARemovedSinkEndsWhenNothingIsLeft", sinksARemovedSinkEnds)
	t.Run("ANameTwiceIsRefused", sinksANameTwiceIsRefused)
	t.Run("StartsWhereItShould", sinksStartsWhereItShould)
}

func sinksNamesKeepTheirIDs(t *testing.T) {
	q := start(t, queue.Settings{}, 2)
	got := q.ensure(t, queue.SinkSpec{Name: "new", Kind: "http"}, queue.SinkSpec{Name: "sink-2", Kind: "http"})
	if diff := cmp.Diff([]edge.SinkID{3, 2}, got); diff != "" {
		t.Error(diff)
	}
	q = q.restart(t, 0)
	got = q.ensure(t, queue.SinkSpec{Name: "sink-1"}, queue.SinkSpec{Name: "newer"}, queue.SinkSpec{Name: "new"})
	if diff := cmp.Diff([]edge.SinkID{1, 4, 3}, got); diff != "" {
		t.Error(diff)
	}
	removed, stats := map[string]bool{}, q.Stats()
	for _, sink := range stats.All() {
		removed[sink.Name] = sink.Removed
	}
	if diff := cmp.Diff(map[string]bool{"sink-1": false, "sink-2": true, "new": false, "newer": false}, removed); diff != "" {
		t.Error(diff)
	}
}

func sinksARemovedSinkKeepsItsBacklog(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(4, 1, 1)...)
	q.ensure(t)
	if got := q.sink(1); !got.Removed || got.Pending != 4 {
		t.Errorf("got %+v, want removed with 4 pending", got)
	}
	q = q.restart(t, 1)
	if got := len(q.lease(t, 1, 4)); got != 4 {
		t.Errorf("%d deliveries after the sink came back, want 4", got)
	}
}

// A removed sink is told of as long as something of it waits, or is dead. Its place
// is kept: it goes on there when it comes back, wherever a new one would begin.
func sinksARemovedSinkEnds(t *testing.T) {
	q := start(t, queue.Settings{}, 3)
	edgetest.Append(t, q, edgetest.Entries(4, 1, 1, 2, 3)...)
	q.ack(t, 1, q.lease(t, 1, 4))
	q.reject(t, 2, q.lease(t, 2, 4))
	q.ensure(t, queue.SinkSpec{Name: "served", Kind: "test"})
	stats := q.Stats()
	told := func(sinks []edge.SinkStats) (ids []edge.SinkID) {
		for _, sink := range sinks {
			ids = append(ids, sink.ID)
		}
		return ids
	}
	if diff := cmp.Diff([][]edge.SinkID{{2, 3, 4}, {1}}, [][]edge.SinkID{told(stats.Sinks), told(stats.Ended)}); diff != "" {
		t.Error(diff)
	}
	edgetest.Append(t, q, edgetest.Entries(4, 2, 4)...)
	back := q.ensure(t, queue.SinkSpec{Name: "sink-1", Kind: "test", Start: edge.Start{Oldest: true}})
	if got := q.sink(1); len(back) != 1 || back[0] != 1 || got.Removed || got.Owed != 4 || got.Pending != 0 {
		t.Errorf("it came back as %v, %+v; want it where it was", back, got)
	}
	q.recount(t)
}

func sinksANameTwiceIsRefused(t *testing.T) {
	q := start(t, queue.Settings{}, 0)
	if _, err := q.EnsureSinks(t.Context(), []queue.SinkSpec{{Name: "a"}, {Name: "a"}}); code(err) != edge.Invalid {
		t.Errorf("got %v, want Invalid", err)
	}
}

func sinksStartsWhereItShould(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	var third edge.Record
	for i := range 10 { // ten commits of ten records
		entries := edgetest.Entries(10, 10, 1)
		for j := range entries {
			entries[j].Record = edgetest.Record("dev", 10*i+j)
		}
		edgetest.Append(t, q, entries...)
		if i == 6 {
			third = entries[3].Record
		}
	}
	ids := q.ensure(t, queue.SinkSpec{Name: "sink-1"}, queue.SinkSpec{Name: "now"},
		queue.SinkSpec{Name: "oldest", Start: edge.Start{Oldest: true}}, queue.SinkSpec{Name: "since", Start: edge.Start{At: third.ReceivedAt}},
		queue.SinkSpec{Name: "future", Start: edge.Start{At: third.ReceivedAt.AddDate(1, 0, 0)}})
	edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", 100), Owed: ids})
	first := map[string]edge.Position{}
	for _, sink := range q.Stats().Sinks {
		deliveries := q.lease(t, sink.ID, int(sink.Pending))
		first[sink.Name] = deliveries[0].Record.Position
		if want := int64(101 - deliveries[0].Record.Position + 1); sink.Owed != want {
			t.Errorf("%s is owed %d, want %d", sink.Name, sink.Owed, want)
		}
		q.idle(t, sink.ID)
	}
	// Clocks tick in microseconds: records before the third of the seventh
	// commit may carry the same time.
	want := map[string]edge.Position{"sink-1": 1, "now": 101, "oldest": 1, "since": first["since"], "future": 101}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	if since := first["since"]; since < 61 || since > 64 {
		t.Errorf("the sink that starts at a time begins at %d, want 61 to 64", since)
	}
	q.recount(t)
	if path := q.crash(t); path != "" {
		q = start(t, queue.Settings{Path: path}, 0)
		q.recount(t)
	}
}
