package edgetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// testSeals is the part of the contract of [edge.Leaser] about sealed batches.
func testSeals(t *testing.T, build Build) {
	run := suite(t, build)
	run("ReleasedComeAgainFirstAndWhole", sealedComeAgain)
	run("SettledMemberEndsTheBatch", settledMemberEndsTheBatch)
	run("SealedPartEndsTheBatch", sealedPartEndsTheBatch)
	run("SealingAgainChangesNothing", sealingAgain)
	run("RefusesWhatIsNotLeased", refusesToSeal)
}

func sealedComeAgain(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(9, 3, 1)...)
	leased := leaseAll(t, queue, 1, 9)
	first := pick(leased, 1, 4, 7)
	first[1].Kind = edge.Backfill
	second := pick(leased, 2, 5)
	seal(t, queue, 1, first)
	seal(t, queue, 1, second)
	queue.Release(1, leased)
	for _, batch := range [][]edge.Delivery{first, second} {
		got, err := queue.Lease(t.Context(), 1, edge.LeaseLimit{Records: 1, Bytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		want := pick(batch, 0, 1, 2)
		for i := range want {
			want[i].Sealed = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(pick(leased, 0, 3, 6, 8), leaseAll(t, queue, 1, 4)); diff != "" {
		t.Error(diff)
	}
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(leased, edge.Delivered), Acked: leased})
	expectNothingDue(t, queue, 1)
}

func settledMemberEndsTheBatch(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(5, 1, 1)...)
	leased := leaseAll(t, queue, 1, 5)
	seal(t, queue, 1, leased[:4])
	settle(t, queue, 1, edge.Settlement{Attempt: attempt(leased[1:2], edge.Delivered), Acked: leased[1:2]})
	queue.Release(1, leased)
	if diff := cmp.Diff(pick(leased, 0, 2, 3, 4), leaseAll(t, queue, 1, 4)); diff != "" {
		t.Error(diff)
	}
}

func sealedPartEndsTheBatch(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(6, 1, 1)...)
	leased := leaseAll(t, queue, 1, 6)
	seal(t, queue, 1, leased[:5])
	seal(t, queue, 1, leased[:2])
	queue.Release(1, leased)
	part := lease(t, queue, 1, 6)
	if len(part) != 2 || !part[0].Sealed || !part[1].Sealed {
		t.Errorf("leased %+v, want the part that was sealed", part)
	}
	if diff := cmp.Diff(leased[2:], leaseAll(t, queue, 1, 4)); diff != "" {
		t.Error(diff)
	}
}

func sealingAgain(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(3, 1, 1)...)
	leased := leaseAll(t, queue, 1, 3)
	seal(t, queue, 1, leased)
	seal(t, queue, 1, leased)
	queue.Release(1, leased)
	if got := leaseAll(t, queue, 1, 3); len(got) != 3 || !got[0].Sealed {
		t.Errorf("leased %+v, want the one sealed batch", got)
	}
}

func refusesToSeal(t *testing.T, build Build) {
	queue := build(t, 1)
	Append(t, queue, Entries(3, 1, 1)...)
	leased := leaseAll(t, queue, 1, 3)
	if err := queue.Seal(t.Context(), 1, pick(leased, 1, 0)); err == nil {
		t.Error("a batch out of order was sealed")
	}
	queue.Release(1, leased[2:])
	if err := queue.Seal(t.Context(), 1, leased); err == nil {
		t.Error("a record that is not leased was sealed")
	}
	if got := leaseAll(t, queue, 1, 1); got[0].Sealed {
		t.Errorf("leased %+v, want nothing sealed", got)
	}
}

// pick copies some of a batch; indices beyond it are ignored.
func pick(batch []edge.Delivery, indices ...int) []edge.Delivery {
	var picked []edge.Delivery
	for _, index := range indices {
		if index < len(batch) {
			picked = append(picked, batch[index])
		}
	}
	return picked
}

func seal(t *testing.T, leaser edge.Leaser, sink edge.SinkID, batch []edge.Delivery) {
	t.Helper()
	if err := leaser.Seal(t.Context(), sink, batch); err != nil {
		t.Fatalf("Seal: %v", err)
	}
}
