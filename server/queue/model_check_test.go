package queue_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
)

// figure is the account of one sink.
type figure struct{ owed, delivered, dead, discarded, expired, pending, inFlight, requeueing int64 }

func figures(s modelState) figure {
	f := figure{
		owed: int64(len(s.states)), delivered: s.delivered, dead: int64(len(s.letters)),
		inFlight: s.count(edge.InFlight), discarded: s.count(edge.Discarded), expired: s.count(edge.Expired),
	}
	f.pending = f.owed - f.delivered - f.dead - f.discarded - f.expired
	for _, letter := range s.letters {
		if letter.requeued {
			f.requeueing++
		}
	}
	return f
}

func sinkFigures(s *edge.SinkStats) figure {
	return figure{
		owed: s.Owed, delivered: s.Delivered, dead: s.Dead, discarded: s.Discarded, expired: s.Expired,
		pending: s.Pending, inFlight: s.InFlight, requeueing: s.Requeueing,
	}
}

// check compares the figures, which costs little and saves nothing.
func (m *machine) check(t *rapid.T) {
	stats := m.observe(t)
	unrouted := int64(0)
	for i := range m.model.records {
		if len(m.model.records[i].owed) == 0 {
			unrouted++
		}
	}
	got := fmt.Sprint(stats.Head, stats.Accepted, stats.Unrouted, stats.IngressRefused)
	if want := fmt.Sprint(len(m.model.records), len(m.model.records), unrouted, len(m.model.refused)); got != want {
		t.Fatalf("head, accepted, unrouted, refused: got %s, want %s", got, want)
	}
	for _, sink := range stats.All() {
		lane := m.model.lanes[sink.ID]
		if got, want := sinkFigures(&sink), figures(lane.modelState); got != want {
			t.Fatalf("sink %d: got %+v, want %+v", sink.ID, got, want)
		}
		if diff := cmp.Diff([]map[string]int64{lane.reasons(), lane.ever}, []map[string]int64{withoutZeros(sink.DeadByReason), sink.DeadEverByReason}); diff != "" {
			t.Fatalf("sink %d: dead letters by reason: %s", sink.ID, diff)
		}
		if sink.Name != lane.name || sink.Removed == lane.removedAt.IsZero() {
			t.Fatalf("sink %d is %q, removed: %v; want %q, removed since %v", sink.ID, sink.Name, sink.Removed, lane.name, lane.removedAt)
		}
	}
	for _, sink := range stats.Ended {
		if !sink.Removed || sink.Pending+sink.Dead > 0 {
			t.Fatalf("sink %d has ended: %+v", sink.ID, sink)
		}
	}
	if got := len(stats.Sinks) + len(stats.Ended); got != len(m.model.lanes) {
		t.Fatalf("%d sinks, want %d", got, len(m.model.lanes))
	}
}

// reasons counts the dead letters by reason.
func (s modelState) reasons() map[string]int64 {
	counts := map[string]int64{}
	for _, letter := range s.letters {
		counts[letter.reason]++
	}
	return counts
}

func withoutZeros(counts map[string]int64) map[string]int64 {
	maps.DeleteFunc(counts, func(_ string, count int64) bool { return count == 0 })
	return counts
}

// journeysMost is about how many records are asked for one by one.
const journeysMost = 60

// checkEverything compares every record and dead letter, what was lost, and the
// ledger with the file.
func (m *machine) checkEverything(t *rapid.T) {
	// A look saves what was settled, and what is saved may show that a sink's
	// backlog has grown too large: then more is given up.
	for expired := int64(-1); expired != m.model.expired(); {
		expired = m.model.expired()
		recount, err := m.queue.Recount(context.Background())
		if err != nil || !recount.Balanced() {
			t.Fatalf("the ledger does not balance: %+v, %v", recount, err)
		}
		m.model.saved() // for the recount
		m.observe(t)
	}
	m.checkRecords(t)
	m.checkLetters(t)
	for sink, lane := range m.model.lanes {
		m.checkLosses(t, sink, lane)
	}
}

// checkRecords reads everything that is stored: from the oldest record on all
// must be there, and below it nothing that somebody may still need.
func (m *machine) checkRecords(t *rapid.T) {
	count := edge.Position(len(m.model.records))
	oldest := m.queue.Stats().Oldest
	var stored []edge.Record
	if oldest == 0 {
		oldest = count + 1
	} else {
		var err error
		if stored, _, err = m.queue.Read(context.Background(), oldest-1, int(count)); err != nil || len(stored) != int(count-oldest)+1 {
			t.Fatalf("%d records are stored, from %d to %d: %v", len(stored), oldest, count, err)
		}
	}
	for i := range stored {
		if stored[i].Position != oldest+edge.Position(i) {
			t.Fatalf("record %d is read in the place of %d", stored[i].Position, int(oldest)+i)
		}
		m.sameRecord(t, &stored[i])
	}
	for position := range oldest - 1 {
		m.checkGone(t, position+1)
	}
	m.total.add("removed by retention", int(oldest-1))
	for i := 0; i < len(m.model.records); i += 1 + len(m.model.records)/journeysMost {
		m.checkJourney(t, &m.model.records[i], m.model.records[i].record.Position < oldest)
	}
	if int(oldest) <= len(m.model.records) {
		m.checkJourney(t, m.model.at(oldest), false)
	}
}

