package queue

import (
	"testing"

	"combotto.io/gateway/server/edge"
)

// TestQueue_Seal_ReleasedMeanwhile gives a sealed batch back between the moment
// when a lease looks for sealed ones and the moment when it takes others, as a
// lane that stops does. The batch must go out as it was all the same.
func TestQueue_Seal_ReleasedMeanwhile(t *testing.T) {
	f := openOn(t, Settings{Path: t.TempDir() + "/queue.db"})
	f.append(t, 8)
	leased := lent(t, f.Queue)
	batch := leased[2:5]
	if err := f.Seal(t.Context(), 1, batch); err != nil {
		t.Fatal(err)
	}
	account, err := f.account(1)
	if err != nil {
		t.Fatal(err)
	}
	if account.nextSealed() != nil {
		t.Fatal("what is leased is due")
	}
	f.Release(1, leased)
	frame, err := f.frameAt(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	late := &lease{limit: edge.LeaseLimit{Records: 100, Bytes: 1 << 20}}
	if account.leaseFrom(frame, 1, f.sets, late); len(late.deliveries) != 2 {
		t.Fatalf("leased %d records in front of a sealed batch, want 2", len(late.deliveries))
	}
	again := lent(t, f.Queue)
	if len(again) != 3 || !again[0].Sealed || again[0].Record.Position != batch[0].Record.Position {
		t.Errorf("leased %+v, want the sealed batch", again)
	}
	if rest := lent(t, f.Queue); len(rest) != 3 || rest[0].Sealed {
		t.Errorf("leased %+v, want what lies behind the batch", rest)
	}
}
