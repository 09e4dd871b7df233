package edgetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// TestAppender is the contract of [edge.Appender], with what a queue promises
// about receipts.
func TestAppender(t *testing.T, build Build) {
	run := suite(t, build)
	run("AnswersInOrder", answersInOrder)
	run("AnswersEachReplier", answersEachReplier)
	run("NumbersRecords", numbersRecords)
	run("KnowsDuplicates", knowsDuplicates)
	run("KnowsDuplicatesOfOneCall", knowsDuplicatesOfOneCall)
	run("OwesDuplicatesToNobody", owesDuplicatesToNobody)
	run("StoresConflicts", storesConflicts)
	run("KnowsRepeatedConflicts", knowsRepeatedConflicts)
	run("RefusesExplicitConflicts", refusesExplicitConflicts)
	run("KeepsRefusals", keepsRefusals)
	run("TakesUnrouted", takesUnrouted)
	run("CopiesWhatIsNotItsOwn", copiesWhatIsNotItsOwn)
	run("TakesAllOrNothing", takesAllOrNothing)
}

func answersInOrder(t *testing.T, build Build) {
	queue, replies := build(t, 1), NewReplies()
	const appends, each = 50, 7
	for i := range appends {
		entries := Entries(each, each, 1)
		for j := range entries {
			entries[j].Record = Record("dev-1", i*each+j)
			entries[j].Replier, entries[j].Token = replies, uint64(i*each+j)
		}
		if err := queue.Append(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
	}
	for i, reply := range replies.Wait(t, appends*each) {
		if reply.Token != uint64(i) || reply.Err != nil {
			t.Fatalf("answer %d is for token %d with error %v", i, reply.Token, reply.Err)
		}
	}
}

func answersEachReplier(t *testing.T, build Build) {
	queue := build(t, 1)
	const senders, each = 8, 100
	var sending sync.WaitGroup
	replies := make([]*Replies, senders)
	for sender := range senders {
		replies[sender] = NewReplies()
		sending.Go(func() {
			for n := range each {
				entry := edge.Entry{Owed: []edge.SinkID{1}, Replier: replies[sender], Token: uint64(n)}
				entry.Record = Record(edge.DeviceID(fmt.Sprintf("dev-%d", sender)), n)
				if err := queue.Append(t.Context(), entry); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	sending.Wait()
	seen := make(map[edge.CorrelationID]bool)
	for sender := range senders {
		for n, reply := range replies[sender].Wait(t, each) {
			if reply.Token != uint64(n) || reply.Err != nil {
				t.Fatalf("sender %d: answer %d is for token %d with error %v", sender, n, reply.Token, reply.Err)
			}
			seen[reply.Receipt.Correlation] = true
		}
	}
	if len(seen) != senders*each {
		t.Errorf("%d records have %d correlation ids", senders*each, len(seen))
	}
}

func numbersRecords(t *testing.T, build Build) {
	queue := build(t, 1)
	var last edge.Position
	for i, receipt := range Append(t, queue, Entries(20, 3, 1)...) {
		position := receipt.Correlation.Position()
		if position <= last {
			t.Errorf("record %d: position %d follows %d", i, position, last)
		}
		if want := (edge.Receipt{Correlation: receipt.Correlation}); receipt != want {
			t.Errorf("record %d: got %+v, want %+v", i, receipt, want)
		}
		last = position
	}
}

func knowsDuplicates(t *testing.T, build Build) {
	queue := build(t, 1)
	named := Record("dev-1", 1)
	named.Identity = edge.Identity{MessageID: "m-1"}
	for _, record := range []edge.Record{Record("dev-1", 7), named} {
		entry := edge.Entry{Record: record, Owed: []edge.SinkID{1}}
		original := Append(t, queue, entry)[0].Correlation
		for range 2 {
			want := edge.Receipt{Correlation: original, Duplicate: true}
			if diff := cmp.Diff(want, Append(t, queue, entry)[0]); diff != "" {
				t.Errorf("identity %+v: %s", record.Identity, diff)
			}
		}
	}
	other := edge.Entry{Record: Record("dev-2", 7), Owed: []edge.SinkID{1}}
	if receipt := Append(t, queue, other)[0]; receipt.Duplicate {
		t.Errorf("another device's record with the same sequence: %+v", receipt)
	}
	anonymous := edge.Entry{Record: Record("dev-1", 7), Owed: []edge.SinkID{1}}
	anonymous.Record.Identity = edge.Identity{}
	for range 2 {
		if receipt := Append(t, queue, anonymous)[0]; receipt.Duplicate {
			t.Errorf("a record without identity: %+v", receipt)
		}
	}
	if got := len(leaseAll(t, queue, 1, 5)); got != 5 {
		t.Errorf("%d records were stored, want 5", got)
	}
}

// knowsDuplicatesOfOneCall sends a message twice before the first is durable.
func knowsDuplicatesOfOneCall(t *testing.T, build Build) {
	queue := build(t, 1)
	entry := edge.Entry{Record: Record("dev-1", 1), Owed: []edge.SinkID{1}}
	receipts := Append(t, queue, entry, entry, entry)
	first := receipts[0].Correlation
	want := []edge.Receipt{{Correlation: first}, {Correlation: first, Duplicate: true}, {Correlation: first, Duplicate: true}}
	if diff := cmp.Diff(want, receipts); diff != "" {
		t.Error(diff)
	}
	if got := len(leaseAll(t, queue, 1, 1)); got != 1 {
		t.Errorf("%d records were stored, want 1", got)
	}
}

// owesDuplicatesToNobody sends a message again after the plan has changed: what
// is owed was decided when it arrived.
func owesDuplicatesToNobody(t *testing.T, build Build) {
	queue := build(t, 1, 2)
	Append(t, queue, edge.Entry{Record: Record("dev-1", 1), Owed: []edge.SinkID{1}})
	if receipt := Append(t, queue, edge.Entry{Record: Record("dev-1", 1), Owed: []edge.SinkID{1, 2}})[0]; !receipt.Duplicate {
		t.Errorf("got %+v, want a duplicate", receipt)
	}
	leaseAll(t, queue, 1, 1)
	expectNothingDue(t, queue, 2)
}

// knowsRepeatedConflicts sends a contradicting message again, as its sender does
// when the answer was lost.
func knowsRepeatedConflicts(t *testing.T, build Build) {
	queue := build(t, 1)
	entry := edge.Entry{Record: Record("dev-1", 7), Owed: []edge.SinkID{1}}
	Append(t, queue, entry)
	entry.Record.Payload = []byte(`{"schema_version":1,"metrics":{"other":1}}`)
	second := Append(t, queue, entry)[0].Correlation
	want := edge.Receipt{Correlation: second, Duplicate: true}
	if got := Append(t, queue, entry)[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := len(leaseAll(t, queue, 1, 2)); got != 2 {
		t.Errorf("%d records were stored, want 2", got)
	}
}

func storesConflicts(t *testing.T, build Build) {
	queue := build(t, 1)
	entry := edge.Entry{Record: Record("dev-1", 7), Owed: []edge.SinkID{1}}
	original := Append(t, queue, entry)[0].Correlation
	entry.Record.Payload = []byte(`{"schema_version":1,"metrics":{"other":1}}`)
	receipt := Append(t, queue, entry)[0]
	want := edge.Receipt{Correlation: receipt.Correlation, Conflict: true}
	if diff := cmp.Diff(want, receipt); diff != "" || receipt.Correlation == original {
		t.Errorf("got %+v after %v: %s", receipt, original, diff)
	}
	if got := len(leaseAll(t, queue, 1, 2)); got != 2 {
		t.Errorf("%d records were stored, want 2", got)
	}
}

func refusesExplicitConflicts(t *testing.T, build Build) {
	queue, replies := build(t, 1), NewReplies()
	entry := edge.Entry{Record: Record("dev-1", 1), Owed: []edge.SinkID{1}}
	entry.Record.Identity = edge.Identity{MessageID: "key-1", Explicit: true}
	Append(t, queue, entry)
	entry.Record.Payload = []byte(`{"schema_version":1,"metrics":{"other":1}}`)
	entry.Replier, entry.Token = replies, 3
	if err := queue.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	reply := replies.Wait(t, 1)[0]
	if got := edge.AsError(reply.Err); reply.Token != 3 || got == nil || got.Code != edge.Conflict {
		t.Errorf("got %+v, want an error of code Conflict", reply)
	}
	if got := len(leaseAll(t, queue, 1, 1)); got != 1 {
		t.Errorf("%d records were stored, want 1", got)
	}
}

func keepsRefusals(t *testing.T, build Build) {
	queue := build(t, 1)
	refused := edge.Entry{Record: Record("dev-1", 1), Owed: []edge.SinkID{1}}
	refused.Refusal = edge.Refuse(edge.Invalid, edge.ReasonMissingField, "metrics", "at least one metric is required")
	if receipt := Append(t, queue, refused)[0]; !receipt.Refused || receipt.Duplicate || receipt.Conflict {
		t.Errorf("got %+v, want Refused", receipt)
	}
	accepted := edge.Entry{Record: Record("dev-1", 2), Owed: []edge.SinkID{1}}
	Append(t, queue, accepted)
	if got := leaseAll(t, queue, 1, 1); len(got) != 1 || got[0].Record.Identity.Sequence != 2 {
		t.Errorf("leased %+v, want the accepted record only", got)
	}
}

func takesUnrouted(t *testing.T, build Build) {
	queue := build(t, 1)
	entries := Entries(2, 1, 1)
	entries[0].Owed = nil
	Append(t, queue, entries...)
	if got := leaseAll(t, queue, 1, 1); len(got) != 1 || got[0].Record.Identity.Sequence != 1 {
		t.Errorf("leased %+v, want the second record only", got)
	}
}

// copiesWhatIsNotItsOwn uses the entries again as soon as Append has returned, and
// the payload as soon as it is answered.
func copiesWhatIsNotItsOwn(t *testing.T, build Build) {
	queue, replies := build(t, 1), NewReplies()
	payload := []byte(`{"schema_version":1,"metrics":{"n":1}}`)
	want := string(payload)
	entries := []edge.Entry{{Record: Record("dev-1", 1), Owed: []edge.SinkID{1}, Replier: replies}}
	entries[0].Record.Payload = payload
	if err := queue.Append(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	entries[0] = edge.Entry{Record: Record("dev-9", 9)}
	replies.Wait(t, 1)
	clear(payload)
	for range 2 { // what was read once may be kept in memory
		got := lease(t, queue, 1, 1)
		if record := &got[0].Record; record.Device != "dev-1" || string(record.Payload) != want {
			t.Errorf("leased %q of %s, want %q of dev-1", record.Payload, record.Device, want)
		}
		queue.Release(1, got)
	}
}

// takesAllOrNothing appends with a context that has ended. The queue may take the
// entries nevertheless, because it does not have to wait; then it answers all.
func takesAllOrNothing(t *testing.T, build Build) {
	queue, replies := build(t, 1), NewReplies()
	entries := Entries(20, 2, 1)
	for i := range entries {
		entries[i].Replier, entries[i].Token = replies, uint64(i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := queue.Append(ctx, entries...); err == nil {
		replies.Wait(t, len(entries))
		leaseAll(t, queue, 1, len(entries))
		return
	} else if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	expectNothingDue(t, queue, 1)
	if got := len(replies.Flushed()); got > 0 {
		t.Errorf("%d answers to entries that were not taken", got)
	}
}

// leaseAll leases until it has count deliveries, and then shows that no more
// are due.
func leaseAll(t *testing.T, leaser edge.Leaser, sink edge.SinkID, count int) []edge.Delivery {
	t.Helper()
	var deliveries []edge.Delivery
	for len(deliveries) < count {
		deliveries = append(deliveries, lease(t, leaser, sink, count-len(deliveries))...)
	}
	expectNothingDue(t, leaser, sink)
	return deliveries
}

func lease(t *testing.T, leaser edge.Leaser, sink edge.SinkID, records int) []edge.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	deliveries, err := leaser.Lease(ctx, sink, edge.LeaseLimit{Records: records, Bytes: 64 << 20})
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	if len(deliveries) == 0 || len(deliveries) > records {
		t.Fatalf("Lease returned %d deliveries, want 1 to %d", len(deliveries), records)
	}
	return deliveries
}
