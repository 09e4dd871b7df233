package queue_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func key(sink edge.SinkID, position edge.Position) edge.DeadLetterKey {
	return edge.DeadLetterKey{Sink: sink, Position: position}
}

// requeue requeues and fails when the count is another one.
func (r *running) requeue(t *testing.T, want int, keys ...edge.DeadLetterKey) {
	t.Helper()
	for _, validateOnly := range []bool{true, false} {
		count, err := r.RequeueKeys(t.Context(), keys, validateOnly)
		if err != nil || count != want {
			t.Fatalf("requeued %d, %v; want %d", count, err, want)
		}
	}
}

func TestQueue_DeadLetters(t *testing.T) {
	q := start(t, queue.Settings{}, 2)
	edgetest.Append(t, q, edgetest.Entries(6, 2, 1, 2)...)
	first, second := q.lease(t, 1, 6), q.lease(t, 2, 6)
	q.ack(t, 1, first[:2])
	q.reject(t, 1, first[2:])
	tried := attempt(second[:1], edge.Delivered)
	q.settle(t, 2, edge.Settlement{
		Attempt: tried, Acked: second[1:],
		Dead: []edge.Death{{Delivery: second[0], Reason: edge.DeathEncoding, Status: "column", Excerpt: "bad \xff byte"}},
	})
	q.recount(t)

	list := func(filter edge.DeadLetterFilter, after edge.DeadLetterKey, limit int) (keys []edge.DeadLetterKey) {
		t.Helper()
		letters, err := q.DeadLetters(t.Context(), filter, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, letter := range letters {
			keys = append(keys, key(letter.Sink, letter.Record.Position))
		}
		return keys
	}
	none, now := edge.DeadLetterKey{}, time.Now()
	for name, row := range map[string]struct {
		filter edge.DeadLetterFilter
		after  edge.DeadLetterKey
		limit  int
		want   []edge.DeadLetterKey
	}{
		"all":       {limit: 10, want: []edge.DeadLetterKey{key(1, 3), key(1, 4), key(1, 5), key(1, 6), key(2, 1)}},
		"page":      {after: key(1, 4), limit: 2, want: []edge.DeadLetterKey{key(1, 5), key(1, 6)}},
		"last page": {after: key(1, 6), limit: 2, want: []edge.DeadLetterKey{key(2, 1)}},
		"sink":      {filter: edge.DeadLetterFilter{Sinks: []edge.SinkID{2, 12}}, limit: 10, want: []edge.DeadLetterKey{key(2, 1)}},
		"reason":    {filter: edge.DeadLetterFilter{Reason: edge.DeathEncoding}, limit: 10, want: []edge.DeadLetterKey{key(2, 1)}},
		"device":    {filter: edge.DeadLetterFilter{Device: "dev-1"}, limit: 10, want: []edge.DeadLetterKey{key(1, 4), key(1, 6)}},
		"past":      {filter: edge.DeadLetterFilter{Until: now.Add(-time.Hour)}, limit: 10},
		"recent":    {filter: edge.DeadLetterFilter{Since: now.Add(-time.Hour), Until: now.Add(time.Hour)}, after: none, limit: 1, want: []edge.DeadLetterKey{key(1, 3)}},
	} {
		if diff := cmp.Diff(row.want, list(row.filter, row.after, row.limit)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	letter, err := q.DeadLetter(t.Context(), key(2, 1))
	want := edge.DeadLetter{
		Sink: 2, Record: second[0].Record, Reason: edge.DeathEncoding, Status: "column", Excerpt: "bad  byte", Attempts: 1,
		FirstAt: letter.FirstAt, LastAt: letter.LastAt, History: letter.History,
	}
	if diff := cmp.Diff(want, letter); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if len(letter.History) != 1 || !letter.History[0].EndedAt.Equal(letter.LastAt) {
		t.Errorf("history %+v", letter.History)
	}
	if letter.LastAt.Sub(letter.FirstAt) != time.Millisecond {
		t.Errorf("first attempt at %v, last at %v", letter.FirstAt, letter.LastAt)
	}
	if _, err := q.DeadLetter(t.Context(), key(2, 2)); code(err) != edge.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
}

func TestQueue_RequeueKeys(t *testing.T) {
	t.Run("DeliveredAtLast", requeueDeliveredAtLast)
	t.Run("RefusedOnceMore", requeueRefusedOnceMore)
	t.Run("RefusedForAnotherReason", requeueRefusedForAnotherReason)
	t.Run("ALeaseIsForgottenInACrash", requeueALeaseIsForgottenInACrash)
	t.Run("AllOrNone", requeueAllOrNone)
}

func requeueDeliveredAtLast(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(4, 1, 1)...)
	leased := q.lease(t, 1, 4)
	q.reject(t, 1, leased[1:3])
	q.requeue(t, 2, key(1, 2), key(1, 3))
	again := q.lease(t, 1, 2)
	leased[1].Kind, leased[2].Kind = edge.Requeue, edge.Requeue
	if diff := cmp.Diff(leased[1:3], again); diff != "" {
		t.Error(diff)
	}
	q.ack(t, 1, again)
	q.ack(t, 1, []edge.Delivery{leased[0], leased[3]})
	q.recount(t)
	want := edge.SinkStats{
		ID: 1, Name: "sink-1", Kind: "test", Owed: 4, Delivered: 4, Cursor: 5,
		DeadByReason: map[string]int64{edge.DeathRejected: 0}, DeadEverByReason: map[string]int64{edge.DeathRejected: 2},
	}
	for range 2 {
		if diff := cmp.Diff(want, q.sink(1)); diff != "" {
			t.Error(diff)
		}
		q = start(t, queue.Settings{Path: q.crash(t)}, 1)
	}
	q.idle(t, 1)
}

func requeueRefusedOnceMore(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(1, 1, 1)...)
	q.reject(t, 1, q.lease(t, 1, 1))
	for range 30 {
		q.requeue(t, 1, key(1, 1))
		q.reject(t, 1, q.lease(t, 1, 1))
	}
	q.recount(t)
	letter, err := q.DeadLetter(t.Context(), key(1, 1))
	if err != nil || letter.Attempts != 31 || letter.Requeued {
		t.Errorf("got %+v, %v; want 31 attempts", letter, err)
	}
	journey, err := q.Journey(t.Context(), letter.Record.Correlation)
	if err != nil || journey.Sinks[0].State != edge.Dead || len(journey.Sinks[0].Attempts) != 31 {
		t.Errorf("got %+v, %v; want dead after 31 attempts", journey.Sinks, err)
	}
	if got := q.sink(1); got.Dead != 1 || got.DeadEverByReason[edge.DeathRejected] != 1 || got.Requeueing != 0 {
		t.Errorf("got %+v, want one dead letter", got)
	}
}

// A reason never has more dead letters now than it ever had.
func requeueRefusedForAnotherReason(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(1, 1, 1)...)
	q.reject(t, 1, q.lease(t, 1, 1))
	q.requeue(t, 1, key(1, 1))
	again := q.lease(t, 1, 1)
	q.settle(t, 1, edge.Settlement{Attempt: attempt(again, edge.Rejected), Dead: []edge.Death{{Delivery: again[0], Reason: edge.DeathEncoding}}})
	q.recount(t)
	got := q.sink(1)
	want := []map[string]int64{{edge.DeathRejected: 0, edge.DeathEncoding: 1}, {edge.DeathRejected: 1, edge.DeathEncoding: 1}}
	if diff := cmp.Diff(want, []map[string]int64{got.DeadByReason, got.DeadEverByReason}); diff != "" {
		t.Error(diff)
	}
}

