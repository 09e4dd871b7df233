package queue_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

// waiting lists what a limit takes next, in order: what is owed and not decided,
// except what is under way.
func (s modelState) waiting(underWay map[edge.Position]bool) (waiting []edge.Position) {
	for _, position := range slices.Sorted(maps.Keys(s.states)) {
		if state := s.states[position]; (state == edge.Enqueued || state == edge.InFlight) && !underWay[position] {
			waiting = append(waiting, position)
		}
	}
	return waiting
}

// lose gives records up.
func (s *modelState) lose(positions []edge.Position, as edge.State) {
	s.unseal(positions...)
	for _, position := range positions {
		s.states[position] = as
	}
}

// discard gives up everything that a deleted sink is owed, and its dead letters.
func (s *modelState) discard() {
	s.lose(s.waiting(nil), edge.Discarded)
	s.lose(slices.Collect(maps.Keys(s.letters)), edge.Discarded)
	clear(s.letters)
}

// underWay is what attempts carry at the moment.
func (m *machine) underWay(sink edge.SinkID) map[edge.Position]bool {
	carried := map[edge.Position]bool{}
	for _, batch := range m.begun[sink] {
		for _, position := range queue.PositionsOf(batch) {
			carried[position] = true
		}
	}
	return carried
}

// limitsOf returns the limits that a sink has now.
func (m *model) limitsOf(lane *modelLane) (ages []time.Duration, lag int64) {
	ages = append(ages, m.limits.undelivered)
	if lane.removedAt.IsZero() {
		ages, lag = append(ages, lane.limits.TTL), lane.limits.MaxLagBytes
	}
	return slices.DeleteFunc(ages, func(age time.Duration) bool { return age == 0 }), lag
}

// over reports whether some limit lets a record be given up.
func (m *model) over(lane *modelLane, position edge.Position) bool {
	ages, lag := m.limitsOf(lane)
	age := time.Since(m.at(position).committed)
	return slices.ContainsFunc(ages, func(limit time.Duration) bool { return age > limit }) || lag > 0 && m.roomMost(position) >= lag
}

// roomMost is at least what the records behind a position take in the file.
func (m *model) roomMost(position edge.Position) (bytes int64) {
	for i := range m.records[position:] {
		bytes += 3 * int64(len(m.records[int(position)+i].record.Payload)+200)
	}
	return bytes
}

// roomLeast is at most that: what cannot be compressed, behind the commit of the
// record.
func (m *model) roomLeast(position edge.Position) (bytes int64) {
	for _, behind := range m.records[m.at(position).last:] {
		if len(behind.record.Payload) >= noisePayload {
			bytes += int64(len(behind.record.Payload))
		}
	}
	return bytes
}

// lettersMost is at least what dead letters take in the file, and what waits for their
// sink with them.
func (m *model) lettersMost(s *modelState) (bytes int64) {
	for position := range s.letters {
		bytes += int64(len(m.at(position).record.Payload)) + 500
	}
	if waiting := s.waiting(nil); len(waiting) > 0 {
		bytes += m.roomMost(waiting[0]-1) + 64<<10 // the sizes of frames are known by segments
	}
	return bytes
}

// lettersLeast is at most what the dead letters take that can go.
func (m *model) lettersLeast(s *modelState) (bytes int64) {
	for position, letter := range s.letters {
		if size := len(m.at(position).record.Payload); !letter.requeued && size >= noisePayload {
			bytes += int64(size)
		}
	}
	return bytes
}

// evict gives up the dead letters that the queue says it has evicted: the oldest that
// nobody has requeued.
func (m *machine) evict(lane *modelLane, state *modelState, sink *edge.SinkStats) (count int, err error) {
	count = int(sink.LostByReason[edge.LossExpired][edge.LossEvicted] - state.evicted)
	var kept []edge.Position
	for _, position := range slices.Sorted(maps.Keys(state.letters)) {
		if !state.letters[position].requeued {
			kept = append(kept, position)
		}
	}
	if count < 0 || count > len(kept) {
		return 0, fmt.Errorf("%d dead letters were evicted of %v", count, kept)
	}
	_, limit := m.model.limitsOf(lane)
	for _, position := range kept[:count] {
		if most := m.model.lettersMost(state); limit == 0 || most < limit {
			return 0, fmt.Errorf("dead letter %d was evicted, and there were %d bytes at most", position, most)
		}
		delete(state.letters, position)
		state.states[position] = edge.Expired
	}
	state.evicted += int64(count)
	return count, nil
}

