package queue

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// TestOpen_ReadsLittle fills a backlog that is larger than what a start may
// read again, and starts on a copy of the files as they are in the middle of
// that.
func TestOpen_ReadsLittle(t *testing.T) {
	q, _ := opened(t, Settings{})
	const devices, count = 100, queuefile.ReplayRecords + 30_000
	message := func(n int) edge.Record {
		return edge.Record{
			Device: edge.DeviceID(fmt.Sprintf("dev-%d", n%devices)), Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: time.Now(),
			Identity: edge.Identity{BootID: "boot", Sequence: uint64(n / devices), HasSequence: true}, Payload: []byte(`{"schema_version":1}`),
		}
	}
	replies, next := edgetest.NewReplies(), 0
	for batch := range slices.Chunk(make([]edge.Entry, count), 1000) {
		for i := range batch {
			batch[i] = edge.Entry{Record: message(next), Replier: replies, Owed: []edge.SinkID{1}}
			next++
		}
		if err := q.Append(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
	}
	replies.Wait(t, count)

	started, err := Open(t.Context(), Settings{Path: crashed(t, q)}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	if again := started.Head() - started.start.replayFrom; started.Head() != count || again > queuefile.ReplayRecords+2*groupRecords {
		t.Errorf("a start reads %d of %d records again", again, started.Head())
	}
	for n := count - devices*windowRing; n < count; n++ {
		record := message(n)
		if known, found := started.window.find(&record); !found || known.Position != edge.Position(n+1) {
			t.Fatalf("message %d: %+v, %v; want it known at %d", n, known, found, n+1)
		}
	}
	expectBalance(t, started, count)
}

// TestQueue_BoundedMemory appends much more than any cache holds while the sink
// is paused, then drains it.
func TestQueue_BoundedMemory(t *testing.T) {
	q, _ := opened(t, Settings{})
	appendMany := func(from, count int) {
		for next := from; next < from+count; next += 100 {
			accepted(t, q, large(next, 100))
		}
	}
	heap := func() int64 {
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return int64(memory.HeapAlloc)
	}
	appendMany(0, 1000)
	before := heap()
	appendMany(1000, 20_000) // 80 MB of payload
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes while the sink was paused", grown)
	}
	for drained := 0; drained < 21_000; {
		leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 200, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
			t.Fatal(err)
		}
		drained += len(leased)
	}
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes while the sink drained", grown)
	}
	if wal, err := q.db.WALBytes(); err != nil || wal > sqlite.WALBytesMax+8<<20 {
		t.Errorf("the WAL has %d bytes, %v", wal, err)
	}
}
