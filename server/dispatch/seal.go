package dispatch

import (
	"context"
	"fmt"

	"combotto.io/gateway/server/edge"
)

// seal makes the members of a batch durable, so that its name means the same
// after a crash. A batch that finds no room for that goes out without a name,
// rather than not at all: only delivering makes room. It returns false without an
// error when the lane stops first.
func (l *lane) seal(ctx context.Context, batch []edge.Delivery) (ok bool, err error) {
	if !l.sink.Sealed || batch[0].Sealed || batch[0].Kind == edge.Requeue {
		return true, nil
	}
	ok, err = insist(ctx, func(ctx context.Context) error { return l.leaser.Seal(ctx, l.sink.ID, batch) })
	switch {
	case ok:
		markSealed(batch, true)
	case err != nil && edge.AsError(err).Code == edge.Full:
		return true, nil
	case err != nil:
		err = fmt.Errorf("seal for sink %s: %w", l.sink.Name, err)
	}
	return ok, err
}

func markSealed(batch []edge.Delivery, sealed bool) {
	for i := range batch {
		batch[i].Sealed = sealed
	}
}

// resume gives a batch that was sealed before a restart to one of the slots of
// its devices. With another concurrency than before there may be several: the
// others wait for it, so that the order of each device holds. Sealed batches have
// no device in common, so that they need not wait for one another.
func (l *lane) resume(batch []edge.Delivery) {
	l.hold(batch)
	concerned := make([]bool, len(l.slots))
	owner := edge.SlotOf(batch[0].Record.Device, len(l.slots))
	resumed := work{batch: batch, done: make(chan struct{})}
	for i := range batch {
		index := edge.SlotOf(batch[i].Record.Device, len(l.slots))
		concerned[index] = true
		resumed.spread = resumed.spread || index != owner
	}
	for index, slot := range l.slots {
		if concerned[index] {
			slot.resume(resumed, index == owner)
		}
	}
}

// resume takes work that comes before everything pending, or waits for it.
func (s *slot) resume(resumed work, owner bool) {
	s.mu.Lock()
	if owner {
		s.resumed = append(s.resumed, resumed)
	} else {
		s.after = append(s.after, resumed.done)
	}
	s.mu.Unlock()
	signal(s.wake)
}

// takeResumed returns the next resumed batch. When there is none it waits until
// the others have finished theirs.
func (s *slot) takeResumed(ctx context.Context) (resumed work, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.resumed) == 0 && len(s.after) > 0 && ctx.Err() == nil {
		done := s.after[0]
		s.mu.Unlock()
		select {
		case <-done:
		case <-s.wake: // more was resumed
		case <-ctx.Done():
		}
		s.mu.Lock()
		select {
		case <-done:
			s.after = s.after[1:]
		default:
		}
	}
	if len(s.resumed) == 0 {
		return work{}, false
	}
	resumed, s.resumed = s.resumed[0], s.resumed[1:]
	return resumed, true
}