// catchUp gives up in the model what the queue says that it has given up: the oldest
// dead letters, and the oldest that are waiting. It fails when that is too early.
func (m *machine) catchUp(lane *modelLane, state *modelState, sink *edge.SinkStats) error {
	if _, err := m.evict(lane, state, sink); err != nil {
		return err
	}
	count := int(sink.Expired - state.count(edge.Expired))
	waiting := state.waiting(m.underWay(sink.ID))
	if count < 0 || count > len(waiting) {
		return fmt.Errorf("%d records have expired of %d that wait: %v", count, len(waiting), waiting)
	}
	for _, position := range waiting[:count] {
		if !m.model.over(lane, position) {
			return fmt.Errorf("record %d has expired after %v", position, time.Since(m.model.at(position).committed))
		}
	}
	state.lose(waiting[:count], edge.Expired)
	if sink.Discarded == state.count(edge.Discarded) {
		return nil
	}
	if since := time.Since(lane.removedAt); lane.removedAt.IsZero() || m.model.limits.removedSink == 0 || since <= m.model.limits.removedSink {
		return fmt.Errorf("%d records are discarded", sink.Discarded)
	}
	state.discard()
	return nil
}

// expired counts what was given up by a limit, for all sinks.
func (m *model) expired() (count int64) {
	for _, lane := range m.lanes {
		count += lane.count(edge.Expired)
	}
	return count
}

// observe finds out what was given up since the last look, and judges it.
func (m *machine) observe(t *rapid.T) edge.QueueStats {
	synctest.Wait()
	stats := m.queue.Stats()
	m.observeIn(t, &stats)
	return stats
}

func (m *machine) observeIn(t *rapid.T, stats *edge.QueueStats) {
	for _, sink := range stats.All() {
		lane := m.model.lanes[sink.ID]
		evicted, err := m.evict(lane, &lane.modelState, &sink)
		if err != nil {
			t.Fatalf("sink %d, limits %+v: %v", sink.ID, lane.limits, err)
		}
		if evicted > 0 { // on disk with what was settled before
			lane.unsaved = nil
			m.total.add("dead letters evicted", evicted)
		}
		before := lane.clone()
		if err := m.catchUp(lane, &lane.modelState, &sink); err != nil {
			t.Fatalf("sink %d, limits %+v and %+v: %v", sink.ID, m.model.limits, lane.limits, err)
		}
		if sink.Expired > before.count(edge.Expired) { // not on disk yet
			lane.unsaved = append(lane.unsaved, before)
			m.total.add("expired", int(sink.Expired-before.count(edge.Expired)))
		}
		if sink.Discarded > before.count(edge.Discarded) { // on disk with what was settled before
			lane.unsaved = nil
			m.total.add("discarded by a policy", int(sink.Discarded-before.count(edge.Discarded)))
			m.total.add("dead letters discarded", len(before.letters))
		}
		m.dropLost(sink.ID, lane)
	}
	for _, sink := range stats.Ended {
		m.model.lanes[sink.ID].deleted = sink.Deleted
	}
}

// dropLost takes what was given up out of the machine's hands.
func (m *machine) dropLost(sink edge.SinkID, lane *modelLane) {
	m.leased[sink] = slices.DeleteFunc(m.leased[sink], func(delivery edge.Delivery) bool {
		if delivery.Kind == edge.Requeue || lane.states[delivery.Record.Position] == edge.InFlight {
			return false
		}
		m.stale[sink] = append(m.stale[sink], delivery)
		m.total.add("expired while leased", 1)
		return true
	})
}

