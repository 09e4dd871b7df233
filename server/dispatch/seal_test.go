package dispatch_test

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
)

func sealed(concurrency, records int) edge.PlannedSink {
	sink := planned(1, concurrency, records)
	sink.Sealed = true
	return sink
}

func TestDispatcher_Seals(t *testing.T) {
	t.Run("BeforeTheFirstAttempt", func(t *testing.T) { synctest.Test(t, sealsBeforeTheFirstAttempt) })
	t.Run("PartsUnderNamesOfTheirOwn", func(t *testing.T) { synctest.Test(t, sealsParts) })
	t.Run("WhatWasSealedComesFirstAndInOrder", func(t *testing.T) {
		for _, slots := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("slots=%d", slots), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { sealedComesFirst(t, slots) })
			})
		}
	})
	t.Run("OthersPassAResumedBatchThatAlwaysFails", func(t *testing.T) { synctest.Test(t, othersPassAResumedBatch) })
	t.Run("WithoutRoomItGoesOutUnnamed", func(t *testing.T) { synctest.Test(t, withoutRoomItGoesOutUnnamed) })
}

// sealedOf returns the positions of the sealed batches.
func sealedOf(queue *edgetest.Queue) map[string]bool {
	names := map[string]bool{}
	for _, batch := range queue.Sealed(1) {
		names[fmt.Sprint(positions(batch))] = true
	}
	return names
}

func positions(batch []edge.Delivery) (all []edge.Position) {
	for i := range batch {
		all = append(all, batch[i].Record.Position)
	}
	return all
}

func sealsBeforeTheFirstAttempt(t *testing.T) {
	queue := edgetest.NewQueue(1)
	sink := edgetest.NewSink(func(_ context.Context, call int, batch []edge.Delivery) edge.Outcome {
		if !sealedOf(queue)[fmt.Sprint(positions(batch))] || !batch[0].Sealed {
			t.Errorf("attempt %d: %v is not sealed", call, positions(batch))
		}
		if call%3 == 0 {
			return down
		}
		return edge.Outcome{Class: edge.Delivered}
	})
	b := start(t, queue, only(sink), sealed(3, 10))
	edgetest.Append(t, queue, edgetest.Entries(200, 7, 1)...)
	advance(time.Hour)
	if got := len(sink.Accepted()); got != 200 {
		t.Errorf("accepted %d, want 200", got)
	}
	if left := queue.Sealed(1); len(left) > 0 {
		t.Errorf("%d batches are still sealed", len(left))
	}
	b.end()
}

func sealsParts(t *testing.T) {
	queue := edgetest.NewQueue(1)
	reject := edgetest.RejectBatches(isSequence(3))
	sink := edgetest.NewSink(func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome {
		if !sealedOf(queue)[fmt.Sprint(positions(batch))] {
			t.Errorf("attempt %d: %v is not sealed", call, positions(batch))
		}
		return reject(ctx, call, batch)
	})
	b := start(t, queue, only(sink), sealed(1, 8))
	edgetest.Append(t, queue, edgetest.Entries(8, 1, 1)...)
	advance(time.Hour)
	if diff := cmp.Diff(edgetest.Account{Dead: 1}, queue.Account(1)); diff != "" {
		t.Error(diff)
	}
	b.end()
}

// sealedComesFirst stops a lane of three slots while its batches wait, and goes on
// with another number of slots.
func sealedComesFirst(t *testing.T, slots int) {
	queue := edgetest.NewQueue(1)
	edgetest.Append(t, queue, edgetest.Entries(90, 9, 1)...)
	first := start(t, queue, only(edgetest.NewSink(edgetest.Always(down))), sealed(3, 5))
	advance(time.Minute)
	first.end()
	want := sealedOf(queue)
	if len(want) == 0 {
		t.Fatal("nothing was sealed")
	}
	sink := edgetest.NewSink(nil)
	second := start(t, queue, only(sink), sealed(slots, 5))
	advance(time.Minute)
	second.end()
	next := map[edge.DeviceID]uint64{}
	for _, delivery := range sink.Accepted() {
		device := delivery.Record.Device
		if delivery.Record.Identity.Sequence != next[device] {
			t.Errorf("%s: %d follows %d", device, delivery.Record.Identity.Sequence, next[device]-1)
		}
		next[device] = delivery.Record.Identity.Sequence + 1
	}
	if got := len(sink.Accepted()); got != 90 {
		t.Errorf("accepted %d, want 90", got)
	}
	for _, call := range sink.Calls() {
		delete(want, fmt.Sprint(positions(call.Batch)))
	}
	if len(want) > 0 {
		t.Errorf("sealed, and never sent again: %v", want)
	}
	for _, settlement := range queue.Settlements(1) {
		for _, acked := range settlement.Acked {
			if !settlement.Attempt.Covers(acked.Record.Position, acked.Record.Device) {
				t.Errorf("the attempt %+v does not cover %d", settlement.Attempt, acked.Record.Position)
			}
		}
	}
}

func othersPassAResumedBatch(t *testing.T) {
	queue := edgetest.NewQueue(1)
	edgetest.Append(t, queue, edgetest.Entries(40, 8, 1)...)
	first := start(t, queue, only(edgetest.NewSink(edgetest.Always(down))), sealed(4, 5))
	advance(time.Minute)
	first.end()
	poison := queue.Sealed(1)[0][0].Record.Device
	sink := edgetest.NewSink(func(_ context.Context, _ int, batch []edge.Delivery) edge.Outcome {
		for i := range batch {
			if batch[i].Record.Device == poison {
				return down
			}
		}
		return edge.Outcome{Class: edge.Delivered}
	})
	second := start(t, queue, only(sink), sealed(4, 5))
	advance(time.Hour)
	stuck := 0
	for device := range 8 {
		if edge.SlotOf(edge.DeviceID(fmt.Sprintf("dev-%d", device)), 4) == edge.SlotOf(poison, 4) {
			stuck += 5
		}
	}
	if got := len(sink.Accepted()); got != 40-stuck {
		t.Errorf("accepted %d, want all but the %d of one slot", got, stuck)
	}
	second.end()
}

// fullQueue has no room for sealing.
type fullQueue struct {
	*edgetest.Queue
	mu   sync.Mutex
	full bool
}

func (q *fullQueue) Seal(ctx context.Context, sink edge.SinkID, batch []edge.Delivery) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full {
		return fmt.Errorf("seal: %w", errors.Join(edge.NewFull()))
	}
	return q.Queue.Seal(ctx, sink, batch)
}

func withoutRoomItGoesOutUnnamed(t *testing.T) {
	queue := &fullQueue{Queue: edgetest.NewQueue(1), full: true}
	sink := edgetest.NewSink(nil)
	b := start(t, queue, only(sink), sealed(1, 5))
	edgetest.Append(t, queue, edgetest.Entries(5, 1, 1)...)
	synctest.Wait()
	queue.mu.Lock()
	queue.full = false
	queue.mu.Unlock()
	edgetest.Append(t, queue, edgetest.Entries(10, 1, 1)[5:]...)
	synctest.Wait()
	var named []bool
	for _, delivery := range sink.Accepted() {
		named = append(named, delivery.Sealed)
	}
	if diff := cmp.Diff([]bool{false, false, false, false, false, true, true, true, true, true}, named); diff != "" {
		t.Error(diff)
	}
	b.end()
}
