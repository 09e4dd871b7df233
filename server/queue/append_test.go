package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Append(t *testing.T) {
	t.Run("ManySendersShareACommit", appendManySendersShareACommit)
	t.Run("AnswersComeAfterTheCommit", appendAnswersComeAfterTheCommit)
	t.Run("WaitsWhileTooMuchIsUnanswered", appendWaitsWhileTooMuchIsUnanswered)
	t.Run("OneCommitHasABound", appendOneCommitHasABound)
	t.Run("LargestBatchIsOneCommit", appendLargestBatchIsOneCommit)
}

func appendManySendersShareACommit(t *testing.T) {
	q := start(t, queue.Settings{CommitInterval: 20 * time.Millisecond}, 1)
	const senders, each = 50, 20
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			for n := range each {
				record := edgetest.Record(edge.DeviceID(fmt.Sprintf("dev-%d", sender)), n)
				edgetest.Append(t, q, edge.Entry{Record: record, Owed: []edge.SinkID{1}})
			}
		})
	}
	sending.Wait()
	frames := map[edge.Position]bool{}
	for position := edge.Position(1); position <= senders*each; position++ {
		journey, err := q.Journey(t.Context(), correlationAt(t, q, position))
		if err != nil {
			t.Fatal(err)
		}
		frames[journey.Frame] = true
	}
	// Each sender waits for every answer, so a commit holds at most one record
	// of each; without group commit there would be a thousand.
	if len(frames) < each || len(frames) > 4*each {
		t.Errorf("%d commits for %d records of %d senders", len(frames), senders*each, senders)
	}
}

func appendAnswersComeAfterTheCommit(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	checked := &checkedReplier{t: t, q: q, done: make(chan struct{})}
	for n := range 100 {
		entry := edge.Entry{Record: edgetest.Record("dev", n), Owed: []edge.SinkID{1}, Replier: checked, Token: uint64(n)}
		if err := q.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	<-checked.done
}

func appendWaitsWhileTooMuchIsUnanswered(t *testing.T) {
	q := start(t, queue.Settings{PendingBytes: 10_000}, 1)
	stuck := &stuckReplier{release: make(chan struct{})}
	entry := edge.Entry{Record: edgetest.Record("dev", 1), Replier: stuck}
	entry.Record.Payload = make([]byte, 20_000) // larger than the bound, but alone
	if err := q.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := q.Append(ctx, edgetest.Entries(1, 1, 1)...); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want to wait for the answer", err)
	}
	close(stuck.release)
	edgetest.Append(t, q, edgetest.Entries(1, 1, 1)...)
	if got := q.Stats().Accepted; got != 2 {
		t.Errorf("%d records were stored, want 2", got)
	}
}

func appendOneCommitHasABound(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	entry := edge.Entry{Record: edgetest.Record("dev", 1)}
	entry.Record.Payload = make([]byte, 20<<20)
	if err := q.Append(t.Context(), entry); code(err) != edge.TooLarge {
		t.Errorf("got %v, want TooLarge", err)
	}
}

func appendLargestBatchIsOneCommit(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	entries := edgetest.Entries(edge.MaxBatchMessages, 1, 1)
	for i := range entries {
		entries[i].Record.Payload = []byte(fmt.Sprintf("%*d", edge.MaxBatchBytes/edge.MaxBatchMessages, i))
	}
	receipts := edgetest.Append(t, q, entries...)
	journey, err := q.Journey(t.Context(), receipts[edge.MaxBatchMessages-1].Correlation)
	if err != nil || journey.Frame != 1 {
		t.Errorf("the last record is in commit %d, %v; want 1", journey.Frame, err)
	}
}

// checkedReplier looks for each record on disk at the moment of its answer.
type checkedReplier struct {
	t    *testing.T
	q    *running
	done chan struct{}
	seen int
}

func (r *checkedReplier) Reply(_ uint64, receipt edge.Receipt, err error) bool {
	if err == nil {
		var journey edge.Journey
		journey, err = r.q.Journey(context.Background(), receipt.Correlation)
		if err == nil && journey.Record.Correlation != receipt.Correlation {
			err = errors.New("another record")
		}
	}
	if err != nil {
		r.t.Errorf("answer %d: %v", r.seen, err)
	}
	if r.seen++; r.seen == 100 {
		close(r.done)
	}
	return false
}

