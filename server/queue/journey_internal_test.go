package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

// A full disk keeps what expires from being saved. It was given up all the same.
func TestQueue_Journey_LossIsNotSaved(t *testing.T) { synctest.Test(t, journeyLossIsNotSaved) }

func journeyLossIsNotSaved(t *testing.T) {
	q, _, disk := onDisk(t, Settings{RetentionUndelivered: time.Minute})
	replies := answers(t, q, large(0, 3))
	fill(disk)
	<-time.After(2 * time.Minute)
	journey, err := q.Journey(t.Context(), replies[1].Receipt.Correlation)
	if err != nil || len(journey.Sinks) != 1 || journey.Sinks[0].State != edge.Expired {
		t.Errorf("got %+v, %v; want it expired", journey.Sinks, err)
	}
}

// What a transaction is about to save is neither in memory nor in the file.
func TestAccount_lostState(t *testing.T) {
	a := newAccount(1, "sink-1", "test")
	a.Owed = 1
	why := queuefile.LossReason{Kind: edge.LossExpired, Reason: edge.LossTTL}
	a.unsaved.losses.add(why, time.Unix(1, 0), queuefile.Span{First: 5, End: 6}, 1, time.Unix(1, 0), "dev-1")
	a.lose(why, 1)
	var taken accountSave
	for _, step := range []func(taken *accountSave) bool{
		func(*accountSave) bool { return true },
		func(taken *accountSave) bool { *taken = a.takeUnsaved(); return true },
		func(taken *accountSave) bool { a.restoreUnsaved(&taken.unsaved); return true },
		func(taken *accountSave) bool { *taken = a.takeUnsaved(); a.saved(taken); return false }, // the file tells
	} {
		want := step(&taken)
		if state, covered := a.lostState(5); covered != want || want && state != edge.Expired {
			t.Errorf("got %v, %v; want %v", state, covered, want)
		}
	}
}

// TestAccount_LetterState follows a requeued dead letter whose settlement is not
// saved yet, as on a full disk.
func TestAccount_LetterState(t *testing.T) {
	delivery := edge.Delivery{Record: edge.Record{Position: 5, Device: "dev-1"}, Kind: edge.Requeue}
	for name, test := range map[string]struct {
		settlement edge.Settlement
		want       edge.State
	}{
		"Delivered": {edge.Settlement{Acked: []edge.Delivery{delivery}}, edge.Acked},
		"DeadAgain": {edge.Settlement{Dead: []edge.Death{{Delivery: delivery, Reason: edge.DeathRejected}}}, edge.Dead},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(1, "sink-1", "test")
			states := []edge.State{a.letterState(5, false), a.letterState(5, true)}
			a.requeue.out[5], a.inFlight = &requeued{reason: edge.DeathRejected, state: edge.InFlight}, 1
			states = append(states, a.letterState(5, true))
			if done, err := a.settle(&test.settlement, 1<<20); !done || err != nil {
				t.Fatal(done, err)
			}
			states = append(states, a.letterState(5, true))
			want := []edge.State{edge.Dead, edge.Enqueued, edge.InFlight, test.want}
			if diff := cmp.Diff(want, states); diff != "" {
				t.Error(diff)
			}
		})
	}
}
