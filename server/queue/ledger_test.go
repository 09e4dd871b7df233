package queue_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

// TestQueue_Ledger does what lanes and operators do, in random order, with
// crashes and stops in between, and compares with a model after each restart.
func TestQueue_Ledger(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: t, rt: rt, q: start(t, queue.Settings{}, 3)}
		for sink := range m.sinks {
			m.sinks[sink] = &modelSink{open: map[edge.Position]bool{}, dead: map[edge.Position]bool{}, leased: map[edge.Position]edge.Delivery{}}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"lease":   m.lease,
			"ack":     func(rt *rapid.T) { m.settle(rt, false) },
			"kill":    func(rt *rapid.T) { m.settle(rt, true) },
			"release": m.release,
			"requeue": m.requeue,
			"restart": m.restart,
			"":        func(*rapid.T) {},
		})
		m.compare()
		m.q.close(t)
	})
}

// model is what three sinks are owed, record by record.
type model struct {
	t        *testing.T
	rt       *rapid.T
	q        *running
	sinks    [3]*modelSink
	accepted int64
	unrouted int64
	device   int
}

type modelSink struct {
	owed, delivered int64
	open            map[edge.Position]bool
	dead            map[edge.Position]bool // true: requeued
	leased          map[edge.Position]edge.Delivery
}

func (m *model) append(rt *rapid.T) {
	sets := [][]edge.SinkID{nil, {1}, {2, 3}, {1, 2, 3}, {3}}
	entries := make([]edge.Entry, rapid.IntRange(1, 40).Draw(rt, "entries"))
	for i := range entries {
		m.device++
		record := edgetest.Record(edge.DeviceID(fmt.Sprintf("dev-%d", m.device%7)), m.device)
		entries[i] = edge.Entry{Record: record, Owed: rapid.SampledFrom(sets).Draw(rt, "owed")}
	}
	for i, receipt := range edgetest.Append(m.t, m.q, entries...) {
		m.accepted++
		if len(entries[i].Owed) == 0 {
			m.unrouted++
		}
		for _, sink := range entries[i].Owed {
			m.sinks[sink-1].owed++
			m.sinks[sink-1].open[receipt.Correlation.Position()] = true
		}
	}
}

func (m *model) draw(rt *rapid.T) (edge.SinkID, *modelSink) {
	sink := rapid.IntRange(1, 3).Draw(rt, "sink")
	return edge.SinkID(sink), m.sinks[sink-1]
}

func (m *model) lease(rt *rapid.T) {
	id, sink := m.draw(rt)
	due := len(sink.open) + len(sink.dead) - len(sink.leased)
	for _, requeued := range sink.dead {
		if !requeued {
			due--
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), edgetest.Patience)
	if due == 0 {
		ctx, cancel = context.WithTimeout(context.Background(), time.Millisecond)
	}
	defer cancel()
	limit := edge.LeaseLimit{Records: rapid.IntRange(1, 30).Draw(rt, "limit"), Bytes: 1 << 20}
	deliveries, err := m.q.Lease(ctx, id, limit)
	if due == 0 && !errors.Is(err, context.DeadlineExceeded) || due > 0 && (err != nil || len(deliveries) == 0) {
		rt.Fatalf("sink %d: leased %d, %v with %d due", id, len(deliveries), err, due)
	}
	for _, delivery := range deliveries {
		position := delivery.Record.Position
		_, twice := sink.leased[position]
		if requeued := sink.dead[position]; twice || requeued != (delivery.Kind == edge.Requeue) || !requeued && !sink.open[position] {
			rt.Fatalf("sink %d: leased %d as %v", id, position, delivery.Kind)
		}
		sink.leased[position] = delivery
	}
}

// some draws some of what is leased, in order of position.
func (m *model) some(rt *rapid.T, sink *modelSink) []edge.Delivery {
	var some []edge.Delivery
	for _, position := range slices.Sorted(keys(sink.leased)) {
		if rapid.Bool().Draw(rt, "take") {
			some = append(some, sink.leased[position])
		}
	}
	return some
}

func keys(leased map[edge.Position]edge.Delivery) func(func(edge.Position) bool) {
	return func(yield func(edge.Position) bool) {
		for position := range leased {
			if !yield(position) {
				return
			}
		}
	}
}

func (m *model) settle(rt *rapid.T, kill bool) {
	id, sink := m.draw(rt)
	some := m.some(rt, sink)
	if len(some) == 0 {
		return
	}
	if kill {
		m.q.kill(m.t, id, some)
	} else {
		m.q.ack(m.t, id, some)
	}
	for _, delivery := range some {
		position := delivery.Record.Position
		delete(sink.leased, position)
		delete(sink.open, position)
		delete(sink.dead, position)
		if kill {
			sink.dead[position] = false
			continue
		}
		sink.delivered++
	}
}

func (m *model) release(rt *rapid.T) {
	id, sink := m.draw(rt)
	some := m.some(rt, sink)
	m.q.Release(id, some)
	for _, delivery := range some {
		delete(sink.leased, delivery.Record.Position)
	}
}

func (m *model) requeue(rt *rapid.T) {
	id, sink := m.draw(rt)
	var keys []edge.DeadLetterKey
	for position, requeued := range sink.dead {
		if !requeued && len(keys) < 5 {
			keys = append(keys, key(id, position))
		}
	}
	slices.SortFunc(keys, func(a, b edge.DeadLetterKey) int { return cmp.Compare(a.Position, b.Position) })
	if count, err := m.q.RequeueKeys(m.t.Context(), keys, false); err != nil || count != len(keys) {
		rt.Fatalf("requeued %d of %d, %v", count, len(keys), err)
	}
	for _, key := range keys {
		sink.dead[key.Position] = true
	}
}

func (m *model) restart(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "crash") {
		m.compare() // and by the way wait until all is saved
		crashed := m.q
		m.q = start(m.t, queue.Settings{Path: crashed.crash(m.t)}, 3)
		crashed.close(m.t)
	} else {
		m.q = m.q.restart(m.t, 3)
	}
	for _, sink := range m.sinks {
		clear(sink.leased)
	}
	m.compare()
}

// compare holds the counters, the file and the model against one another.
func (m *model) compare() {
	recount := m.q.recount(m.t)
	if recount.Stored != m.accepted || recount.Unrouted != m.unrouted {
		m.rt.Fatalf("stored %d, unrouted %d; want %d and %d", recount.Stored, recount.Unrouted, m.accepted, m.unrouted)
	}
	stats := m.q.Stats()
	if stats.Accepted != m.accepted || stats.Unrouted != m.unrouted {
		m.rt.Fatalf("accepted %d, unrouted %d; want %d and %d", stats.Accepted, stats.Unrouted, m.accepted, m.unrouted)
	}
	for i, sink := range m.sinks {
		requeued := int64(0)
		for _, waits := range sink.dead {
			if waits {
				requeued++
			}
		}
		want := edge.SinkStats{Owed: sink.owed, Delivered: sink.delivered, Dead: int64(len(sink.dead)), Pending: int64(len(sink.open)), Requeueing: requeued}
		got := stats.Sinks[i]
		got = edge.SinkStats{Owed: got.Owed, Delivered: got.Delivered, Dead: got.Dead, Pending: got.Pending, Requeueing: got.Requeueing}
		if diff := gocmp.Diff(want, got); diff != "" {
			m.rt.Fatalf("sink %d: %s", i+1, diff)
		}
	}
}
