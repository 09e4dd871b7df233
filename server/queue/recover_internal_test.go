package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

// damage flips one bit of a frame.
func damage(t *testing.T, q *Queue, id edge.Position) {
	t.Helper()
	err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		var body []byte
		_, err := conn.One("SELECT body FROM frame WHERE id = ?", func(row sqlite.Row) { body = row.Bytes(0) }, int64(id))
		if err != nil {
			return err
		}
		body[len(body)/2] ^= 4
		return conn.Exec("UPDATE frame SET body = ? WHERE id = ?", body, int64(id))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestQueue_Damage(t *testing.T) {
	q, _ := opened(t, Settings{})
	for i := range 5 {
		accepted(t, q, large(2*i, 2))
	}
	damage(t, q, 5)
	q.shelf = shelf{}
	for range 2 { // what comes before is delivered, what is damaged is not
		leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 100, Bytes: 1 << 30})
		if err != nil || len(leased) != 4 {
			t.Fatalf("leased %d, %v; want 4", len(leased), err)
		}
		var failure *DamageError
		if _, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 4, Bytes: 1 << 30}); !errors.As(err, &failure) || failure.Frame != 5 {
			t.Fatalf("got %v, want damage in frame 5", err)
		}
		q.Release(1, leased)
	}
	if records, _, err := q.Read(t.Context(), 6, 10); err != nil || len(records) != 4 {
		t.Errorf("read %d records behind the damage, %v; want 4", len(records), err)
	}
	var failure *DamageError
	if _, err := q.Recount(t.Context()); !errors.As(err, &failure) {
		t.Errorf("the recount says %v, want damage", err)
	}
}

func TestOpen_Damage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	run := func() *Queue {
		q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q := run()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	accepted(t, q, large(0, 2))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	q = run()
	damage(t, q, 1)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	var failure *DamageError
	if _, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard()); !errors.As(err, &failure) || failure.Frame != 1 {
		t.Errorf("got %v, want damage in the last frame", err)
	}
}

// TestOpen_ReadsLittle fills a backlog that is much larger than what a start may
// read again, and counts what it reads.
func TestOpen_ReadsLittle(t *testing.T) {
	q, done := opened(t, Settings{})
	replies := edgetest.NewReplies()
	const count = replayRecords + 200_000
	entry := edge.Entry{Replier: replies, Owed: []edge.SinkID{1}}
	for sent := 0; sent < count; {
		batch := make([]edge.Entry, 0, 1000)
		for range cap(batch) {
			entry.Record = edge.Record{
				Device: edge.DeviceID(fmt.Sprintf("dev-%d", sent%100)), Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: time.Now(),
				Identity: edge.Identity{BootID: "boot", Sequence: uint64(sent / 100), HasSequence: true}, Payload: []byte(`{"schema_version":1}`),
			}
			batch = append(batch, entry)
			sent++
		}
		if err := q.Append(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
	}
	replies.Wait(t, count)
	var from edge.Position
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT replay_from FROM ledger", func(row sqlite.Row) { from = edge.Position(row.Int(0)) })
		return err
	})
	if err != nil || q.Head()-from > replayRecords+2*groupRecords {
		t.Errorf("a start reads %d of %d records again, %v", q.Head()-from, count, err)
	}
	_ = done
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
