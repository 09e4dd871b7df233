package main

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// callers counts the connections of a server.
type callers struct {
	mu      sync.Mutex
	open    int
	changed chan struct{} // closed and replaced whenever open changes
}

func newCallers() *callers { return &callers{changed: make(chan struct{})} }

// count is an [http.Server]'s ConnState.
func (c *callers) count(_ net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
	case http.StateClosed:
		c.open--
	default:
		return
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// awaitOne waits until no more than one connection is open: that of who asks.
// Connections are accepted in the order in which they were made, so that none of
// those made before can still be on its way.
func (c *callers) awaitOne(ctx context.Context) error {
	for {
		c.mu.Lock()
		open, changed := c.open, c.changed
		c.mu.Unlock()
		if open <= 1 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
