package queue

import (
	"context"
	"sync"

	"combotto.io/gateway/server/edge"
)

// signal wakes everybody who waits for something to change. Waiting is: take the
// channel, look, and receive from the channel when there was nothing. It costs
// nothing while nobody waits.
type signal struct {
	mu      sync.Mutex
	waiting chan struct{} // nil while nobody waits
}

// changed returns a channel that is closed by the next broadcast.
func (s *signal) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = make(chan struct{})
	}
	return s.waiting
}

func (s *signal) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting != nil {
		close(s.waiting)
		s.waiting = nil
	}
}

// await tries until it is done, again after each broadcast. It ends with the error of a
// try, with that of ctx, or when the queue is stopping.
func (q *Queue) await(ctx context.Context, change *signal, try func() (done bool, err error)) error {
	for {
		if q.ended() {
			return edge.NewStopping()
		}
		changed := change.changed()
		if done, err := try(); err != nil || done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-q.closed:
		}
	}
}

// nudge puts a token into a channel of capacity one: whoever receives from it
// looks once more, however often it was nudged.
func nudge(channel chan<- struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