func requeueALeaseIsForgottenInACrash(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(3, 1, 1)...)
	q.reject(t, 1, q.lease(t, 1, 3))
	q.requeue(t, 3, key(1, 1), key(1, 2), key(1, 3))
	q.requeue(t, 0, key(1, 1))
	leased := q.lease(t, 1, 2)
	q.Release(1, leased[:1])
	if diff := cmp.Diff([]edge.Position{1, 3}, queue.PositionsOf(q.lease(t, 1, 2))); diff != "" {
		t.Error(diff)
	}
	q.idle(t, 1)
	q = start(t, queue.Settings{Path: q.crash(t)}, 1)
	if diff := cmp.Diff([]edge.Position{1, 2, 3}, queue.PositionsOf(q.lease(t, 1, 3))); diff != "" {
		t.Error(diff)
	}
}

func requeueAllOrNone(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(2, 1, 1)...)
	q.reject(t, 1, q.lease(t, 1, 2))
	if _, err := q.RequeueKeys(t.Context(), []edge.DeadLetterKey{key(1, 1), key(1, 9)}, false); code(err) != edge.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
	q.idle(t, 1)
	for _, sink := range []edge.SinkID{edge.Ingress, 7} {
		if _, err := q.RequeueKeys(t.Context(), []edge.DeadLetterKey{key(1, 1), key(sink, 1)}, false); err == nil {
			t.Errorf("requeued a dead letter of sink %d", sink)
		}
	}
	if _, err := q.EnsureSinks(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := q.RequeueKeys(t.Context(), []edge.DeadLetterKey{key(1, 1)}, false); code(err) != edge.Precondition {
		t.Errorf("got %v, want Precondition for a removed sink", err)
	}
}

