package queue_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Merge(t *testing.T) {
	t.Parallel()
	t.Run("EveryPositionReadsTheSame", func(t *testing.T) {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { mergeReadsTheSame(t, seed) }) })
		}
	})
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

// mergeReadsTheSame appends at every pace, leases and settles meanwhile, crashes
// and stops, and reads every record back after each of them.
func mergeReadsTheSame(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	path, merges := "", 0
	var want []edge.Record
	for round := range 4 {
		q := start(t, queue.Settings{Path: path}, 2)
		for range 5 + random.IntN(25) {
			entries := make([]edge.Entry, 1+random.IntN(1+random.IntN(30)))
			for i := range entries {
				entries[i] = edge.Entry{Record: edgetest.Record(edge.DeviceID(fmt.Sprintf("dev-%d", random.IntN(4))), len(want)+i), Owed: [][]edge.SinkID{{1, 2}, {1}, {2}, nil}[random.IntN(4)]}
				if random.IntN(20) == 0 {
					entries[i].Record.Payload = make([]byte, 20_000) // its frame is not small
				}
			}
			for i, receipt := range edgetest.Append(t, q, entries...) {
				record := entries[i].Record
				record.Position, record.Correlation = receipt.Correlation.Position(), receipt.Correlation
				want = append(want, record)
			}
			if leased := q.sink(1).Pending; leased > 0 && random.IntN(4) == 0 {
				q.ack(t, 1, q.lease(t, 1, 1+random.IntN(int(leased))))
			}
			time.Sleep(time.Duration(random.IntN(1+random.IntN(60_000))) * time.Millisecond)
		}
		synctest.Wait()
		reopened := q.crash(t)
		if round%3 == 2 {
			reopened = q.path
		}
		q.close(t)
		path = reopened
		merges += expectRecords(t, path, want)
	}
	if merges == 0 {
		t.Error("nothing was merged")
	}
}

// expectRecords reads everything from the file, and returns how many frames are
// merged ones.
func expectRecords(t *testing.T, path string, want []edge.Record) (merged int) {
	t.Helper()
	q := start(t, queue.Settings{Path: path}, 2)
	got, _, err := q.Read(t.Context(), 0, len(want)+1)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) { // much faster than the difference
		t.Fatal(cmp.Diff(want, got))
	}
	q.recount(t)
	frames := map[edge.Position]bool{}
	for i := 0; i < len(want); i += 1 + len(want)/40 {
		journey := q.frameOf(t, want[i].Correlation)
		if diff := cmp.Diff(want[i], journey.Record); diff != "" {
			t.Fatal(diff)
		}
		if journey.Records > 30 && !frames[journey.Frame] {
			frames[journey.Frame] = true
			merged++
		}
	}
	q.close(t)
	return merged
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
	q = q.restart(t, 1) // the shelf has the frames of the commits
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
