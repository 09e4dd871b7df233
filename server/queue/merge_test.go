package queue_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Merge(t *testing.T) {
	t.Parallel()
	t.Run("RecentFramesAreLeftAlone", func(t *testing.T) { synctest.Test(t, mergeLeavesRecent) })
	t.Run("RetentionGoesByTheNewestRecord", func(t *testing.T) { synctest.Test(t, mergeRetention) })
	t.Run("AttemptsAreFound", func(t *testing.T) { synctest.Test(t, mergeAttempts) })
	t.Run("ATrickleTakesLittleRoom", func(t *testing.T) { synctest.Test(t, mergeTrickle) })
}

// frameOf returns how many records the frame of a record holds.
func (r *running) frameOf(t *testing.T, id edge.CorrelationID) edge.Journey {
	t.Helper()
	journey, err := r.Journey(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return journey
}

func mergeLeavesRecent(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	var receipts []edge.Receipt
	trickle := func(count int) {
		for range count {
			receipts = append(receipts, edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", len(receipts)), Owed: one})...)
			time.Sleep(100 * time.Millisecond)
		}
	}
	trickle(100)
	if journey := q.frameOf(t, receipts[0].Correlation); journey.Records != 1 {
		t.Errorf("a frame of %d records after ten seconds, want 1: more of them fit", journey.Records)
	}
	time.Sleep(11 * time.Minute)
	q = q.restart(t, 1) // the cache has the frames of the commits
	journey := q.frameOf(t, receipts[99].Correlation)
	if journey.Records != 100 || journey.Frame != 1 {
		t.Errorf("the frame at %d holds %d records, want all 100", journey.Frame, journey.Records)
	}
	if got := q.lease(t, 1, 100); got[99].Record.Correlation != receipts[99].Correlation {
		t.Errorf("leased %+v", got[99])
	}
	q.close(t)
}

func mergeRetention(t *testing.T) {
	const retention = 30 * time.Minute
	q := start(t, queue.Settings{RetentionDelivered: retention}, 1)
	for n := range 10 {
		edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", n), Owed: one})
		q.ack(t, 1, q.lease(t, 1, 1))
		time.Sleep(50 * time.Second)
	}
	time.Sleep(retention - 51*time.Second)
	if got := q.Stats().Oldest; got != 1 {
		t.Errorf("the oldest record is %d, want 1: the newest of its frame is not old enough", got)
	}
	time.Sleep(4 * time.Second)
	if got := q.Stats().Oldest; got != 0 {
		t.Errorf("the oldest record is %d, want none", got)
	}
	q.recount(t)
	q.close(t)
}

func mergeAttempts(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	first := edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", 0), Owed: one})[0]
	q.ack(t, 1, q.lease(t, 1, 1))
	for n := range 9 {
		time.Sleep(time.Minute)
		edgetest.Append(t, q, edge.Entry{Record: edgetest.Record("dev", n+1), Owed: one})
	}
	time.Sleep(11 * time.Minute)
	q = q.restart(t, 1)
	journey := q.frameOf(t, first.Correlation)
	if journey.Records < 5 || len(journey.Sinks[0].Attempts) != 1 || journey.Sinks[0].State != edge.Acked {
		t.Errorf("a frame of %d records, %+v; want the one attempt", journey.Records, journey.Sinks)
	}
	q.close(t)
}

// mergeTrickle stores 100 messages a second of 500 devices, each in a commit of
// its own. GATEWAY_TRICKLE sets for how long; the default is what tests can bear.
func mergeTrickle(t *testing.T) {
	lasts := 20 * time.Second
	if text := os.Getenv("GATEWAY_TRICKLE"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	q := start(t, queue.Settings{}, 1)
	count, payload := 0, 0
	for ends := time.Now().Add(lasts); time.Now().Before(ends); count++ {
		record := edgetest.Record(edge.DeviceID(fmt.Sprintf("device-%03d", count%500)), count/500)
		record.Payload = telemetry(count%500, count/500)
		payload += len(record.Payload)
		edgetest.Append(t, q, edge.Entry{Record: record, Owed: one})
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(11 * time.Minute)
	q = q.restart(t, 1)
	stats := q.Stats()
	file, err := os.Stat(q.path)
	if err != nil {
		t.Fatal(err)
	}
	used := stats.Bytes - stats.WALBytes - stats.ReserveBytes
	atRest := float64(used) / float64(payload)
	t.Logf("%d messages with %d bytes take %d: %.3f of them; the file has %d", count, payload, used, atRest, file.Size())
	if atRest > 0.40 {
		t.Errorf("bytes at rest are %.3f of the payload, want at most 0.40", atRest)
	}
	q.close(t)
}
