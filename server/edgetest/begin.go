package edgetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// testBegin is the part of the contract of [edge.Leaser] about attempts. What a
// policy gives up meanwhile is up to the implementation; here it is what the lane
// has not leased any more for other reasons.
func testBegin(t *testing.T, build Build) {
	run := suite(t, build)
	run("WhatIsLeasedIsDue", leasedIsDue)
	run("WhatIsNotLeasedIsLeftOut", notLeasedIsLeftOut)
	run("BegunIsReleased", begunIsReleased)
	run("BegunIsSettled", begunIsSettled)
	run("KeepsSeals", beginKeepsSeals)
	run("OfAnUnknownSinkNothingIsDue", func(t *testing.T, build Build) {
		if due := build(t, 1).Begin(99, []edge.Delivery{{Record: Record("dev-0", 1)}}); len(due) > 0 {
			t.Errorf("%d deliveries are due", len(due))
		}
	})
}

func leasedIsDue(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(6, 2, 1)...)
	leased := leaseAll(t, queue, 1, 6)
	for range 2 { // the second attempt with the same batch
		if diff := cmp.Diff(pick(leased, 0, 2, 4), queue.Begin(1, pick(leased, 0, 2, 4))); diff != "" {
			t.Error(diff)
		}
	}
}

func notLeasedIsLeftOut(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(6, 2, 1)...)
	leased := leaseAll(t, queue, 1, 6)
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(leased[1:2], edge.Delivered), Acked: leased[1:2]})
	queue.Release(1, leased[4:5])
	batch := pick(leased, 0, 1, 2, 3, 4, 5)
	if diff := cmp.Diff(pick(leased, 0, 2, 3, 5), queue.Begin(1, batch)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(leased, batch); diff != "" {
		t.Errorf("the caller's slice has changed: %s", diff)
	}
	if due := queue.Begin(1, pick(leased, 1, 4)); len(due) > 0 {
		t.Errorf("%d deliveries are due, none is leased", len(due))
	}
}

func begunIsReleased(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(4, 1, 1)...)
	leased := leaseAll(t, queue, 1, 4)
	queue.Release(1, queue.Begin(1, pick(leased, 1, 2)))
	if diff := cmp.Diff(leased[1:3], leaseAll(t, queue, 1, 2)); diff != "" {
		t.Error(diff)
	}
}

func begunIsSettled(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(4, 1, 1)...)
	leased := leaseAll(t, queue, 1, 4)
	due := queue.Begin(1, leased)
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(due, edge.Delivered), Acked: due[:3]})
	if diff := cmp.Diff(leased[3:], queue.Begin(1, due)); diff != "" {
		t.Error(diff)
	}
}

func beginKeepsSeals(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(4, 1, 1)...)
	leased := leaseAll(t, queue, 1, 4)
	seal(t, queue, 1, leased)
	if due := queue.Begin(1, leased); len(due) != len(leased) {
		t.Errorf("%d of %d deliveries are due", len(due), len(leased))
	}
	queue.Release(1, leased)
	if again := leaseAll(t, queue, 1, 4); !again[0].Sealed {
		t.Error("an attempt has ended a sealed batch")
	}
}