// checkGone judges that a record is no longer kept.
func (m *machine) checkGone(t *rapid.T, position edge.Position) {
	age, limit := time.Since(m.model.at(position).committed), m.model.limits.deliveredBytes
	due := age > modelRetention || limit > 0 && m.model.roomMost(position) >= limit
	if !due || !m.model.settledEverywhere(position) {
		t.Fatalf("record %d is gone, after %v", position, age)
	}
}

// checkJourney finds one record where the model has it. Of one that is gone there
// is at most what is in the cache, and its dead letters.
func (m *machine) checkJourney(t *rapid.T, stored *modelRecord, gone bool) {
	position := stored.record.Position
	var want []edge.Stage
	for sink := range edge.SinkID(len(m.model.lanes)) {
		lane := m.model.lanes[sink+1]
		state, owed := lane.states[position]
		letter, dead := lane.letters[position]
		switch {
		case letter.leased:
			state = edge.InFlight
		case letter.requeued:
			state = edge.Enqueued
		case dead:
			state = edge.Dead
		}
		if owed {
			want = append(want, edge.Stage{Sink: sink + 1, State: state})
		}
	}
	journey, err := m.queue.Journey(context.Background(), stored.record.Correlation)
	if gone && journey.Frame == 0 {
		want = slices.DeleteFunc(want, func(stage edge.Stage) bool {
			return stage.State == edge.Acked || stage.State == edge.Expired || stage.State == edge.Discarded
		})
		if len(want) == 0 && code(err) == edge.NotFound {
			return
		}
	}
	if err != nil {
		t.Fatalf("the journey of record %d: %v", position, err)
	}
	m.sameRecord(t, &journey.Record)
	for i := range min(len(want), len(journey.Sinks)) {
		m.allowGuess(&want[i], &journey.Sinks[i], stored)
	}
	if diff := cmp.Diff(want, journey.Sinks, cmpopts.IgnoreFields(edge.Stage{}, "Attempts")); diff != "" {
		t.Fatalf("the journey of record %d: %s", position, diff)
	}
	if journey.Frame > 0 {
		m.checkFrame(t, &journey)
	}
}

// allowGuess takes the word of a journey of a lost record where it cannot know
// better: it knows attempts and stretches, which both also cover what lies
// between their members.
func (m *machine) allowGuess(want, got *edge.Stage, stored *modelRecord) {
	lane := m.model.lanes[want.Sink]
	if want.State != edge.Expired && want.State != edge.Discarded {
		return
	}
	covered := slices.ContainsFunc(lane.attempts, func(attempt edge.Attempt) bool {
		return attempt.Covers(stored.record.Position, stored.record.Device)
	})
	both := lane.count(edge.Expired) > 0 && lane.count(edge.Discarded) > 0
	if got.State == edge.Acked && covered || both && (got.State == edge.Expired || got.State == edge.Discarded) {
		want.State = got.State
	}
}

// checkFrame judges where a frame begins and ends, and its age: it holds whole
// commits, is as old as the last of them, and they are not far apart.
func (m *machine) checkFrame(t *rapid.T, journey *edge.Journey) {
	first, last := m.model.at(journey.Frame), m.model.at(journey.Frame+edge.Position(journey.Records)-1)
	if first.first != journey.Frame || last.last != last.record.Position || !journey.CommittedAt.Equal(last.committed.Truncate(time.Microsecond)) {
		t.Fatalf("frame %d of %d records is from %v; its last commit is %d to %d, from %v",
			journey.Frame, journey.Records, journey.CommittedAt, last.first, last.last, last.committed)
	}
	if apart := last.committed.Sub(first.committed); apart > mergedWithin {
		t.Fatalf("frame %d holds records that are %v apart", journey.Frame, apart)
	}
	if first.first != last.first {
		m.total.add("merged frame", 1)
	}
}

// lost is what one kind of loss comes to.
type lost struct {
	count         int64
	first, last   edge.Position
	received      [2]time.Time // first and last
	devices       map[edge.DeviceID]int64
	unknownReason bool
}

