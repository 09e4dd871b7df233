package fleet

import (
	"context"
	"sync"
)

// message is what a board publishes.
type message struct {
	payload     []byte
	contentType string
	// broken marks a message that was spoilt on purpose. It is not sent again
	// after it ended a connection.
	broken bool
	sent   bool // published at least once
}

// outbox is the little memory of a board: a queue with room for few messages.
// When it is full the oldest message makes room.
type outbox struct {
	limit   int
	changed chan struct{} // holds one token after a change

	mu       sync.Mutex
	messages []*message
	closed   bool
}

func newOutbox(limit int) *outbox {
	return &outbox{limit: limit, changed: make(chan struct{}, 1)}
}

// push adds a message and reports whether the oldest one was lost for it.
func (o *outbox) push(added *message) (lost bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if lost = len(o.messages) == o.limit; lost {
		o.messages = o.messages[1:]
	}
	o.messages = append(o.messages, added)
	o.wake()
	return lost
}

// close says that nothing will be pushed any more.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake()
}

// wake lets a waiting take return, also without a message.
func (o *outbox) wake() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// take removes and returns the oldest message. With none it waits once, for a
// change, a wake or the end of ctx, and may then return nil. It has one caller
// at a time.
func (o *outbox) take(ctx context.Context) *message {
	if oldest := o.tryTake(); oldest != nil {
		return oldest
	}
	select {
	case <-o.changed:
	case <-ctx.Done():
	}
	return o.tryTake()
}

func (o *outbox) tryTake() *message {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.messages) == 0 {
		return nil
	}
	oldest := o.messages[0]
	o.messages = o.messages[1:]
	return oldest
}

// drained reports whether the outbox is closed and empty.
func (o *outbox) drained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed && len(o.messages) == 0
}

// discard empties the outbox and returns how many messages it held.
func (o *outbox) discard() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	held := len(o.messages)
	o.messages = nil
	return held
}
