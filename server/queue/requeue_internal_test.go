package queue

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

// sendBack requeues every dead letter.
func sendBack(t *testing.T, q *Queue, want int) {
	t.Helper()
	if got, err := q.RequeueMatching(t.Context(), edge.DeadLetterFilter{}, false); err != nil || got != want {
		t.Fatalf("requeued %d, %v; want %d", got, err, want)
	}
}

// TestQueue_Requeue_StaleRows lets something happen between the moment when a
// lease reads rows and the moment when it takes them.
func TestQueue_Requeue_StaleRows(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(t *testing.T, q *Queue)
		want      []edge.Position // what the next lease brings
	}{
		"Delivered": {func(t *testing.T, q *Queue) {
			if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: lent(t, q)}); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"RefusedAgain": {func(t *testing.T, q *Queue) { deadLetter(t, q, lent(t, q)) }, nil},
		"Released":     {func(t *testing.T, q *Queue) { q.Release(1, lent(t, q)) }, []edge.Position{2, 3}},
		"Requeued": {func(t *testing.T, q *Queue) {
			if _, err := q.RequeueKeys(t.Context(), []edge.DeadLetterKey{{Sink: 1, Position: 1}}, false); err != nil {
				t.Fatal(err)
			}
		}, []edge.Position{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			q, _ := opened(t, Settings{})
			accepted(t, q, edgetest.Entries(3, 1, 1))
			deadLetter(t, q, lent(t, q))
			keys := []edge.DeadLetterKey{{Sink: 1, Position: 2}, {Sink: 1, Position: 3}}
			if _, err := q.RequeueKeys(t.Context(), keys, false); err != nil {
				t.Fatal(err)
			}
			account, lease := q.registry.all()[0], &lease{limit: edge.LeaseLimit{Records: 100, Bytes: 1 << 30}}
			look, due := account.scansRequeued()
			letters, err := q.readRequeued(t.Context(), account, look, lease)
			if !due || err != nil || len(letters) != 2 {
				t.Fatalf("read %d letters, %v", len(letters), err)
			}
			test.meanwhile(t, q)
			if err := q.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if done, _ := account.leaseLetters(q, letters, look, lease); done || len(lease.deliveries) != 0 {
				t.Errorf("%d letters were leased from rows that are out of date", len(lease.deliveries))
			}
			if err := q.leaseRequeued(t.Context(), account, lease); err != nil {
				t.Fatal(err)
			}
			var got []edge.Position
			for _, delivery := range lease.deliveries {
				got = append(got, delivery.Record.Position)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			expectBalance(t, q, 3)
		})
	}
}

// TestQueue_Requeue_SettledMeanwhile requeues a letter that has just died again:
// the row is marked before the lane's memory of the last death is gone.
func TestQueue_Requeue_SettledMeanwhile(t *testing.T) {
	account := newAccount(1, "sink-1", "test")
	account.requeue.out[3] = &requeued{state: edge.Dead}
	account.requeue.waiting, account.requeue.next = 2, 9 // a lease has skipped 3, which is out, and leased 8
	account.saved(&accountSave{unsaved: unsaved{letters: []letterChange{{kind: letterAgain, position: 3}}}})
	if look, due := account.scansRequeued(); !due || look.next > 3 {
		t.Errorf("the next lease begins at %d, %v; want 3 not to be missed", look.next, due)
	}
}

// TestQueue_Requeue_MissingRow takes a dead letter's row away while it is leased.
func TestQueue_Requeue_MissingRow(t *testing.T) {
	q, _ := opened(t, Settings{})
	accepted(t, q, edgetest.Entries(2, 1, 1))
	deadLetter(t, q, lent(t, q))
	sendBack(t, q, 2)
	leased := lent(t, q)
	err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec("DELETE FROM dead WHERE position = 1") })
	if err != nil {
		t.Fatal(err)
	}
	deadLetter(t, q, leased)
	if err := q.flush(t.Context()); err != nil {
		t.Errorf("saving a death whose row is gone: %v", err)
	}
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 10)
	if err != nil || len(letters) != 1 || letters[0].Requeued {
		t.Errorf("got %+v, %v; want the other letter dead again", letters, err)
	}
	accepted(t, q, edgetest.Entries(3, 1, 1))
}

// TestCommitter_writeFailed/PlainError: what SQLite has not said says nothing
// about the file.
func TestCommitter_writeFailed(t *testing.T) {
	q, err := Open(t.Context(), Settings{Path: t.TempDir() + "/queue.db"}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	plain := errors.New("a history cannot be written")
	c := newCommitter(q)
	if got := c.writeFailed(plain); !errors.Is(got, plain) || c.failed != nil || q.Room().Refusal != nil {
		t.Errorf("got %v, failed %v; want the error itself", got, c.failed)
	}
	if got := c.writeFailed(&sqlite.Error{Err: plain}); c.failed == nil || !errors.Is(got, plain) || q.Room().Refusal == nil {
		t.Errorf("got %v, failed %v; want the end", got, c.failed)
	}
}