func (l *lost) cover(first, last edge.Position, firstReceived, lastReceived time.Time, count int64) {
	if l.count == 0 || first < l.first {
		l.first = first
	}
	l.last = max(l.last, last)
	if l.count == 0 || firstReceived.Before(l.received[0]) {
		l.received[0] = firstReceived
	}
	if lastReceived.After(l.received[1]) {
		l.received[1] = lastReceived
	}
	l.count += count
}

// checkLosses holds the loss report of a sink against what the model gave up.
func (m *machine) checkLosses(t *rapid.T, sink edge.SinkID, lane *modelLane) {
	stretches, err := m.queue.Losses(context.Background(), edge.LossFilter{Sinks: []edge.SinkID{sink}}, 0, 1<<20)
	if err != nil {
		t.Fatalf("Losses: %v", err)
	}
	got, want := map[edge.LossKind]*lost{}, map[edge.LossKind]*lost{}
	for _, stretch := range stretches {
		sum := got[stretch.Kind]
		if sum == nil {
			sum = &lost{devices: map[edge.DeviceID]int64{}}
			got[stretch.Kind] = sum
		}
		sum.cover(stretch.First, stretch.Last, stretch.FirstReceived, stretch.LastReceived, stretch.Count)
		for _, device := range stretch.Devices {
			sum.devices[device.Device] += device.Count
		}
		sum.unknownReason = sum.unknownReason || !m.explains(lane, &stretch)
	}
	for position, state := range lane.states {
		kind, isLost := map[edge.State]edge.LossKind{edge.Expired: edge.LossExpired, edge.Discarded: edge.LossDiscarded}[state]
		if !isLost {
			continue
		}
		sum := want[kind]
		if sum == nil {
			sum = &lost{devices: map[edge.DeviceID]int64{}}
			want[kind] = sum
		}
		record := &m.model.at(position).record
		sum.cover(position, position, record.ReceivedAt, record.ReceivedAt, 1)
		sum.devices[record.Device]++
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(lost{})); diff != "" {
		t.Fatalf("the losses of sink %d: %s", sink, diff)
	}
}

// explains reports whether a stretch has a reason that somebody has set, and
// begins and ends with records that were lost.
func (m *machine) explains(lane *modelLane, stretch *edge.Loss) bool {
	state := edge.Expired
	reasons := map[string]bool{
		edge.LossUndelivered: m.model.limits.undelivered > 0, edge.LossTTL: lane.limits.TTL > 0, edge.LossMaxLag: lane.limits.MaxLagBytes > 0, edge.LossEvicted: lane.limits.MaxLagBytes > 0,
	}
	if stretch.Kind == edge.LossDiscarded {
		state = edge.Discarded
		reasons = map[string]bool{edge.LossOperator: lane.actor != "", edge.LossSinkRemoved: lane.actor == "" && lane.deleted}
	}
	return reasons[stretch.Reason] && stretch.Actor == lane.actorOf(stretch.Kind) && stretch.SinkName == lane.name &&
		lane.states[stretch.First] == state && lane.states[stretch.Last] == state
}

// actorOf returns who gives up what goes by a kind of loss.
func (l *modelLane) actorOf(kind edge.LossKind) string {
	if kind == edge.LossDiscarded {
		return l.actor
	}
	return ""
}

// checkLetters lists the dead letters of every sink, and of ingress.
func (m *machine) checkLetters(t *rapid.T) {
	var got, want []string
	letters, err := m.queue.DeadLetters(context.Background(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1<<20)
	if err != nil {
		t.Fatalf("DeadLetters: %v", err)
	}
	for i := range letters {
		letter := &letters[i]
		if letter.Sink != edge.Ingress {
			m.sameRecord(t, &letter.Record)
		}
		got = append(got, fmt.Sprintf("%d/%d %s %v %s", letter.Sink, letter.Record.Position, letter.Reason, letter.Requeued, letter.Record.Payload))
	}
	for i := range m.model.refused {
		entry := &m.model.refused[i]
		want = append(want, fmt.Sprintf("0/%d %s false %s", i+1, entry.Refusal.Reason, entry.Record.Payload))
	}
	for sink := range edge.SinkID(len(m.model.lanes)) {
		for position := range edge.Position(len(m.model.records) + 1) {
			if letter, dead := m.model.lanes[sink+1].letters[position]; dead {
				payload := m.model.records[position-1].record.Payload
				want = append(want, fmt.Sprintf("%d/%d %s %v %s", sink+1, position, letter.reason, letter.requeued, payload))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("dead letters: %s", diff)
	}
}

// sameRecord compares a record with the one that was appended at its position.
func (m *machine) sameRecord(t *rapid.T, got *edge.Record) {
	want := &m.model.records[got.Position-1].record
	if reflect.DeepEqual(want, got) { // cmp takes its time, and most are equal
		return
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(edge.Identity{}, "Explicit")); diff != "" {
		t.Fatalf("record %d: %s", got.Position, diff)
	}
}