func TestQueue_RequeueMatching(t *testing.T) {
	q := start(t, queue.Settings{}, 2)
	const count = 2500 // more than one transaction takes
	entries := edgetest.Entries(count, 5, 1, 2)
	edgetest.Append(t, q, entries...)
	for sink := range edge.SinkID(2) {
		for range count / 250 {
			q.reject(t, sink+1, q.lease(t, sink+1, 250))
		}
	}
	refused := entries[0]
	refused.Refusal = edge.Refuse(edge.Invalid, edge.ReasonMissingField, "metrics", "is missing")
	edgetest.Append(t, q, refused)

	matching := func(filter edge.DeadLetterFilter, validateOnly bool, want int) {
		t.Helper()
		if got, err := q.RequeueMatching(t.Context(), filter, validateOnly); err != nil || got != want {
			t.Errorf("requeued %d, %v; want %d", got, err, want)
		}
	}
	matching(edge.DeadLetterFilter{Sinks: []edge.SinkID{2}, Device: "dev-3"}, true, count/5)
	q.idle(t, 2)
	matching(edge.DeadLetterFilter{Sinks: []edge.SinkID{2}, Device: "dev-3"}, false, count/5)
	matching(edge.DeadLetterFilter{}, true, 2*count-count/5)
	matching(edge.DeadLetterFilter{}, false, 2*count-count/5)
	matching(edge.DeadLetterFilter{}, false, 0)
	for sink := range edge.SinkID(2) {
		q.ack(t, sink+1, q.lease(t, sink+1, count))
		if got := q.sink(sink + 1); got.Delivered != count || got.Dead != 0 {
			t.Errorf("got %+v, want everything delivered", got)
		}
	}
	q.recount(t)
	if _, err := q.RequeueMatching(t.Context(), edge.DeadLetterFilter{Sinks: []edge.SinkID{edge.Ingress}}, false); code(err) != edge.Precondition {
		t.Errorf("got %v, want Precondition", err)
	}
}

func TestQueue_Append_Refused(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	const count = 10_100 // more than are kept
	var last edge.Receipt
	for i := range count / 100 {
		entries := edgetest.Entries(100, 1, 1)
		for j := range entries {
			entries[j].Record = edgetest.Record("dev", 100*i+j)
			entries[j].Refusal = edge.Refuse(edge.Invalid, edge.ReasonMissingField, "metrics", "is missing")
		}
		receipts := edgetest.Append(t, q, entries...)
		last = receipts[99]
	}
	if stats := q.Stats(); stats.Accepted != 0 || stats.IngressRefused != count || stats.IngressEvicted != 100 {
		t.Errorf("got %+v, want %d refused and 100 evicted", stats, count)
	}
	wantNow, wantEver := map[string]int64{"missing_field": count - 100}, map[string]int64{"missing_field": count}
	losses, err := q.Losses(t.Context(), edge.LossFilter{Sinks: []edge.SinkID{edge.Ingress}}, 0, 10)
	if err != nil || len(losses) != 1 || losses[0].FirstReceived.IsZero() || losses[0].At.IsZero() {
		t.Fatalf("got %+v, %v; want the loss report of what was evicted", losses, err)
	}
	wantLoss := edge.Loss{
		ID: losses[0].ID, Sink: edge.Ingress, Kind: edge.LossExpired, Reason: edge.LossEvicted, First: 1, Last: 100,
		FirstReceived: losses[0].FirstReceived, LastReceived: losses[0].LastReceived, At: losses[0].At, Count: 100,
		Devices: []edge.DeviceLoss{{Device: "dev", Count: 100}},
	}
	if diff := cmp.Diff(wantLoss, losses[0]); diff != "" {
		t.Error(diff)
	}
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1)
	if err != nil || len(letters) != 1 || letters[0].Record.Position != 101 {
		t.Fatalf("got %+v, %v; want the letter 101 first", letters, err)
	}

	record := edgetest.Record("dev", 1)
	accepted := edgetest.Append(t, q, edge.Entry{Record: record, Owed: []edge.SinkID{1}})[0]
	for i, q := range []*running{q, start(t, queue.Settings{Path: q.crash(t)}, 1)} {
		letter, err := q.DeadLetter(t.Context(), key(edge.Ingress, count))
		want := edge.DeadLetter{
			Record: edgetest.Record("dev", count-1), Reason: "missing_field", Status: "metrics", Excerpt: "is missing", Attempts: 1,
			FirstAt: letter.Record.ReceivedAt, LastAt: letter.Record.ReceivedAt,
		}
		want.Record.ReceivedAt, want.Record.Position, want.Record.Correlation = letter.Record.ReceivedAt, count, last.Correlation
		if diff := cmp.Diff(want, letter); diff != "" || err != nil {
			t.Errorf("%d: %v %s", i, err, diff)
		}
		stats := q.Stats()
		if diff := cmp.Diff([]map[string]int64{wantNow, wantEver}, []map[string]int64{stats.IngressByReason, stats.IngressEverByReason}); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
		journey, err := q.Journey(t.Context(), last.Correlation)
		if diff := cmp.Diff([]edge.Stage{{Sink: edge.Ingress, State: edge.Dead}}, journey.Sinks); diff != "" || err != nil {
			t.Errorf("%d: %v %s", i, err, diff)
		}
		// A refused message has a number of its own, and never the id of a record.
		if journey, err := q.Journey(t.Context(), accepted.Correlation); err != nil || journey.Frame != 1 {
			t.Errorf("%d: got %+v, %v; want the first record", i, journey, err)
		}
		next := edge.Entry{Record: record, Refusal: edge.Refuse(edge.Invalid, edge.ReasonDepth, "", "too deep")}
		if id := edgetest.Append(t, q, next)[0].Correlation; id.Position() != count+1 {
			t.Errorf("%d: the next number is %d, want %d", i, id.Position(), count+1)
		}
	}
}
