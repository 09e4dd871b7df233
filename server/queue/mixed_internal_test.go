package queue

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

// TestQueue_countMixed counts what a damaged frame of several sets held while other
// records arrive and are delivered, and while records of that frame, which were
// leased before the damage, are delivered or come back.
func TestQueue_countMixed(t *testing.T) {
	settleFirst := func(t *testing.T, q *Queue, leased []edge.Delivery) {
		if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		meanwhile func(t *testing.T, q *Queue, leased []edge.Delivery)
		lost      []lossRow
	}{
		"Nothing": {func(*testing.T, *Queue, []edge.Delivery) {}, []lossRow{{1, 3, 3, 6, 2}, {2, 3, 3, 6, 1}}},
		"Others": {func(t *testing.T, q *Queue, _ []edge.Delivery) {
			accepted(t, q, owedTo(large(20, 3), 1, 2))
			settleAll(t, q, 2)
		}, []lossRow{{1, 3, 3, 6, 2}, {2, 3, 3, 6, 1}}},
		"Delivered": {settleFirst, []lossRow{{1, 3, 3, 6, 2}, {2, 3, 3, 6, 1}}},
		"CameBack":  {func(_ *testing.T, q *Queue, leased []edge.Delivery) { q.Release(1, leased) }, []lossRow{{1, 3, 3, 6, 3}, {2, 3, 3, 6, 1}}},
	} {
		bubble(t, name, func(t *testing.T) {
			q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
			accepted(t, q, owedTo(large(0, 2), 2))
			accepted(t, q, append(owedTo(large(2, 3), 1), owedTo(large(5, 1), 2)...)) // in one commit
			accepted(t, q, append(owedTo(large(6, 1), 2), owedTo(large(7, 1), 1)...))
			leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 1, Bytes: 1 << 30})
			if err != nil || len(leased) != 1 || leased[0].Record.Position != 3 {
				t.Fatalf("leased %v, %v", PositionsOf(leased), err)
			}
			damage(t, q, 3)
			q.cache = frameCache{}
			counts, err := q.countMixed(t.Context(), 3)
			if diff := cmp.Diff(map[edge.SinkID]mixedCount{1: {3, 4}, 2: {1, 4}}, counts, cmp.AllowUnexported(mixedCount{})); diff != "" || err != nil {
				t.Fatal(diff, err)
			}
			test.meanwhile(t, q, leased)
			report := damageReport{damaged: damaged{sink: queuefile.FrameSink, position: 3}, counts: counts, done: make(chan error, 1)}
			q.damaged <- report
			if err := <-report.done; err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.lost, lossRows(t, q)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What retention has removed meanwhile cannot be counted any more, and whoever
// counts says so.
func TestQueue_countMixed_Removed(t *testing.T) {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	accepted(t, q, owedTo(large(0, 2), 1, 2))
	accepted(t, q, append(owedTo(large(2, 3), 1), owedTo(large(5, 1), 2)...))
	damage(t, q, 3)
	account := q.registry.all()[0]
	account.mu.Lock()
	account.cursor = 0 // as if it had been when the count began
	account.mu.Unlock()
	if counts, err := q.countMixed(t.Context(), 3); counts != nil || err != nil {
		t.Errorf("got %v, %v; want no count", counts, err)
	}
}

// TestQueue_Quarantine_NoRoom meets a damaged frame on a full disk: it cannot be set
// aside, and nothing of it is given up. The next look finds it whole, because the disk
// had only misread it, and all of it is delivered, in order.
func TestQueue_Quarantine_NoRoom(t *testing.T) {
	for name, setAside := range map[string]func(q *Queue) error{
		"ByALane": func(q *Queue) error {
			return q.setAside(context.Background(), damaged{sink: queuefile.FrameSink, position: 3})
		},
		"ByAStart": func(q *Queue) error { // which has not counted what it must have held
			report := damageReport{damaged: damaged{sink: queuefile.FrameSink, position: 3}, done: make(chan error, 1)}
			q.damaged <- report
			return <-report.done
		},
	} {
		bubble(t, name, func(t *testing.T) {
			q, _, disk := onDisk(t, Settings{})
			accepted(t, q, large(0, 2))
			accepted(t, q, append(large(2, 3), owedTo(large(5, 1))...)) // several sets, in one commit
			accepted(t, q, large(6, 2))
			if _, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 3, Bytes: 1 << 30}); err != nil {
				t.Fatal(err)
			}
			before := q.Stats().Sinks[0]
			damage(t, q, 3)
			fill(disk)
			if err := setAside(q); edge.AsError(err) == nil || edge.AsError(err).Code != edge.Full {
				t.Fatalf("set aside: %v, want no room", err)
			}
			if diff := cmp.Diff(before, q.Stats().Sinks[0]); diff != "" {
				t.Error(diff)
			}
			disk.Heal()
			<-time.After(5 * time.Second) // until the queue has found out
			damage(t, q, 3)               // back to what it was
			q.cache = frameCache{}
			if diff := cmp.Diff([]edge.Position{4, 5, 7, 8}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
				t.Error(diff)
			}
			if got := lossRows(t, q); len(got) != 0 {
				t.Errorf("the loss report is %+v", got)
			}
			expectBalance(t, q, 8)
		})
	}
}
