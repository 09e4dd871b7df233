package queue_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rowSchema = sqlite.NewMigrations(fstest.MapFS{"0001_rows.sql": {Data: []byte("CREATE TABLE message(id INTEGER PRIMARY KEY, device TEXT, received INTEGER, payload BLOB) STRICT")}}, "*.sql")

// running is a queue and the end of its Run.
type running struct {
	*queue.Queue
	path     string
	observed *observe.Observer
	stop     context.CancelFunc
	done     <-chan error
}

// start opens and runs a queue with sinks named sink-1, sink-2 and so on. It is
// stopped with the test, unless the test did that.
func start(t testing.TB, settings queue.Settings, sinks int) *running {
	t.Helper()
	return startWith(t, settings, specs(sinks)...)
}

// startWith opens and runs a queue with sinks.
func startWith(t testing.TB, settings queue.Settings, sinks ...queue.SinkSpec) *running {
	t.Helper()
	if settings.Path == "" {
		settings.Path = filepath.Join(t.TempDir(), "queue.db")
	}
	r := &running{path: settings.Path, observed: observe.NewDiscard()}
	r.Queue, r.stop, r.done = queue.Begin(t, settings, r.observed, sinks...)
	t.Cleanup(func() { r.close(t) })
	return r
}

func specs(sinks int) []queue.SinkSpec {
	var specs []queue.SinkSpec
	for i := range sinks {
		specs = append(specs, queue.SinkSpec{Name: fmt.Sprintf("sink-%d", i+1), Kind: "test"})
	}
	return specs
}

// close stops the queue in order. A second call does nothing.
func (r *running) close(t testing.TB) {
	t.Helper()
	if r.done == nil {
		return
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.done = nil
}

// crash returns the path of a copy of the files as they are now; see
// [queue.Crashed].
func (r *running) crash(t testing.TB) string {
	t.Helper()
	return queue.Crashed(t, r.path)
}

// restart closes the queue and starts it again on the same file.
func (r *running) restart(t testing.TB, sinks int) *running {
	t.Helper()
	r.close(t)
	return start(t, queue.Settings{Path: r.path}, sinks)
}

var everything = edge.LeaseLimit{Records: edge.MaxLeased, Bytes: 1 << 30}

// lease leases until it has count deliveries.
func (r *running) lease(t testing.TB, sink edge.SinkID, count int) []edge.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), edgetest.Patience)
	defer cancel()
	var deliveries []edge.Delivery
	for len(deliveries) < count {
		leased, err := r.Lease(ctx, sink, edge.LeaseLimit{Records: count - len(deliveries), Bytes: 1 << 30})
		if err != nil {
			t.Fatalf("leased %d of %d: %v", len(deliveries), count, err)
		}
		deliveries = append(deliveries, leased...)
	}
	return deliveries
}

// idle fails when something is due for the sink.
func (r *running) idle(t testing.TB, sink edge.SinkID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if deliveries, err := r.Lease(ctx, sink, everything); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("sink %d: leased %d deliveries, %v; want nothing due", sink, len(deliveries), err)
	}
}

// ack settles deliveries as delivered by one attempt.
func (r *running) ack(t testing.TB, sink edge.SinkID, deliveries []edge.Delivery) {
	t.Helper()
	r.settle(t, sink, edge.Settlement{Attempt: attempt(deliveries, edge.Delivered), Acked: deliveries})
}

// reject settles deliveries as refused by the receiver.
func (r *running) reject(t testing.TB, sink edge.SinkID, deliveries []edge.Delivery) {
	t.Helper()
	settlement := edge.Settlement{Attempt: attempt(deliveries, edge.Rejected)}
	for _, delivery := range deliveries {
		settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: edge.DeathRejected, Status: "422", Excerpt: "no such field"})
	}
	r.settle(t, sink, settlement)
}

func (r *running) settle(t testing.TB, sink edge.SinkID, settlement edge.Settlement) {
	t.Helper()
	if err := r.Settle(t.Context(), sink, settlement); err != nil {
		t.Fatal(err)
	}
}

func attempt(batch []edge.Delivery, class edge.Class) edge.Attempt {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return edge.Attempt{
		Number: 1, First: batch[0].Record.Position, Last: batch[len(batch)-1].Record.Position, Records: len(batch),
		Slots: 1, StartedAt: now.Add(-time.Millisecond), EndedAt: now, Class: class, Status: "200",
	}
}

// recount waits for what was settled to be saved and counts the file anew.
func (r *running) recount(t testing.TB) queuefile.Recount {
	t.Helper()
	recount, err := r.Recount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !recount.Balanced() {
		t.Errorf("the ledger does not balance: %+v", recount)
	}
	return recount
}

// sink returns one sink's figures without those that depend on the clock.
func (r *running) sink(id edge.SinkID) edge.SinkStats {
	for _, sink := range r.Stats().Sinks {
		if sink.ID == id {
			sink.OldestAge, sink.PinnedBytes = 0, 0
			return sink
		}
	}
	return edge.SinkStats{}
}

// code returns the code of an error that is shown to callers.
func code(err error) any {
	if failure, ok := errors.AsType[*edge.Error](err); ok {
		return failure.Code
	}
	return err
}
