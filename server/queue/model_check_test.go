package queue_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
)

// figure is the account of one sink.
type figure struct{ owed, delivered, dead, pending, inFlight, requeueing int64 }

func figures(s modelState) figure {
	f := figure{
		owed: int64(len(s.states)), delivered: s.delivered, dead: int64(len(s.letters)),
		inFlight: s.count(edge.InFlight),
	}
	f.pending = f.owed - f.delivered - f.dead
	for _, letter := range s.letters {
		if letter.requeued {
			f.requeueing++
		}
	}
	return f
}

func sinkFigures(s *edge.SinkStats) figure {
	return figure{
		owed: s.Owed, delivered: s.Delivered, dead: s.Dead,
		pending: s.Pending, inFlight: s.InFlight, requeueing: s.Requeueing,
	}
}

// check compares the figures, which costs little and saves nothing.
func (m *machine) check(t *rapid.T) {
	stats := m.queue.Stats()
	unrouted := int64(0)
	for i := range m.model.records {
		if len(m.model.records[i].owed) == 0 {
			unrouted++
		}
	}
	got := fmt.Sprint(stats.Head, stats.Accepted, stats.Unrouted, stats.IngressRefused)
	if want := fmt.Sprint(len(m.model.records), len(m.model.records), unrouted, len(m.model.refused)); got != want {
		t.Fatalf("head, accepted, unrouted, refused: got %s, want %s", got, want)
	}
	for _, sink := range stats.Sinks {
		if got, want := sinkFigures(&sink), figures(m.model.lanes[sink.ID].modelState); got != want {
			t.Fatalf("sink %d: got %+v, want %+v", sink.ID, got, want)
		}
	}
}

// checkEverything compares every record and dead letter, and the ledger with
// the file.
func (m *machine) checkEverything(t *rapid.T) {
	recount, err := m.queue.Recount(context.Background())
	if err != nil || !recount.Balanced() {
		t.Fatalf("the ledger does not balance: %+v, %v", recount, err)
	}
	m.model.saved() // for the recount
	for i := range m.model.records {
		m.checkJourney(t, &m.model.records[i])
	}
	m.checkLetters(t)
}

// checkJourney finds one record where the model has it. A record may be gone
// when every sink is done with it, and not before its time.
func (m *machine) checkJourney(t *rapid.T, stored *modelRecord) {
	position := stored.record.Position
	var want []edge.Stage
	for sink := range edge.SinkID(len(m.model.lanes)) {
		lane := m.model.lanes[sink+1]
		state, owed := lane.states[position]
		letter, dead := lane.letters[position]
		switch {
		case letter.leased:
			state = edge.InFlight
		case letter.requeued:
			state = edge.Enqueued
		case dead:
			state = edge.Dead
		}
		if owed {
			want = append(want, edge.Stage{Sink: sink + 1, State: state})
		}
	}
	journey, err := m.queue.Journey(context.Background(), stored.record.Correlation)
	oldest := m.queue.Stats().Oldest
	gone := oldest == 0 || position < oldest
	if gone && (!m.model.settledEverywhere(position) || time.Since(stored.committed) <= modelRetention) {
		t.Fatalf("record %d is gone: %+v", position, want)
	}
	if gone && journey.Frame == 0 { // and no longer on the shelf: its dead letters are what is left
		want = slices.DeleteFunc(want, func(stage edge.Stage) bool { return stage.State == edge.Acked })
		if len(want) == 0 && code(err) == edge.NotFound {
			return
		}
	}
	if err != nil {
		t.Fatalf("the journey of record %d: %v", position, err)
	}
	m.sameRecord(t, &journey.Record)
	if diff := cmp.Diff(want, journey.Sinks, cmpopts.IgnoreFields(edge.Stage{}, "Attempts")); diff != "" {
		t.Fatalf("the journey of record %d: %s", position, diff)
	}
}

// checkLetters lists the dead letters of every sink, and of ingress.
func (m *machine) checkLetters(t *rapid.T) {
	var got, want []string
	letters, err := m.queue.DeadLetters(context.Background(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1<<20)
	if err != nil {
		t.Fatalf("DeadLetters: %v", err)
	}
	for i := range letters {
		letter := &letters[i]
		if letter.Sink != edge.Ingress {
			m.sameRecord(t, &letter.Record)
		}
		got = append(got, fmt.Sprintf("%d/%d %s %v %s", letter.Sink, letter.Record.Position, letter.Reason, letter.Requeued, letter.Record.Payload))
	}
	for i := range m.model.refused {
		entry := &m.model.refused[i]
		want = append(want, fmt.Sprintf("0/%d %s false %s", i+1, entry.Refusal.Reason, entry.Record.Payload))
	}
	for sink := range edge.SinkID(len(m.model.lanes)) {
		for position := range edge.Position(len(m.model.records) + 1) {
			if letter, dead := m.model.lanes[sink+1].letters[position]; dead {
				payload := m.model.records[position-1].record.Payload
				want = append(want, fmt.Sprintf("%d/%d %s %v %s", sink+1, position, letter.reason, letter.requeued, payload))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("dead letters: %s", diff)
	}
}

// sameRecord compares a record with the one that was appended at its position.
func (m *machine) sameRecord(t *rapid.T, got *edge.Record) {
	want := &m.model.records[got.Position-1].record
	if reflect.DeepEqual(want, got) { // cmp takes its time, and most are equal
		return
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(edge.Identity{}, "Explicit")); diff != "" {
		t.Fatalf("record %d: %s", got.Position, diff)
	}
}
