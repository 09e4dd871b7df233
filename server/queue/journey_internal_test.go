package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

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
			if done, err := a.settle(&test.settlement); !done || err != nil {
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
