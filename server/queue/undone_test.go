package queue_test

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// TestQueue_Append_UndoneConflict stores a message, and then fails to store
// another one with the same identity: the first is recognised all the same.
func TestQueue_Append_UndoneConflict(t *testing.T) {
	named := edgetest.Record("dev", 1)
	named.Identity = edge.Identity{MessageID: "m-1"}
	for name, record := range map[string]edge.Record{"Sequence": edgetest.Record("dev", 1), "MessageID": named} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { undoneConflict(t, record) })
		})
	}
}

func undoneConflict(t *testing.T, record edge.Record) {
	disk := simdisk.New(simdisk.Settings{})
	defer disk.Close()
	q, err := queue.Open(t.Context(), queue.Settings{Path: "/data/queue.db", Disk: disk.Port()}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	original := edgetest.Append(t, q, edge.Entry{Record: record})[0].Correlation

	replies := edgetest.NewReplies()
	other := edge.Entry{Record: record, Replier: replies}
	other.Record.Payload = []byte("another payload")
	disk.Inject(simdisk.Fault{Calls: simdisk.Write, Err: syscall.ENOSPC, Times: 1})
	if err := q.Append(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if reply := replies.Wait(t, 1)[0]; code(reply.Err) != edge.Full {
		t.Fatalf("got %+v, want a full disk", reply)
	}
	time.Sleep(5 * time.Second) // until the queue has found out that there is room
	want := edge.Receipt{Correlation: original, Duplicate: true}
	if got := edgetest.Append(t, q, edge.Entry{Record: record})[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := edgetest.Append(t, q, edge.Entry{Record: other.Record})[0]; !got.Conflict {
		t.Errorf("got %+v, want a conflict", got)
	}
}
