package queue_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

// bubble runs a test in virtual time: expiry looks once a second.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestQueue_Expire(t *testing.T) {
	bubble(t, "TooOld", expireTooOld)
	bubble(t, "TooOldForOneSink", expireTooOldForOneSink)
	bubble(t, "TooMuch", expireTooMuch)
	bubble(t, "LeasedButNotUnderWay", expireLeased)
	bubble(t, "CrashBeforeItIsSaved", expireCrash)
	bubble(t, "BeforeAStartLeases", expireBeforeLease)
	bubble(t, "RemovedSinksKeepTheirBacklog", expireRemoved)
}

// lost returns the loss report, and fails when it is not what the sinks count.
func (r *running) lost(t testing.TB) []edge.Loss {
	t.Helper()
	synctest.Wait() // expiry is not in the middle of something
	losses, err := r.Losses(t.Context(), edge.LossFilter{}, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	counted := map[edge.SinkID]int64{}
	for _, sink := range r.Stats().Sinks {
		counted[sink.ID] = sink.Discarded + sink.Expired
	}
	for _, loss := range losses {
		counted[loss.Sink] -= loss.Count
	}
	for sink, difference := range counted {
		if difference != 0 {
			t.Errorf("sink %d lost %d records more than the report says", sink, difference)
		}
	}
	return losses
}

func expireTooOld(t *testing.T) {
	q := start(t, queue.Settings{RetentionUndelivered: time.Hour}, 2)
	began := time.Now().UTC()
	edgetest.Append(t, q, edgetest.Entries(30, 3, 1, 2)...)
	q.ack(t, 2, q.lease(t, 2, 30))
	<-time.After(30 * time.Minute)
	edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("later", 1), Owed: []edge.SinkID{1}}, edge.Entry{Record: edgetest.Record("later", 2)})
	<-time.After(30 * time.Minute)
	if got := q.lost(t); got != nil {
		t.Fatalf("lost %+v before it was due", got)
	}
	<-time.After(2 * time.Second)
	want := []edge.Loss{{
		ID: 1, Sink: 1, SinkName: "sink-1", Kind: edge.LossExpired, Reason: edge.LossUndelivered, First: 1, Last: 30, FirstReceived: began, LastReceived: began,
		At: began.Add(time.Hour + time.Second), Count: 30, Devices: []edge.DeviceLoss{{Device: "dev-0", Count: 10}, {Device: "dev-1", Count: 10}, {Device: "dev-2", Count: 10}},
	}}
	if diff := cmp.Diff(want, q.lost(t)); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if got := q.sink(1); got.Expired != 30 || got.Pending != 1 || got.LostByReason[edge.LossExpired][edge.LossUndelivered] != 30 {
			t.Errorf("got %+v", got)
		}
		if got := q.sink(2); got.Expired != 0 || got.Delivered != 30 {
			t.Errorf("another sink was touched: %+v", got)
		}
		q.recount(t)
		q = q.restart(t, 2)
	}
	if got := q.lease(t, 1, 1)[0].Record.Device; got != "later" {
		t.Errorf("leased %s, want what is not too old", got)
	}
}

func expireTooOldForOneSink(t *testing.T) {
	q := startWith(t, queue.Settings{}, queue.SinkSpec{Name: "hasty", Limits: queue.Limits{TTL: time.Minute}}, queue.SinkSpec{Name: "patient"})
	receipts := edgetest.Append(t, q, edgetest.Entries(10, 1, 1, 2)...)
	q.ack(t, 1, q.lease(t, 1, 1))
	<-time.After(time.Hour)
	for i, want := range []edge.State{edge.Acked, edge.Expired} {
		journey, err := q.Journey(t.Context(), receipts[i].Correlation)
		if err != nil || journey.Sinks[0].State != want || journey.Sinks[1].State != edge.Enqueued {
			t.Errorf("got %+v, %v; want %s", journey.Sinks, err, want)
		}
	}
	if got := q.lost(t); len(got) != 1 || got[0].Sink != 1 || got[0].Reason != edge.LossTTL || got[0].Count != 9 {
		t.Errorf("got %+v", got)
	}
	if got := q.sink(2).Pending; got != 10 {
		t.Errorf("%d records wait for the patient sink, want 10", got)
	}
	if got := q.Stats().Oldest; got != 1 {
		t.Errorf("the oldest record is %d: what one sink needs was removed", got)
	}
}

// noise returns entries whose payloads do not compress.
func noise(first, count, size int, owed ...edge.SinkID) []edge.Entry {
	random := rand.NewChaCha8([32]byte{byte(first), byte(first >> 8)})
	entries := make([]edge.Entry, count)
	for i := range entries {
		record := edgetest.Record("noisy", first+i)
		record.Payload = make([]byte, size)
		_, _ = random.Read(record.Payload)
		entries[i] = edge.Entry{Record: record, Owed: owed}
	}
	return entries
}

