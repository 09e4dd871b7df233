package queue

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// waitUntil waits until the queue takes records, or takes none.
func (i *intake) waitUntil(t *testing.T, accepting bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	defer cancel()
	for i.accepting() != accepting {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("accepting is not %v", accepting)
		}
	}
}

func TestQueue_FullDisk(t *testing.T) {
	bubble(t, "RefusesAndRecovers", fullDiskRefusesAndRecovers)
	bubble(t, "GroupsOnTopAreRefusedToo", fullDiskGroupsOnTopAreRefusedToo)
	bubble(t, "SettlementsAreSavedLater", fullDiskSettlementsAreSavedLater)
	bubble(t, "DeathsWaitForRoom", fullDiskDeathsWaitForRoom)
	bubble(t, "LargeDeathsWaitForRoom", fullDiskLargeDeathsWaitForRoom)
	bubble(t, "RefusedMessagesAreRefusedToo", fullDiskRefusedMessagesAreRefusedToo)
}

func fullDiskRefusesAndRecovers(t *testing.T) {
	q, _, disk := onDisk(t, Settings{})
	accepted(t, q, large(0, 10))
	fill(disk)
	refused := large(10, 40)
	for _, reply := range answers(t, q, refused) {
		if failure := edge.AsError(reply.Err); failure == nil || failure.Code != edge.Full {
			t.Fatalf("got %+v, want Full", reply)
		}
	}
	if err := q.Append(t.Context(), large(50, 1)...); edge.AsError(err) == nil || edge.AsError(err).Code != edge.Full {
		t.Errorf("Append to a full queue: %v, want Full", err)
	}
	if q.Head() != 10 {
		t.Errorf("the head is %d, want 10", q.Head())
	}

	disk.Heal()
	q.intake.waitUntil(t, true)
	for _, reply := range answers(t, q, refused) { // the same messages once more
		if reply.Err != nil || reply.Receipt.Duplicate || reply.Receipt.Correlation.Position() != edge.Position(11+reply.Token) {
			t.Fatalf("got %+v, want it stored at %d", reply, 11+reply.Token)
		}
	}
	expectBalance(t, q, 50)
}

func fullDiskGroupsOnTopAreRefusedToo(t *testing.T) {
	q, _, disk := onDisk(t, Settings{})
	accepted(t, q, large(0, 10))
	// The writer is busy while groups pile up, so that the second is assembled
	// on top of the first; the third holds what the second one held, once more.
	replies := edgetest.NewReplies()
	err := q.db.Write(t.Context(), func(*sqlite.Conn) error {
		fill(disk)
		for i := range 400 {
			entry := large(10+i/2, 1)[0]
			entry.Replier, entry.Token = replies, uint64(i)
			if err := q.Append(t.Context(), entry); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[edge.CorrelationID]bool{}
	for i, reply := range replies.Wait(t, 400) {
		if reply.Token != uint64(i) {
			t.Fatalf("answer %d is for %d", i, reply.Token)
		}
		if reply.Err == nil {
			stored[reply.Receipt.Correlation] = true
		}
	}
	disk.Heal()
	q.intake.waitUntil(t, true)
	for id := range stored { // a small group may have found room, but it is there then
		if _, err := q.Journey(t.Context(), id); err != nil {
			t.Errorf("%v was answered and is not stored: %v", id, err)
		}
	}
	accepted(t, q, large(1000, 5))
	for i := range 400 {
		reply := answers(t, q, large(10+i/2, 1))[0]
		if _, err := q.Journey(t.Context(), reply.Receipt.Correlation); reply.Err != nil || err != nil {
			t.Fatalf("message %d: %+v, %v", i, reply, err)
		}
	}
	expectBalance(t, q, 215)
}

func fullDiskSettlementsAreSavedLater(t *testing.T) {
	q, _, disk := onDisk(t, Settings{})
	accepted(t, q, large(0, 50))
	leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 50, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	fill(disk)
	settlement := edge.Settlement{Attempt: edge.Attempt{First: 1, Last: 50, Records: 50, Slots: 1, EndedAt: time.Now(), Class: edge.Rejected}}
	for _, delivery := range leased {
		settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: edge.DeathRejected})
	}
	if err := q.Settle(t.Context(), 1, settlement); err != nil {
		t.Fatal(err)
	}
	q.intake.waitUntil(t, false)
	if _, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 100); err != nil {
		t.Errorf("dead letters cannot be read on a full disk: %v", err)
	}
	journey, err := q.Journey(t.Context(), leased[0].Record.Correlation)
	if err != nil || journey.Sinks[0].State != edge.Dead {
		t.Errorf("on a full disk the journey says %+v, %v; want dead", journey.Sinks, err)
	}
	disk.Heal()
	q.intake.waitUntil(t, true)
	expectBalance(t, q, 50)
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 100)
	if err != nil || len(letters) != 50 {
		t.Errorf("%d dead letters, %v; want 50", len(letters), err)
	}
}

