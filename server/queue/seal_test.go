package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

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

	t.Run("ANameNeverMeansTwoBatches", func(t *testing.T) {
		for seed := range uint64(25) {
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { sealNames(t, seed) }) })
		}
	})
}

// sealNames delivers through crashes at any point and changes of the concurrency:
// what goes out under one name is the same every time, and all is delivered in
// the end.
func sealNames(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	sent, repeated, path, appended := map[string][]string{}, 0, "", 0
	for range 8 {
		q := start(t, queue.Settings{Path: path}, 1)
		l := &sealingLane{t: t, q: q, random: random, sent: sent, slots: make([][]edge.Delivery, 1+random.IntN(3)), current: map[int][][]edge.Delivery{}}
		for n := range random.IntN(60) {
			if n%9 == 0 {
				appended += len(edgetest.Append(t, q, edgetest.Entries(appended+1+random.IntN(12), 5, 1)[appended:]...))
			}
			l.step()
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		}
		synctest.Wait()
		path, repeated = q.crash(t), repeated+l.repeated
		q.close(t)
	}
	q := start(t, queue.Settings{Path: path}, 1)
	for q.sink(1).Pending > 0 {
		q.ack(t, 1, q.lease(t, 1, 1))
	}
	if got := q.recount(t).Sinks[0]; got.Counted.Delivered != int64(appended) {
		t.Errorf("%d of %d records were delivered", got.Counted.Delivered, appended)
	}
	q.close(t)
	t.Logf("%d records, %d names, %d sealed batches came again", appended, len(sent), repeated)
}

// sealingLane is a lane whose every move is chance.
type sealingLane struct {
	t        *testing.T
	q        *running
	random   *rand.Rand
	sent     map[string][]string // members by name
	slots    [][]edge.Delivery   // that wait
	current  map[int][][]edge.Delivery
	resumed  int
	repeated int
}

func (l *sealingLane) step() {
	if l.random.IntN(3) == 0 {
		l.lease()
		return
	}
	slot := l.random.IntN(len(l.slots))
	if l.resumed > 0 && l.random.IntN(2) == 0 {
		slot = -1 - l.random.IntN(l.resumed)
	}
	parts := l.current[slot]
	if len(parts) == 0 {
		if slot < 0 || len(l.slots[slot]) == 0 {
			return
		}
		count := 1 + l.random.IntN(min(5, len(l.slots[slot])))
		parts, l.slots[slot] = [][]edge.Delivery{l.slots[slot][:count]}, l.slots[slot][count:]
		if l.random.IntN(2) == 0 {
			parts[0][0].Kind = edge.Backfill
		}
	}
	l.current[slot] = l.attempt(parts)
}

// attempt sends the first part, and settles or divides it.
func (l *sealingLane) attempt(parts [][]edge.Delivery) [][]edge.Delivery {
	batch := parts[0]
	if !batch[0].Sealed {
		l.q.seal(l.t, batch)
	}
	key := name(batch)
	if known, again := l.sent[key]; again {
		if diff := cmp.Diff(known, members(batch)); diff != "" {
			l.t.Errorf("%s: %s", key, diff)
		}
	}
	l.sent[key] = members(batch)
	for i := range batch {
		batch[i].Sealed = true
	}
	switch half := len(batch) / 2; {
	case l.random.IntN(3) == 0:
		return parts // busy
	case half > 0 && l.random.IntN(2) == 0:
		for i := range batch {
			batch[i].Sealed = false
		}
		return append([][]edge.Delivery{batch[:half], batch[half:]}, parts[1:]...)
	}
	l.q.ack(l.t, 1, batch)
	return parts[1:]
}

func (l *sealingLane) lease() {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Millisecond)
	defer cancel()
	leased, err := l.q.Lease(ctx, 1, edge.LeaseLimit{Records: 1 + l.random.IntN(20), Bytes: 1 << 20})
	switch {
	case err != nil: // nothing is due
	case leased[0].Sealed:
		l.resumed++
		l.repeated++
		l.current[-l.resumed] = [][]edge.Delivery{leased}
	default:
		for _, delivery := range leased {
			slot := edge.SlotOf(delivery.Record.Device, len(l.slots))
			l.slots[slot] = append(l.slots[slot], delivery)
		}
	}
}