// mergedWithin is how far apart the records of a frame are at most.
const mergedWithin = 10 * time.Minute

// checkOverdue fails when something that had a second to be given up is still
// there. A frame is as old as its newest record.
func (m *machine) checkOverdue(t *rapid.T, stats *edge.QueueStats) {
	for _, sink := range stats.All() {
		lane := m.model.lanes[sink.ID]
		if limit := m.model.limits.removedSink; sink.Removed && !sink.Deleted && limit > 0 && time.Since(lane.removedAt) > limit+time.Second {
			t.Fatalf("sink %d was removed %v ago, and is not deleted", sink.ID, time.Since(lane.removedAt))
		}
		if _, limit := m.model.limitsOf(lane); limit > 0 && m.model.lettersLeast(&lane.modelState) > limit {
			t.Fatalf("sink %d: its dead letters take %d bytes and more, the limit is %d", sink.ID, m.model.lettersLeast(&lane.modelState), limit)
		}
		waiting := lane.waiting(nil)
		if len(waiting) == 0 || len(m.begun[sink.ID]) > 0 {
			continue
		}
		ages, lag := m.model.limitsOf(lane)
		for _, limit := range ages {
			age := time.Since(m.model.at(waiting[0]).committed)
			if sink.OldestAge > limit+time.Second || age > limit+mergedWithin+time.Second {
				t.Fatalf("sink %d: record %d is %v old, its frame %v, and still waits: the limit is %v", sink.ID, waiting[0], age, sink.OldestAge, limit)
			}
		}
		// The bytes of the file are known by segments, which end with a frame.
		if behind := m.model.roomLeast(waiting[0]); lag > 0 && behind > lag+256<<10 {
			t.Fatalf("sink %d: record %d waits with %d bytes behind it, the limit is %d", sink.ID, waiting[0], behind, lag)
		}
	}
}

// appendAndMerge appends a trickle, and something large behind it: then nothing
// more fits, and what is small is merged once it is some seconds old.
func (m *machine) appendAndMerge(t *rapid.T, _ edge.SinkID) {
	first := len(m.model.records)
	for range rapid.IntRange(2, 6).Draw(t, "small") {
		m.appendEntries(t, m.newEntry(t))
	}
	last := len(m.model.records)
	large := m.newEntry(t)
	large.Record.Payload = slices.Repeat([]byte("larger "), 2000)
	m.appendEntries(t, large)
	m.appendEntries(t, m.newEntry(t))
	m.sleep(t, 8*time.Second)
	if rapid.Bool().Draw(t, "crash") { // until then the frames of the commits are in the cache
		m.crash(t, edge.Ingress)
	} else {
		m.restart(t, edge.Ingress)
	}
	begins, ends := m.frameOf(t, first)
	if begins <= first && ends < last { // with what was there before it was all that fits: the rest is one more
		begins, ends = m.frameOf(t, ends)
	}
	if ends < last {
		t.Fatalf("records %d to %d: the last frame looked at holds %d to %d; want them merged", first+1, last, begins, ends)
	}
}

// frameOf returns the first and the last record of the frame that holds the record with
// an index.
func (m *machine) frameOf(t *rapid.T, index int) (first, last int) {
	journey, err := m.queue.Journey(context.Background(), m.model.records[index].record.Correlation)
	if err != nil {
		t.Fatalf("the journey of record %d: %v", index+1, err)
	}
	return int(journey.Frame), int(journey.Frame) + journey.Records - 1
}

// newEntry is an entry of a new message, owed to some of the sinks.
func (m *machine) newEntry(t *rapid.T) edge.Entry {
	m.sent++
	return edge.Entry{Owed: m.drawOwed(t), Record: edgetest.Record(rapid.SampledFrom(modelDevices).Draw(t, "device"), m.sent)}
}

