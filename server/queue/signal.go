package queue

import "sync"

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

// nudge puts a token into a channel of capacity one: whoever receives from it
// looks once more, however often it was nudged.
func nudge(channel chan<- struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
