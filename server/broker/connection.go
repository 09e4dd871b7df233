package broker

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/wire"
)

// connection is the guard's end of one client.
type connection struct {
	broker  *Broker
	socket  net.Conn
	stream  *bufio.Reader
	address string
	cancel  context.CancelFunc // of what the connection waits for
	done    chan struct{}      // closed when it has left its session

	// What CONNECT said, constant after it.
	version        mqttwire.Version // 0 before
	clientID       string
	assignedID     bool
	cleanStart     bool
	keepAlive      time.Duration // that the server asks for, 0 when the client's own holds
	idle           time.Duration // without a packet, after which the client is gone
	receiveMaximum int           // of the client, 0 for none
	maxPacketBytes int           // of the client, 0 for none
	reasonOnly     bool          // the client wants no reason strings
	maxAliases     int           // that the client takes, within our own maximum
	session        *session
	member         *member

	// Owned by the goroutine that serves the connection.
	sessionExpiry time.Duration
	will          *will // nil once DISCONNECT took it back
	deadlineAt    time.Time
	slab          slab
	reserved      int64                  // bytes of the large packet under way
	packet        mqttwire.PublishPacket // decoded into again and again
	aliases       map[uint16]string
	route         route
	decoder       *wire.Decoder // nil before the first telemetry
	submission    edge.Submission
	patience      patience

	mu             sync.Mutex
	changed        sync.Cond // an answer left, output was written, or the connection is closing
	answers        answers
	unacknowledged int // PUBLISH packets that count against the Receive Maximum
	request        request
	// outboundAliases are the topic aliases that the client has been given.
	outboundAliases map[string]uint16
	output          []byte
	spare           []byte // a second buffer for output, while the first is written
	flushing        bool
	flushAsked      bool // Reply has asked for a Flush
	welcomed        bool // CONNACK was sent: nothing may be said before
	closing         bool // nothing more is read or queued
	lingering       bool // the client was told why, and is to have the time to read it
	dead            bool // the socket is closed
}

func newConnection(b *Broker, socket net.Conn, address string, cancel context.CancelFunc) *connection {
	c := &connection{
		broker: b, socket: socket, address: address, cancel: cancel,
		stream: bufio.NewReaderSize(socket, readBufferBytes),
		done:   make(chan struct{}),
	}
	c.changed.L = &c.mu
	return c
}

// readBufferBytes holds a few small packets. There is one for each connection,
// and what is larger is read past it.
const readBufferBytes = 2048

// serve takes a socket through its life.
func (b *Broker) serve(ctx context.Context, c *connection) {
	defer c.finish()
	defer func() {
		if cause := recover(); cause != nil {
			b.panicked(c, cause)
		}
	}()
	defer c.detach()
	err := c.handshake(ctx)
	if err == nil {
		err = c.attach(ctx)
	}
	if err != nil {
		c.reject(err)
		return
	}
	c.end(c.receive(ctx))
}

// panicked counts a panic and ends the connection that it came from, if there is
// one.
func (b *Broker) panicked(c *connection, cause any) {
	b.metrics.panics.Inc()
	b.log.Error("panic in the broker", "cause", cause, "stack", string(debug.Stack()))
	if c != nil {
		c.end(mqttwire.Refuse(mqttwire.UnspecifiedError, "internal error"))
	}
}

// attach makes the connection its session's. An older connection of the same
// client is ended first and waited for, so that one client id is never in the
// exchange twice.
func (c *connection) attach(ctx context.Context) error {
	b := c.broker
	s, ok := b.enter(c.clientID)
	if !ok {
		return mqttwire.Refuse(mqttwire.QuotaExceeded, "too many sessions")
	}
	s.admission.Lock()
	defer s.admission.Unlock()
	if old := s.connection(); old != nil {
		old.end(mqttwire.Refuse(mqttwire.SessionTakenOver, "the client connected again"))
		if !waitFor(ctx, old.done, b.settings.WriteTimeout) {
			b.leave(s)
			return mqttwire.Refuse(mqttwire.ServerUnavailable, "the old connection does not end")
		}
	}
	c.session = s
	due := s.attach(c)
	b.exchange.connect(c, !c.cleanStart, func(m *member, present bool) {
		c.member = m
		s.setMember(m)
		b.attached.Add(1)
		connack := mqttwire.ConnackPacket{SessionPresent: present, Properties: c.connackProperties()}
		c.welcome(connack.Append(nil, c.version))
	})
	if due != nil {
		b.publishLater(due)
	}
	return nil
}

func (c *connection) welcome(connack []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.welcomed = true
	c.queue(connack)
	c.kick()
}

func waitFor(ctx context.Context, done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// detach leaves the session, if the connection had one, and sends the will where
// it is due.
func (c *connection) detach() {
	if c.session == nil {
		return
	}
	b := c.broker
	if c.member != nil {
		b.exchange.end(c.member, c.sessionExpiry > 0)
		b.attached.Add(-1)
	}
	due := c.session.detach(c, time.Now())
	b.leave(c.session)
	close(c.done)
	if due != nil {
		b.publishWill(due)
	}
}

// end closes the connection because of err and tells the client, where the
// protocol has words for it. Only the first call counts. It does not wait.
func (c *connection) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	fault := faultOf(err)
	if fault != nil {
		c.broker.metrics.refused(fault.Reason)
		if c.welcomed && c.version == mqttwire.Version5 {
			c.output = (&mqttwire.DisconnectPacket{Reason: fault.Reason}).Append(c.output, c.version)
			c.lingering = true
		}
	}
	c.close()
}

// faultOf returns what the client is to be told about err, nil for nothing: the
// stream broke, or the client said goodbye.
func faultOf(err error) *mqttwire.Error {
	if fault, ok := errors.AsType[*mqttwire.Error](err); ok {
		return fault
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return mqttwire.Refuse(mqttwire.KeepAliveTimeout, "nothing was heard from the client")
	}
	return nil
}

// reject refuses a CONNECT.
func (c *connection) reject(err error) {
	b := c.broker
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		b.metrics.connectTimeout.Inc()
		return
	}
	fault, ok := errors.AsType[*mqttwire.Error](err)
	if !ok {
		return
	}
	b.metrics.refused(fault.Reason)
	code, hasWord := fault.Reason.ConnectReturn()
	if c.version == 0 || c.version != mqttwire.Version5 && !hasWord {
		return
	}
	connack := mqttwire.ConnackPacket{Return: code, Reason: fault.Reason}
	c.output = connack.Append(c.output, c.version)
	c.lingering = true
	c.close()
}
