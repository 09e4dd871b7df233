package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
)

// lease expects exactly the first deliveries that are due.
func (m *machine) lease(t *rapid.T, sink edge.SinkID) {
	for range rapid.IntRange(1, 3).Draw(t, "leases") {
		m.leaseSome(t, sink, rapid.SampledFrom([]int{1, 1, 2, 5, 100}).Draw(t, "records"))
	}
}

// deliver brings everything to a sink that is due or leased.
func (m *machine) deliver(t *rapid.T, sink edge.SinkID) {
	lane := m.model.lanes[sink]
	for batches := len(lane.sealed); batches >= 0; batches-- {
		m.leaseSome(t, sink, edge.MaxLeased)
	}
	all := m.leased[sink]
	m.leased[sink] = nil
	if len(all) == 0 {
		return // it expired a moment ago
	}
	slices.SortFunc(all, byPosition)
	m.settleAs(t, sink, lane, edge.Settlement{Attempt: attempt(all, edge.Delivered), Acked: all})
}

func (m *machine) leaseSome(t *rapid.T, sink edge.SinkID, records int) {
	lane := m.model.lanes[sink]
	requeued, live := lane.due()
	want := slices.Concat(requeued, live)
	want = want[:min(len(want), records)]
	sealed := lane.sealedDue()
	if sealed != nil {
		requeued, want = nil, sealed
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	got, err := m.queue.Lease(ctx, sink, edge.LeaseLimit{Records: records, Bytes: 1 << 20})
	if len(want) == 0 {
		defer m.observe(t) // time has passed
		if len(got) > 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("sink %d: leased %v, %v; want nothing due", sink, queue.PositionsOf(got), err)
		}
		return
	}
	if err != nil || !slices.Equal(queue.PositionsOf(got), want) {
		t.Fatalf("sink %d: leased %v, %v; want %v", sink, queue.PositionsOf(got), err, want)
	}
	for i := range got {
		kind := edge.Live
		if i < len(requeued) {
			kind = edge.Requeue
		}
		if got[i].Kind != kind || got[i].Sealed != (sealed != nil) {
			t.Fatalf("sink %d: position %d is %v, sealed: %v; want %v, sealed: %v", sink, want[i], got[i].Kind, got[i].Sealed, kind, sealed != nil)
		}
		m.sameRecord(t, &got[i].Record)
		lane.lease(want[i], kind)
	}
	m.leased[sink] = append(m.leased[sink], got...)
}

// drawLeased takes some of what is leased out of the machine's hands, at least
// one.
func (m *machine) drawLeased(t *rapid.T, sink edge.SinkID, wanted func(*edge.Delivery) bool) (taken []edge.Delivery) {
	var kept []edge.Delivery
	first := rapid.Bool().Draw(t, "first")
	for _, delivery := range m.leased[sink] {
		if wanted(&delivery) && (first && len(taken) == 0 || rapid.Bool().Draw(t, "taken")) {
			taken = append(taken, delivery)
		} else {
			kept = append(kept, delivery)
		}
	}
	if index := slices.IndexFunc(kept, func(delivery edge.Delivery) bool { return wanted(&delivery) }); len(taken) == 0 {
		taken, kept = append(taken, kept[index]), slices.Delete(kept, index, index+1)
	}
	m.leased[sink] = kept
	return taken
}

func anyKind(*edge.Delivery) bool { return true }

// isLive reports whether a delivery is none of a requeued dead letter.
func isLive(delivery *edge.Delivery) bool { return delivery.Kind != edge.Requeue }

func (m *machine) isDue(sink edge.SinkID) bool {
	requeued, live := m.model.lanes[sink].due()
	return m.isServed(sink) && len(requeued)+len(live) > 0
}

func (m *machine) hasLeased(sink edge.SinkID) bool     { return len(m.leased[sink]) > 0 }
func (m *machine) hasBegun(sink edge.SinkID) bool      { return len(m.begun[sink]) > 0 }
func (m *machine) isDueOrLeased(sink edge.SinkID) bool { return m.isDue(sink) || m.hasLeased(sink) }

func (m *machine) hasLive(sink edge.SinkID) bool {
	return slices.ContainsFunc(m.leased[sink], func(delivery edge.Delivery) bool { return isLive(&delivery) })
}

func (m *machine) hasForeign(sink edge.SinkID) bool {
	return len(m.model.records) > int(m.model.lanes[sink].count(edge.InFlight))
}

// hasLetters reports whether a lane could get dead letters again.
func (m *machine) hasLetters(sink edge.SinkID) bool {
	for _, letter := range m.model.lanes[sink].letters {
		if !letter.requeued {
			return m.isServed(sink)
		}
	}
	return false
}

// settle decides some of what is leased.
func (m *machine) settle(t *rapid.T, sink edge.SinkID) {
	m.settleTaken(t, sink, m.drawLeased(t, sink, anyKind))
}