func fullDiskDeathsWaitForRoom(t *testing.T) {
	q, _, disk := onDisk(t, Settings{})
	deathsWaitForRoom(t, q, disk, unsavedDeathsMax)
}

// In a small queue fewer deaths wait, when they are large: as many as begin a checkpoint.
func fullDiskLargeDeathsWaitForRoom(t *testing.T) {
	q, _, disk := onDisk(t, Settings{MaxBytes: 8 << 20})
	deathsWaitForRoom(t, q, disk, int(q.bounds.walSoft/(4000+queuefile.LetterRowBytes))+1)
}

// deathsWaitForRoom lets as many deaths wait for a commit as may, and then more.
func deathsWaitForRoom(t *testing.T, q *Queue, disk *simdisk.Disk, most int) {
	t.Helper()
	accepted(t, q, large(0, most+10))
	leased := leaseAll(t, q, 1)
	fill(disk)
	deadLetter(t, q, leased[:most-1])
	deadLetter(t, q, leased[most-1:most])
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		deadLetter(t, q, leased[most:])
	}()
	<-time.After(time.Minute)
	select {
	case <-settled:
		t.Errorf("more than %d deaths wait for a commit", most)
	default:
	}
	for _, delivery := range []edge.Delivery{leased[0], leased[most]} {
		if _, err := q.Journey(t.Context(), delivery.Record.Correlation); err != nil {
			t.Errorf("on a full disk: %v", err)
		}
	}
	if _, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 10); err != nil {
		t.Errorf("on a full disk: %v", err)
	}
	disk.Heal()
	<-settled
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1000)
	if err != nil || len(letters) != len(leased) {
		t.Errorf("%d dead letters, %v; want %d", len(letters), err, len(leased))
	}
	expectBalance(t, q, int64(len(leased)))
}

func fullDiskRefusedMessagesAreRefusedToo(t *testing.T) {
	q, _, disk := onDisk(t, Settings{})
	accepted(t, q, large(0, 2))
	fill(disk)
	entries := large(0, 20)
	for i := range entries {
		entries[i].Refusal = edge.Refuse(edge.Invalid, edge.ReasonDepth, "", "too deep")
	}
	for _, reply := range answers(t, q, entries) {
		if failure := edge.AsError(reply.Err); failure == nil || failure.Code != edge.Full {
			t.Fatalf("got %+v, want Full", reply)
		}
	}
	disk.Heal()
	q.intake.waitUntil(t, true)
	if got := answers(t, q, entries[:1])[0].Receipt.Correlation.Position(); got != 1 {
		t.Errorf("the first refused message has number %d, want 1", got)
	}
}

func TestQueue_Limit(t *testing.T) { synctest.Test(t, testLimit) }

// fillUp appends until the queue takes nothing more, and returns how many
// records it has taken.
func fillUp(t *testing.T, q *Queue) (stored int) { return fillUpFrom(t, q, 0) }

