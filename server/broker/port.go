package broker

import (
	"cmp"
	"io"
	"net"
	"sync"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// port is the net.Conn that mochi is given for a member: whole packets come out
// of it, nothing goes in, and a write never blocks.
type port struct {
	connection *connection

	mu      sync.Mutex
	room    sync.Cond // pending shrank, or the port was closed
	pending int       // deliveries that mochi has queued and not yet written
	filters int       // of a SUBSCRIBE, that mochi has still to ask about
	closed  bool
}

func newPort(c *connection) *port {
	p := &port{connection: c}
	p.room.L = &p.mu
	return p
}

func (p *port) expectFilters(count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filters = count
}

// isFilter reports whether mochi asks about a filter, which the guard has
// judged, rather than about a delivery.
func (p *port) isFilter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filters == 0 {
		return false
	}
	p.filters--
	return true
}

// stallLimit is how long a delivery may wait for room in mochi's queue.
const stallLimit = 10 * time.Second

// admit reports whether a delivery may go to the member, and waits for room in
// mochi's queue, which would else drop it. Writes never block, so the wait is
// short; should mochi ever give up a delivery unseen, the connection ends rather
// than the worker waits for ever.
func (p *port) admit(topic string) bool {
	c := p.connection
	b := c.broker
	if !b.authorizer.Allow(c.clientID, topic, Receive) {
		return false
	}
	deliveries, bytes := c.session.outbox.size()
	if deliveries >= maxInFlight || bytes > b.settings.MaxSessionBytes || b.owed.Load() > int64(b.settings.MaxOwedBytes) {
		b.metrics.droppedBehind.Inc()
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return true // for the next connection
	}
	if p.pending >= exchangeQueue-2 {
		timer := time.AfterFunc(stallLimit, p.giveUp)
		for p.pending >= exchangeQueue-2 && !p.closed {
			p.room.Wait()
		}
		timer.Stop()
	}
	p.pending++
	return true
}

func (p *port) giveUp() {
	p.connection.end(mqttwire.Refuse(mqttwire.UnspecifiedError, "deliveries make no progress"))
	p.close()
}

func (p *port) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.room.Broadcast()
}

// Write takes one packet of mochi.
func (p *port) Write(data []byte) (int, error) {
	frame, rest, err := mqttwire.ParseFrame(data)
	if err = cmp.Or(err, complete(rest)); err != nil {
		p.connection.end(err)
		return 0, err
	}
	first, err := p.connection.outbound(frame, data)
	if first {
		p.mu.Lock()
		p.pending = max(p.pending-1, 0)
		p.room.Broadcast()
		p.mu.Unlock()
	}
	return len(data), err
}

func complete(rest []byte) error {
	if len(rest) > 0 {
		return mqttwire.Refuse(mqttwire.UnspecifiedError, "mochi writes more than one packet at a time")
	}
	return nil
}

// The rest of net.Conn: deadlines, closing and reading are the guard's.

func (p *port) Read([]byte) (int, error)         { return 0, io.EOF }
func (p *port) Close() error                     { return nil }
func (p *port) LocalAddr() net.Addr              { return p.connection.socket.LocalAddr() }
func (p *port) RemoteAddr() net.Addr             { return p.connection.socket.RemoteAddr() }
func (p *port) SetDeadline(time.Time) error      { return nil }
func (p *port) SetReadDeadline(time.Time) error  { return nil }
func (p *port) SetWriteDeadline(time.Time) error { return nil }
