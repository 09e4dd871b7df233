package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// TestDispatcher_Begin gives up, by a policy, what lanes have leased.
func TestDispatcher_Begin(t *testing.T) {
	t.Run("WhatWasGivenUpIsNotSent", func(t *testing.T) { synctest.Test(t, givenUpIsNotSent) })
	t.Run("OfASealedBatchTheRestHasAnotherName", func(t *testing.T) { synctest.Test(t, restHasAnotherName) })
	t.Run("AnotherSlotProbesWhenNothingIsLeft", func(t *testing.T) {
		for range 10 { // which slot probes is chance
			synctest.Test(t, anotherSlotProbes)
		}
	})
	t.Run("WhatWasGivenUpMakesRoom", func(t *testing.T) { synctest.Test(t, givenUpMakesRoom) })
}

// sinkUpAfter refuses everything for so long.
func sinkUpAfter(outage time.Duration) *edgetest.Sink {
	began := time.Now()
	return edgetest.NewSink(func(context.Context, int, []edge.Delivery) edge.Outcome {
		if time.Since(began) < outage {
			return down
		}
		return edge.Outcome{Class: edge.Delivered}
	})
}

func givenUpIsNotSent(t *testing.T) {
	queue, sink := edgetest.NewQueue(1), sinkUpAfter(time.Minute)
	b := start(t, queue, only(sink), planned(1, 1, 6))
	edgetest.Append(t, queue, edgetest.Entries(6, 1, 1)...)
	synctest.Wait()
	first := positions(sink.Calls()[0].Batch)
	queue.GiveUp(1, first[1], first[4])
	advance(time.Hour)
	if diff := cmp.Diff([]edge.Position{first[0], first[2], first[3], first[5]}, positions(sink.Accepted())); diff != "" {
		t.Error(diff)
	}
	b.end()
}

func restHasAnotherName(t *testing.T) {
	queue, sink := edgetest.NewQueue(1), sinkUpAfter(time.Minute)
	b := start(t, queue, only(sink), sealed(1, 6))
	edgetest.Append(t, queue, edgetest.Entries(6, 1, 1)...)
	synctest.Wait()
	first := positions(sink.Calls()[0].Batch)
	queue.GiveUp(1, first[0])
	advance(10 * time.Second)
	if diff := cmp.Diff([][]edge.Position{first[1:]}, [][]edge.Position{positions(queue.Sealed(1)[0])}); diff != "" {
		t.Error(diff)
	}
	advance(time.Hour)
	if diff := cmp.Diff(first[1:], positions(sink.Accepted())); diff != "" {
		t.Error(diff)
	}
	b.end()
}

// anotherSlotProbes gives up all that one slot has while the lane waits. When that
// slot comes to probe, it has nothing to do it with.
func anotherSlotProbes(t *testing.T) {
	queue, sink := edgetest.NewQueue(1), sinkUpAfter(time.Minute)
	b := start(t, queue, only(sink), planned(1, 2, 1))
	edgetest.Append(t, queue, edgetest.Entries(40, 8, 1)...)
	synctest.Wait()
	slot := edge.SlotOf("dev-0", 2)
	want := 0
	for _, delivery := range queue.Leased(1) {
		if edge.SlotOf(delivery.Record.Device, 2) == slot {
			queue.GiveUp(1, delivery.Record.Position)
		} else {
			want++
		}
	}
	advance(time.Hour)
	if got := len(sink.Accepted()); got != want || want == 0 || want == 40 {
		t.Errorf("accepted %d, want %d", got, want)
	}
	b.end()
}

// givenUpMakesRoom gives up all that a lane may hold, behind which more waits.
func givenUpMakesRoom(t *testing.T) {
	const more = 10
	queue, sink := edgetest.NewQueue(1), sinkUpAfter(time.Minute)
	b := start(t, queue, only(sink), planned(1, 1, 100))
	edgetest.Append(t, queue, edgetest.Entries(edge.MaxLeased+more, 1, 1)...)
	synctest.Wait()
	for _, delivery := range queue.Leased(1) {
		queue.GiveUp(1, delivery.Record.Position)
	}
	advance(time.Hour)
	if got := len(sink.Accepted()); got != more {
		t.Errorf("accepted %d, want the %d that nobody gave up", got, more)
	}
	b.end()
}