func fillUpFrom(t *testing.T, q *Queue, first int) (stored int) {
	t.Helper()
	for q.intake.accepting() {
		replies := edgetest.NewReplies()
		entries := large(first+stored, 50)
		for i := range entries {
			entries[i].Replier = replies
		}
		if err := q.Append(t.Context(), entries...); err != nil {
			break
		}
		replies.Wait(t, len(entries))
		stored += len(entries)
	}
	return stored
}

func testLimit(t *testing.T) {
	const limit = 8 << 20
	q, _ := opened(t, Settings{MaxBytes: limit, RetentionDelivered: time.Nanosecond})
	next := fillUp(t, q)
	if stats := q.Stats(); stats.Accepting || stats.Bytes < limit/100*85 || stats.Bytes > limit*105/100 {
		t.Errorf("stopped at %d of %d bytes", stats.Bytes, int64(limit))
	}
	settleAll(t, q, next)
	q.intake.waitUntil(t, true)
	accepted(t, q, large(next, 10))
	// How many of the settled records are gone by now is retention's business.
	if recount, err := q.Recount(t.Context()); err != nil || !recount.Balanced() || recount.Stored < 10 {
		t.Errorf("got %+v, %v", recount, err)
	}
}

// TestQueue_LimitReaderHoldsWAL lets a reader keep the WAL growing until the queue
// takes nothing any more. Then no commit comes that would make it shorter.
func TestQueue_LimitReaderHoldsWAL(t *testing.T) { synctest.Test(t, testLimitReaderHoldsWAL) }

func testLimitReaderHoldsWAL(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: 8 << 20})
	next := 0
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.Usage()
		next = fillUp(t, q)
		<-time.After(time.Minute)
		if q.intake.accepting() {
			t.Error("the queue takes records while its WAL takes the room")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	q.intake.waitUntil(t, true)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the queue was closed for %v after the reader had ended", took)
	}
	if length, err := q.db.WALBytes(); err != nil || length > q.bounds.walHard {
		t.Errorf("the WAL takes %d bytes, %v; want %d at most", length, err, q.bounds.walHard)
	}
	accepted(t, q, large(next, 10))
	expectBalance(t, q, int64(next+10))
}

func TestQueue_BrokenDisk(t *testing.T) {
	for name, do := range map[string]func(q *Queue) error{
		"Append":      func(q *Queue) error { return q.Append(context.Background(), large(5, 1)...) },
		"Settle":      func(q *Queue) error { return settleOne(q) },
		"EnsureSinks": func(q *Queue) error { _, err := q.EnsureSinks(context.Background(), nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			q, done, disk := onDisk(t, Settings{})
			accepted(t, q, large(0, 5))
			disk.Inject(simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO})
			err := do(q)
			var failure *FatalError
			if err := <-done; !errors.As(err, &failure) {
				t.Fatalf("Run ended with %v, want a FatalError", err)
			}
			if name == "EnsureSinks" && err == nil {
				t.Error("registering sinks went well")
			}
			if err := q.Append(context.Background(), large(9, 1)...); edge.AsError(err) == nil {
				t.Error("a queue that cannot write took a record")
			}
			if left, err := q.db.WALBytes(); err != nil || left == 0 {
				t.Errorf("the WAL has %d bytes, %v: it was checkpointed or closed", left, err)
			}
			if err := q.db.Close(); err != nil { // the process would be gone; the test is not
				t.Error(err)
			}
		})
	}

	t.Run("NobodyHearsThatItIsStored", func(t *testing.T) {
		q, done, disk := onDisk(t, Settings{})
		accepted(t, q, large(0, 5))
		disk.Inject(simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO})
		for _, reply := range answers(t, q, large(5, 10)) {
			if reply.Err == nil || reply.Receipt != (edge.Receipt{}) {
				t.Errorf("got %+v for a record that is not stored", reply)
			}
		}
		if err := <-done; err == nil {
			t.Error("Run ended without an error")
		}
		if err := q.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func settleOne(q *Queue) error {
	leased, err := q.Lease(context.Background(), 1, edge.LeaseLimit{Records: 1, Bytes: 1})
	if err != nil {
		return err
	}
	return q.Settle(context.Background(), 1, edge.Settlement{Acked: leased})
}