func (r *checkedReplier) Flush() { r.t.Error("flushed, though nobody asked for it") }

// stuckReplier does not take its answer until it is released.
type stuckReplier struct{ release chan struct{} }

func (r *stuckReplier) Reply(uint64, edge.Receipt, error) bool {
	<-r.release
	return false
}

func (r *stuckReplier) Flush() {}

// correlationAt returns the id of the record at a position.
func correlationAt(t *testing.T, q *running, position edge.Position) edge.CorrelationID {
	t.Helper()
	records, _, err := q.Read(t.Context(), position-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return records[0].Correlation
}

// one is owed to the first sink.
var one = []edge.SinkID{1}

func TestQueue_Append_Identity(t *testing.T) {
	t.Parallel()
	t.Run("DuplicateInTheSameCommit", identityDuplicateInTheSameCommit)
	t.Run("TheLatestOfConflictingMessagesIsKnown", identityTheLatestOfConflictingMessagesIsKnown)
	t.Run("SurvivesACrashAndAStop", identitySurvivesACrashAndAStop)
	t.Run("ASequenceAloneIdentifiesNothing", identityASequenceAloneIdentifiesNothing)
	t.Run("AWallClockThatJumpsIsNoDay", func(t *testing.T) { synctest.Test(t, identityAWallClockThatJumpsIsNoDay) })
}

func identityDuplicateInTheSameCommit(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	entry := edge.Entry{Record: edgetest.Record("dev", 1), Owed: one}
	receipts := edgetest.Append(t, q, entry, entry, entry)
	original := receipts[0].Correlation
	want := []edge.Receipt{{Correlation: original}, {Correlation: original, Duplicate: true}, {Correlation: original, Duplicate: true}}
	if diff := cmp.Diff(want, receipts); diff != "" {
		t.Error(diff)
	}
	if got := q.Stats().Accepted; got != 1 {
		t.Errorf("%d records were stored, want 1", got)
	}
}

func identityTheLatestOfConflictingMessagesIsKnown(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	first := edge.Entry{Record: edgetest.Record("dev", 1), Owed: one}
	second := first
	second.Record.Payload = []byte(`{"other":1}`)
	receipts := edgetest.Append(t, q, first, second, second, first)
	want := []edge.Receipt{
		{Correlation: receipts[0].Correlation}, {Correlation: receipts[1].Correlation, Conflict: true},
		{Correlation: receipts[1].Correlation, Duplicate: true}, {Correlation: receipts[3].Correlation, Conflict: true},
	}
	if diff := cmp.Diff(want, receipts); diff != "" {
		t.Error(diff)
	}
}

func identitySurvivesACrashAndAStop(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	entries := edgetest.Entries(200, 7, one...)
	for i := range entries {
		if i%2 == 0 {
			entries[i].Record.Identity = edge.Identity{MessageID: fmt.Sprintf("message-%d", i)}
		}
	}
	originals := edgetest.Append(t, q, entries...)
	for i := range originals {
		originals[i].Duplicate = true
	}
	crashed := start(t, queue.Settings{Path: q.crash(t)}, 1)
	if diff := cmp.Diff(originals, edgetest.Append(t, crashed, entries...)); diff != "" {
		t.Errorf("after a crash: %s", diff)
	}
	stopped := q.restart(t, 1)
	if diff := cmp.Diff(originals, edgetest.Append(t, stopped, entries...)); diff != "" {
		t.Errorf("after a stop: %s", diff)
	}
}

func identityASequenceAloneIdentifiesNothing(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	entry := edge.Entry{Record: edgetest.Record("dev", 1), Owed: one}
	entry.Record.Identity.BootID = ""
	for _, receipt := range edgetest.Append(t, q, entry, entry) {
		if receipt.Duplicate || receipt.Conflict {
			t.Errorf("got %+v", receipt)
		}
	}
}

func identityAWallClockThatJumpsIsNoDay(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	entry := edge.Entry{Record: edgetest.Record("dev", 1), Owed: one}
	edgetest.Append(t, q, entry)
	entry.Record.ReceivedAt = entry.Record.ReceivedAt.Add(3650 * 24 * time.Hour)
	if receipt := edgetest.Append(t, q, entry)[0]; !receipt.Duplicate {
		t.Errorf("the clock has jumped: got %+v, want a duplicate", receipt)
	}
	q.close(t)
}