// ensureSinks has the queue serve every sink that is not removed.
func (m *machine) ensureSinks(t *rapid.T, start edge.Start) {
	var served []queue.SinkSpec
	var want []edge.SinkID
	for sink := range edge.SinkID(len(m.model.lanes)) {
		if lane := m.model.lanes[sink+1]; lane.removedAt.IsZero() {
			served = append(served, queue.SinkSpec{Name: lane.name, Kind: "test", Limits: lane.limits, Start: start})
			want = append(want, sink+1)
		}
	}
	ids, err := m.queue.EnsureSinks(context.Background(), served)
	if err != nil || !slices.Equal(ids, want) {
		t.Fatalf("EnsureSinks(%+v): %v, %v; want %v", served, ids, err, want)
	}
}

const sinksMost = 5

func (m *machine) canAdd(sink edge.SinkID) bool {
	return int(sink) == len(m.model.lanes) && sink < sinksMost
}

// addSink adds a sink that begins with what is still stored, or now. The name of
// a deleted one is free.
func (m *machine) addSink(t *rapid.T, last edge.SinkID) {
	lane := newModelLane(fmt.Sprintf("sink-%d", last+1), drawLimits(t))
	for _, old := range m.model.lanes {
		if taken := func(other *modelLane) bool { return other.name == old.name && !other.deleted }; old.deleted && !slices.ContainsFunc(slices.Collect(maps.Values(m.model.lanes)), taken) {
			lane.name = max(lane.name, old.name)
		}
	}
	start := edge.Start{Oldest: rapid.Bool().Draw(t, "oldest")}
	oldest := m.queue.Stats().Oldest
	m.model.lanes[last+1] = lane
	m.ensureSinks(t, start)
	for position := oldest; start.Oldest && position > 0 && int(position) <= len(m.model.records); position++ {
		lane.states[position] = edge.Enqueued
	}
}

func (m *machine) isRemoved(sink edge.SinkID) bool {
	lane := m.model.lanes[sink]
	return !lane.removedAt.IsZero() && !lane.deleted
}

func (m *machine) isServed(sink edge.SinkID) bool { return m.model.lanes[sink].removedAt.IsZero() }

// canRemove keeps one sink, and what a lane has in its hands.
func (m *machine) canRemove(sink edge.SinkID) bool {
	served := 0
	for other := range m.model.lanes {
		if m.isServed(other) {
			served++
		}
	}
	return m.isServed(sink) && served > 1 && len(m.leased[sink])+len(m.begun[sink]) == 0
}

// removeSink takes a sink out of the configuration.
func (m *machine) removeSink(t *rapid.T, sink edge.SinkID) {
	m.model.lanes[sink].removedAt = time.Now()
	m.ensureSinks(t, edge.Start{})
}

// returnSink names it again: it goes on where it was.
func (m *machine) returnSink(t *rapid.T, sink edge.SinkID) {
	m.model.lanes[sink].removedAt = time.Time{}
	m.ensureSinks(t, edge.Start{})
}

// deleteSink discards what a removed sink is owed, after a look at how much that
// is.
func (m *machine) deleteSink(t *rapid.T, sink edge.SinkID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lane := m.model.lanes[sink]
	figure := figures(lane.modelState)
	want := figure.pending + figure.dead
	if count, err := m.queue.DeleteSink(ctx, sink, edge.Deletion{Actor: "ann", ValidateOnly: true}); err != nil || count != want {
		t.Fatalf("sink %d: %d would be discarded, %v; want %d", sink, count, err, want)
	}
	if _, err := m.queue.DeleteSink(ctx, sink, edge.Deletion{Actor: "ann"}); want > 0 && code(err) != edge.Precondition {
		t.Fatalf("sink %d: deleted without a word, though it is owed %d: %v", sink, want, err)
	}
	if count, err := m.queue.DeleteSink(ctx, sink, edge.Deletion{Actor: "ann", Discard: true}); err != nil || want > 0 && count != want {
		t.Fatalf("sink %d: %d are discarded, %v; want %d", sink, count, err, want)
	}
	m.total.add("discarded by an operator", int(want))
	m.total.add("dead letters discarded", len(lane.letters))
	lane.deleted, lane.actor = true, "ann"
	lane.discard()
	m.model.saved()
}
