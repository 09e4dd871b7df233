package queue_test

import (
	"context"
	"slices"
	"testing/synctest"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
)

// sealedDue returns the first sealed batch that is to come again as a whole.
func (s modelState) sealedDue() []edge.Position {
	for _, batch := range s.sealed {
		if !slices.ContainsFunc(batch, func(member edge.Position) bool { return s.states[member] != edge.Enqueued }) {
			return batch
		}
	}
	return nil
}

// unseal lets go of the batches that hold one of the positions.
func (s *modelState) unseal(gone ...edge.Position) {
	s.sealed = slices.DeleteFunc(slices.Clone(s.sealed), func(batch []edge.Position) bool {
		return slices.ContainsFunc(batch, func(member edge.Position) bool { return slices.Contains(gone, member) })
	})
}

// seal adds a batch, unless a member is decided already.
func (s *modelState) seal(batch []edge.Position) {
	if slices.ContainsFunc(s.sealed, func(known []edge.Position) bool { return slices.Equal(known, batch) }) {
		return
	}
	s.unseal(batch...)
	for _, member := range batch {
		if state := s.states[member]; state != edge.Enqueued && state != edge.InFlight {
			return
		}
	}
	s.sealed = append(s.sealed, batch)
}

// batchOf returns the sealed batch of a position, at least the position itself.
func (s modelState) batchOf(position edge.Position) []edge.Position {
	for _, batch := range s.sealed {
		if slices.Contains(batch, position) {
			return batch
		}
	}
	return []edge.Position{position}
}

// seal gives a name to some of what is leased.
func (m *machine) seal(t *rapid.T, sink edge.SinkID) {
	lane := m.model.lanes[sink]
	batch := m.drawLeased(t, sink, isLive)
	m.leased[sink] = append(m.leased[sink], batch...)
	slices.SortFunc(batch, byPosition)
	if err := m.queue.Seal(context.Background(), sink, batch); err != nil {
		t.Fatalf("Seal: %v", err)
	}
	synctest.Wait()
	members := queue.PositionsOf(batch)
	lane.seal(members)
	for i := range lane.unsaved { // a crash does not undo it
		lane.unsaved[i].seal(members)
	}
}

// withBatches completes sealed batches: a lane gives them back as a whole.
func (m *machine) withBatches(sink edge.SinkID, taken []edge.Delivery) []edge.Delivery {
	lane := m.model.lanes[sink]
	var members []edge.Position
	for _, delivery := range taken {
		if delivery.Kind != edge.Requeue {
			members = append(members, lane.batchOf(delivery.Record.Position)...)
		}
	}
	m.leased[sink] = slices.DeleteFunc(m.leased[sink], func(delivery edge.Delivery) bool {
		belongs := delivery.Kind != edge.Requeue && slices.Contains(members, delivery.Record.Position)
		if belongs {
			taken = append(taken, delivery)
		}
		return belongs
	})
	return taken
}