// begin sends some of what is leased on its way, and with it what was given up
// since it was leased: the queue takes that out.
func (m *machine) begin(t *rapid.T, sink edge.SinkID) {
	batch := m.withBatches(sink, m.drawLeased(t, sink, isLive))
	slices.SortFunc(batch, byPosition)
	got := m.queue.Begin(sink, slices.Concat(m.stale[sink], batch))
	if !slices.Equal(queue.PositionsOf(got), queue.PositionsOf(batch)) {
		t.Fatalf("sink %d: began %v, want %v without %v", sink, queue.PositionsOf(got), queue.PositionsOf(batch), queue.PositionsOf(m.stale[sink]))
	}
	m.begun[sink], m.stale[sink] = append(m.begun[sink], batch), nil
}

func byPosition(a, b edge.Delivery) int { return int(a.Record.Position - b.Record.Position) }

// endAttempt settles what was under way, or gives it back.
func (m *machine) endAttempt(t *rapid.T, sink edge.SinkID) {
	batch := m.begun[sink][0]
	m.begun[sink] = m.begun[sink][1:]
	if rapid.Bool().Draw(t, "settled") {
		m.settleTaken(t, sink, batch)
		return
	}
	m.releaseTaken(sink, batch)
}

func (m *machine) settleTaken(t *rapid.T, sink edge.SinkID, taken []edge.Delivery) {
	lane := m.model.lanes[sink]
	slices.SortFunc(taken, byPosition) // an attempt covers what lies between its first and last
	settlement := edge.Settlement{Attempt: attempt(taken, edge.Delivered)}
	for _, delivery := range taken {
		if rapid.Bool().Draw(t, "acked") {
			settlement.Acked = append(settlement.Acked, delivery)
			continue
		}
		reason := rapid.SampledFrom(edge.DeathReasons[:]).Draw(t, "reason")
		settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: reason, Status: "422", Excerpt: "no"})
	}
	m.settleAs(t, sink, lane, settlement)
}

func (m *machine) settleAs(t *rapid.T, sink edge.SinkID, lane *modelLane, settlement edge.Settlement) {
	if err := m.queue.Settle(context.Background(), sink, settlement); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	lane.settle(&settlement)
	synctest.Wait()
}

// settleForeign settles what is not leased, which must change nothing.
func (m *machine) settleForeign(t *rapid.T, sink edge.SinkID) {
	var others []edge.Position
	for i := range m.model.records {
		if position := edge.Position(i + 1); m.model.lanes[sink].states[position] != edge.InFlight {
			others = append(others, position)
		}
	}
	foreign := edge.Delivery{Record: m.model.at(rapid.SampledFrom(others).Draw(t, "position")).record}
	acked := append(slices.Clone(m.leased[sink]), foreign)
	if err := m.queue.Settle(context.Background(), sink, edge.Settlement{Attempt: attempt(acked, edge.Delivered), Acked: acked}); err == nil {
		t.Fatalf("sink %d: position %d was settled, but it is not leased", sink, foreign.Record.Position)
	}
}

// release gives back some of what is leased, in any order.
func (m *machine) release(t *rapid.T, sink edge.SinkID) {
	taken := m.withBatches(sink, m.drawLeased(t, sink, anyKind))
	indexes := make([]int, len(taken))
	for i := range indexes {
		indexes[i] = i
	}
	mixed := make([]edge.Delivery, 0, len(taken))
	for _, index := range rapid.Permutation(indexes).Draw(t, "order") { // rapid prints what is drawn, and cannot read lines of 64 KiB again
		mixed = append(mixed, taken[index])
	}
	m.releaseTaken(sink, mixed)
}

func (m *machine) releaseTaken(sink edge.SinkID, taken []edge.Delivery) {
	lane := m.model.lanes[sink]
	m.queue.Release(sink, taken)
	for _, delivery := range taken {
		lane.release(delivery.Record.Position, delivery.Kind)
	}
}

// requeue sends some dead letters back.
func (m *machine) requeue(t *rapid.T, sink edge.SinkID) {
	lane := m.model.lanes[sink]
	// What was settled is saved first, and then others may have to go.
	if _, err := m.queue.DeadLetters(context.Background(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 0); err != nil {
		t.Fatalf("DeadLetters: %v", err)
	}
	m.model.saved()
	if m.observe(t); !m.hasLetters(sink) {
		return
	}
	var keys []edge.DeadLetterKey
	want := 0
	for position := range edge.Position(len(m.model.records) + 1) {
		letter, dead := lane.letters[position]
		if !dead || !rapid.Bool().Draw(t, "requeued") && (want > 0 || letter.requeued) {
			continue
		}
		keys = append(keys, edge.DeadLetterKey{Sink: sink, Position: position})
		if !letter.requeued {
			letter.requeued = true
			lane.letters[position] = letter
			want++
		}
	}
	got, err := m.queue.RequeueKeys(context.Background(), keys, false)
	if err != nil || got != want {
		t.Fatalf("sink %d: requeued %d, %v; want %d", sink, got, err, want)
	}
}
