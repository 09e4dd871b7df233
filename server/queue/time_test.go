package queue_test

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

// files returns the contents of the database file and its WAL.
func (r *running) files(t *testing.T) [2][]byte {
	t.Helper()
	var contents [2][]byte
	for i, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(r.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		contents[i] = content
	}
	return contents
}

func TestQueue_Time(t *testing.T) {
	t.Parallel()
	t.Run("NothingIsWrittenWhileIdle", func(t *testing.T) { synctest.Test(t, timeNothingIsWrittenWhileIdle) })
	t.Run("SettledWithin50Milliseconds", func(t *testing.T) { synctest.Test(t, timeSettledWithin50Milliseconds) })
	t.Run("ADayLaterRecordsAndIdentitiesGo", func(t *testing.T) { synctest.Test(t, timeADayLaterRecordsAndIdentitiesGo) })
	t.Run("CommitsKeepTheirDistance", func(t *testing.T) { synctest.Test(t, timeCommitsKeepTheirDistance) })
}

func timeNothingIsWrittenWhileIdle(t *testing.T) {
	q := start(t, queue.Settings{}, 2)
	edgetest.Append(t, q, edgetest.Entries(10, 1, 1, 2)...)
	q.ack(t, 1, q.lease(t, 1, 10))
	time.Sleep(50 * time.Millisecond)
	before := q.files(t)
	time.Sleep(time.Hour)
	after := q.files(t)
	for i := range before {
		if !bytes.Equal(before[i], after[i]) {
			t.Errorf("file %d changed within an idle hour", i)
		}
	}
	q.close(t)
}

func timeSettledWithin50Milliseconds(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	edgetest.Append(t, q, edgetest.Entries(10, 1, 1)...)
	for i := range 10 {
		q.ack(t, 1, q.lease(t, 1, 1))
		time.Sleep(50 * time.Millisecond)
		other := start(t, queue.Settings{Path: q.crash(t)}, 1)
		if got := other.sink(1).Delivered; got != int64(i+1) {
			t.Errorf("%d deliveries are saved after 50 ms, want %d", got, i+1)
		}
		other.close(t)
	}
	q.close(t)
}

// timeADayLaterRecordsAndIdentitiesGo is the one test that lives through a day,
// second by second: what is delivered is kept as long, and so are identities.
func timeADayLaterRecordsAndIdentitiesGo(t *testing.T) {
	q := start(t, queue.Settings{}, 2)
	receipts := edgetest.Append(t, q, edgetest.Entries(10, 1, 1)...)
	time.Sleep(15 * time.Minute) // what is merged goes together
	waiting := edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("other", 1), Owed: []edge.SinkID{2}})
	known := edge.Entry{Record: edgetest.Record("known", 1)}
	edgetest.Append(t, q, known)
	leased := q.lease(t, 1, 10)
	q.reject(t, 1, leased[:1])
	q.ack(t, 1, leased[1:])
	time.Sleep(23 * time.Hour)
	if got := q.Stats().Oldest; got != 1 {
		t.Errorf("after 23 hours the oldest record is %d, want 1", got)
	}
	q.recount(t)
	time.Sleep(2 * time.Hour)
	if got := q.Stats(); got.Oldest != 11 || got.Accepted != 12 {
		t.Errorf("after 25 hours the oldest record is %d of %d, want 11 of 12", got.Oldest, got.Accepted)
	}
	if receipt := edgetest.Append(t, q, known)[0]; receipt.Duplicate {
		t.Errorf("after 25 hours a message is still known: %+v", receipt)
	}
	q.recount(t)
	if got := q.sink(2).Pending; got != 1 {
		t.Errorf("%d records wait for the other sink, want 1", got)
	}
	q = q.restart(t, 2)
	if _, err := q.Journey(t.Context(), receipts[1].Correlation); code(err) != edge.NotFound {
		t.Errorf("a delivered record: %v, want NotFound", err)
	}
	if journey, err := q.Journey(t.Context(), receipts[0].Correlation); err != nil || len(journey.Sinks[0].Attempts) != 1 {
		t.Errorf("a dead letter: %+v, %v; want its one attempt", journey, err)
	}
	if journey, err := q.Journey(t.Context(), waiting[0].Correlation); err != nil || journey.Sinks[0].State != edge.Enqueued {
		t.Errorf("a waiting record: %+v, %v", journey, err)
	}
	q.close(t)
}

func timeCommitsKeepTheirDistance(t *testing.T) {
	q := start(t, queue.Settings{CommitInterval: 100 * time.Millisecond}, 1)
	began := time.Now()
	for n := range 10 {
		edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", n)})
	}
	if took := time.Since(began); took != 900*time.Millisecond {
		t.Errorf("ten commits took %v, want 900ms", took)
	}
	q.close(t)
}