func expireTooMuch(t *testing.T) {
	const limit = 1 << 20
	q := startWith(t, queue.Settings{RetentionDelivered: time.Second}, queue.SinkSpec{Name: "bounded", Limits: queue.Limits{MaxLagBytes: limit}}, queue.SinkSpec{Name: "prompt"})
	for next := 0; next < 2000; next += 20 {
		edgetest.Append(t, q, noise(next, 20, 3000, 1, 2)...)
		q.ack(t, 2, q.lease(t, 2, 20))
		<-time.After(100 * time.Millisecond)
	}
	<-time.After(5 * time.Second)
	stats := q.Stats()
	bounded := stats.Sinks[0]
	if bounded.PinnedBytes < limit || bounded.PinnedBytes > limit+200<<10 {
		t.Errorf("%d bytes are kept for a sink that may keep %d", bounded.PinnedBytes, limit)
	}
	if used := stats.Bytes - stats.WALBytes - stats.ReserveBytes; used > limit*13/10 {
		t.Errorf("the file has %d bytes in use: what expired is not removed", used)
	}
	if got := stats.Sinks[1]; got.Expired != 0 || got.Delivered != 2000 {
		t.Errorf("another sink was touched: %+v", got)
	}
	losses := q.lost(t)
	if len(losses) != 1 || losses[0].First != 1 || int64(losses[0].Last) != losses[0].Count || losses[0].Reason != edge.LossMaxLag {
		t.Errorf("got %+v, want one stretch of the oldest", losses)
	}
	var want []edge.Position
	for position := losses[0].Last + 1; position <= 2000; position++ {
		want = append(want, position)
	}
	if diff := cmp.Diff(want, queue.PositionsOf(q.lease(t, 1, len(want)))); diff != "" {
		t.Error(diff)
	}
	q.recount(t)
}

func expireLeased(t *testing.T) {
	q := start(t, queue.Settings{RetentionUndelivered: time.Minute}, 1)
	edgetest.Append(t, q, edgetest.Entries(12, 1, 1)...)
	leased := q.lease(t, 1, 9)
	arriving, failing, waiting := q.Begin(1, leased[1:3]), q.Begin(1, leased[4:6]), leased[7:]
	<-time.After(2 * time.Minute)
	if diff := cmp.Diff([]edge.Position{2, 3, 5, 6}, queue.PositionsOf(slices.Concat(arriving, failing))); diff != "" {
		t.Error(diff)
	}
	if got := q.sink(1); got.Expired != 8 || got.InFlight != 4 || got.Pending != 4 {
		t.Errorf("got %+v, want everything expired that is not under way", got)
	}
	if got := q.Begin(1, waiting); len(got) != 0 {
		t.Errorf("positions %v are due, want none", queue.PositionsOf(got))
	}
	before := q.sink(1)
	if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: waiting}); err == nil {
		t.Error("what expired was settled")
	}
	q.Release(1, waiting)
	if diff := cmp.Diff(before, q.sink(1)); diff != "" {
		t.Errorf("something changed: %s", diff)
	}
	q.ack(t, 1, arriving)
	q.settle(t, 1, edge.Settlement{Attempt: attempt(failing, edge.Unavailable)})
	<-time.After(2 * time.Second)
	if got := q.sink(1); got.Expired != 10 || got.Delivered != 2 || got.Pending != 0 || got.Cursor != 13 {
		t.Errorf("got %+v, want what failed expired as well", got)
	}
	if got := q.Begin(1, failing); len(got) != 0 {
		t.Errorf("positions %v are due, want none", queue.PositionsOf(got))
	}
	if got := q.lost(t); len(got) != 1 || got[0].Count != 10 || got[0].First != 1 || got[0].Last != 12 {
		t.Errorf("got %+v", got)
	}
	q.recount(t)
	edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("next", 1), Owed: []edge.SinkID{1}})
	q.ack(t, 1, q.lease(t, 1, 1))
}

func expireCrash(t *testing.T) {
	settings := queue.Settings{RetentionUndelivered: time.Minute}
	q := start(t, settings, 2)
	edgetest.Append(t, q, edgetest.Entries(100, 7, 1, 2)...)
	q.ack(t, 2, q.lease(t, 2, 60))
	<-time.After(time.Minute)
	for q.sink(1).Expired == 0 {
		<-time.After(time.Millisecond)
	}
	for range 6 { // before, while and after the commit that saves it
		settings.Path = q.crash(t)
		after := start(t, settings, 2)
		saved := after.sink(1)
		if saved.Expired != 0 && saved.Expired != 100 || saved.Pending+saved.Expired != 100 {
			t.Errorf("after the crash: %+v", saved)
		}
		<-time.After(2 * time.Second)
		if got := after.sink(1).Expired; got != 100 {
			t.Errorf("%d records expired, want 100", got)
		}
		if got := after.sink(2); got.Expired+got.Delivered != 100 {
			t.Errorf("got %+v", got)
		}
		after.lost(t)
		after.recount(t)
		after.close(t)
		<-time.After(10 * time.Millisecond)
	}
}

// What was given up in memory only, when the process ended, is not delivered by
// the next one: records behind it may have been delivered since.
func expireBeforeLease(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(100, 7, 1)...)
	<-time.After(2 * time.Minute)
	edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("later", 1), Owed: []edge.SinkID{1}})
	q.close(t)
	q = startWith(t, queue.Settings{Path: q.path}, queue.SinkSpec{Name: "sink-1", Limits: queue.Limits{TTL: time.Minute}})
	if got := q.lease(t, 1, 1)[0].Record.Position; got != 101 {
		t.Errorf("position %d was leased, want what is not too old", got)
	}
}

func expireRemoved(t *testing.T) {
	sinks := []queue.SinkSpec{{Name: "gone", Limits: queue.Limits{TTL: time.Minute, MaxLagBytes: 1}}, {Name: "stays"}}
	q := startWith(t, queue.Settings{}, sinks...)
	edgetest.Append(t, q, edgetest.Entries(10, 1, 1)...)
	q.close(t)
	q = startWith(t, queue.Settings{Path: q.path}, sinks[1:]...)
	<-time.After(time.Hour)
	if got := q.sink(1); got.Pending != 10 || !got.Removed {
		t.Errorf("got %+v, want the backlog kept", got)
	}
}
