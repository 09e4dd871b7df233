package queue_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

// name is what a batch goes out under.
func name(batch []edge.Delivery) string {
	return fmt.Sprintf("%d-%d", batch[0].Record.Position, batch[len(batch)-1].Record.Position)
}

// members is everything that a body is made from.
func members(batch []edge.Delivery) []string {
	var all []string
	for _, delivery := range batch {
		all = append(all, fmt.Sprintf("%d %v", delivery.Record.Position, delivery.Kind))
	}
	return all
}

func (r *running) seal(t *testing.T, batch []edge.Delivery) {
	t.Helper()
	if err := r.Seal(t.Context(), 1, batch); err != nil {
		t.Fatal(err)
	}
}

func TestQueue_Seal(t *testing.T) {
	t.Parallel()
	t.Run("ACrashRepeatsTheBatch", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		edgetest.Append(t, q, edgetest.Entries(20, 4, 1)...)
		leased := q.lease(t, 1, 20)
		batch := []edge.Delivery{leased[1], leased[5], leased[9]}
		batch[0].Kind = edge.Backfill
		q.seal(t, batch)
		crashed := start(t, queue.Settings{Path: q.crash(t)}, 1)
		got := crashed.lease(t, 1, 3)
		if diff := cmp.Diff(members(batch), members(got)); diff != "" || !got[0].Sealed {
			t.Errorf("sealed %v: %s", got[0].Sealed, diff)
		}
		if rest := crashed.lease(t, 1, 17); rest[0].Sealed {
			t.Error("what was not sealed is marked")
		}
		crashed.idle(t, 1)
	})

	t.Run("WhatIsSettledAfterACrashStaysSo", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		edgetest.Append(t, q, edgetest.Entries(8, 1, 1)...)
		leased := q.lease(t, 1, 8)
		q.seal(t, leased[2:6])
		q.ack(t, 1, leased[3:4])
		q.recount(t) // is saved
		crashed := start(t, queue.Settings{Path: q.crash(t)}, 1)
		got := crashed.lease(t, 1, 7)
		for _, delivery := range got {
			if delivery.Sealed || delivery.Record.Position == leased[3].Record.Position {
				t.Errorf("leased %+v", delivery)
			}
		}
		crashed.ack(t, 1, got)
		crashed.recount(t)
	})

	t.Run("AnOrderlyStopKeepsIt", func(t *testing.T) {
		q := start(t, queue.Settings{}, 1)
		edgetest.Append(t, q, edgetest.Entries(4, 1, 1)...)
		leased := q.lease(t, 1, 4)
		q.seal(t, leased[:2])
		q.Release(1, leased)
		q = q.restart(t, 1)
		if got := q.lease(t, 1, 2); name(got) != name(leased[:2]) || !got[0].Sealed {
			t.Errorf("leased %v", members(got))
		}
	})
}
