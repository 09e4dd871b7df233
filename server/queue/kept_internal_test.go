package queue

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
)

// What explains and recognises must not close the doors of a queue whose sinks
// have everything.
func TestQueue_KeptInBounds(t *testing.T) {
	bubble(t, "RefusedMessages", keptRefusedMessages)
	bubble(t, "RefusedMessagesOfALargerQueue", keptRefusedMessagesOfALargerQueue)
	bubble(t, "Attempts", keptAttempts)
	bubble(t, "Window", keptWindow)
}

const keptLimit = 2 << 20

// refusedMessages returns entries that are refused at the door.
func refusedMessages(first, count int) []edge.Entry {
	entries := random(first, count)
	for i := range entries {
		entries[i].Refusal = edge.Refuse(edge.Invalid, edge.ReasonDepth, "", "too deep")
	}
	return entries
}

func keptRefusedMessages(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: keptLimit})
	for next := range 20 {
		accepted(t, q, refusedMessages(100*next, 50)) // 4 MB in all
	}
	accepted(t, q, large(0, 10))
	expectBalance(t, q, 10)
}

func keptRefusedMessagesOfALargerQueue(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	for next := range 20 {
		accepted(t, q, refusedMessages(100*next, 50))
	}
	stop()
	settings.MaxBytes = keptLimit
	q, _ = opened(t, settings)
	q.intake.waitUntil(t, true)
	<-time.After(time.Minute)
	accepted(t, q, large(0, 10))
	expectBalance(t, q, 10)
}

func keptAttempts(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: keptLimit, RetentionDelivered: time.Nanosecond})
	const records = 200
	excerpt := strings.Repeat("x", 200)
	for next := 0; next < 10_000; next += records {
		entries := edgetest.Entries(records, 1, 1)
		for i := range entries {
			entries[i].Record = edgetest.Record("dev", next+i)
		}
		accepted(t, q, entries)
		for _, delivery := range leaseAll(t, q, 1) {
			position := delivery.Record.Position
			attempt := edge.Attempt{First: position, Last: position, Records: 1, Slots: 1, EndedAt: time.Now(), Class: edge.Delivered, Excerpt: excerpt}
			if err := q.Settle(t.Context(), 1, edge.Settlement{Attempt: attempt, Acked: []edge.Delivery{delivery}}); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(2 * saveInterval)
	}
	accepted(t, q, large(0, 10))
}

// What knows many devices is saved before frames go, but not all of it at once.
func keptWindow(t *testing.T) {
	const devices, messages = 28, 28 * windowRing
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: smallLimit}
	q, stop := run(t, settings)
	for entries := edgetest.Entries(messages, devices, 1); len(entries) > 0; entries = entries[devices*32:] {
		accepted(t, q, entries[:devices*32])
	}
	settleAll(t, q, messages)
	<-time.After(2 * saveInterval)
	settings.Path, settings.RetentionDelivered = crashed(t, q), time.Nanosecond
	stop()
	q, err := Open(t.Context(), settings, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	committer, saved, transactions := newCommitter(q), 0, 0
	for ; committer.retention.end > 0 && transactions < messages; transactions++ {
		tx := &transaction{saving: saveSettled, maintenance: true, now: q.clock.now()}
		if err := committer.transact(tx); err != nil {
			t.Fatal(err)
		}
		written := 0
		for _, row := range tx.window.rows {
			written += len(row.body)
		}
		if saved += len(tx.window.rows); written > int(q.bounds.walHard)+32*windowRing {
			t.Errorf("%d bytes are saved at once", written)
		}
	}
	if saved != devices || transactions == 1 || committer.retention.end > 0 {
		t.Errorf("%d devices are saved by %d transactions, the oldest frame ends at %d", saved, transactions, committer.retention.end)
	}
}
