// Package broker is the MQTT door: an embedded broker for MQTT 3.1, 3.1.1 and 5
// with a guard of our own in front of it.
//
//	socket -> accept (caps) -> CONNECT (TLS, one deadline) -> receive (strict) -> telemetry -> ingest
//	                                                            |                    |
//	                                                            |     acknowledgements, in order, after the commit
//	                                                            +-> other topics -> fan-out -> exchange -> subscribers
//
// Telemetry, devices/{id}/telemetry, goes to [edge.Submitter] and is
// acknowledged when it is durable: PUBACK and PUBREC of a connection leave in
// the order of its PUBLISH packets, refusals included, all of one commit in one
// write. Every other topic is ordinary MQTT between clients and is not stored.
//
// The exchange (mochi.go) is the only code that touches mochi, which is left
// subscriptions, retained messages and the messages in flight to a client.
// Framing, validation, acknowledgements, windows, QoS 2, wills, deadlines and
// expiry are the guard's, because no hook of mochi can mend its faults there.
// Sessions live as long as the process.
//
// Each connection has one goroutine that reads, and a second one only while
// there is something to write; a client that subscribes has a third. One worker
// fans out, one housekeeper expires. [Broker.Run] ends when all of them are
// gone. A lock is never held while another package's I/O runs.
//
// Test with raw bytes over a loopback socket and an [edge.Submitter] whose
// answers the test decides.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/observe"
)

// Authorizer says who may connect and what for. There is no default: whoever
// builds a Broker decides. Its methods are called concurrently.
type Authorizer interface {
	// Authenticate judges a CONNECT; nil admits the client. An [edge.Error] of
	// code Unauthenticated or Forbidden is told to the client as such, any other
	// error as "server unavailable". It may block until ctx ends.
	Authenticate(ctx context.Context, login *Login) error
	// Allow reports whether a client may do something with a topic, or with a
	// topic filter when it subscribes. It is asked for every message and must
	// not block.
	Allow(clientID, topic string, access Access) bool
}

// Login is what a client shows in CONNECT.
type Login struct {
	ClientID string // as the client gave it; empty asks for one
	HasUser  bool
	User     string
	Password []byte
	Remote   net.Addr
	TLS      *tls.ConnectionState // nil without TLS
}

// Access is what a client wants to do with a topic.
type Access uint8

// The kinds of access.
const (
	Publish   Access = iota + 1 // send a message, or leave a will
	Subscribe                   // to a filter, which may have wildcards and a share group
	Receive                     // one message of a subscription
)

// Broker serves MQTT clients.
type Broker struct {
	settings   Settings
	ingest     edge.Submitter
	authorizer Authorizer
	log        *slog.Logger
	metrics    *metrics
	exchange   *exchange
	fanOut     *fanOut
	started    chan struct{} // closed by Run
	stopped    chan struct{} // closed when Run begins to stop

	attached atomic.Int64        // clients whose CONNECT was accepted
	large    *semaphore.Weighted // bytes of large packets under way
	owed     atomic.Int64        // bytes that all sessions keep for their clients
	serving  sync.WaitGroup      // goroutines of connections and wills

	mu          sync.Mutex
	stopping    bool
	listeners   map[net.Listener]struct{}
	connections map[*connection]struct{}
	perAddress  map[string]int
	sessions    map[string]*session
}

// New builds a broker that hands telemetry to ingest. It starts nothing.
func New(settings Settings, ingest edge.Submitter, authorizer Authorizer, observer *observe.Observer) *Broker {
	b := &Broker{
		settings:    settings,
		large:       semaphore.NewWeighted(int64(max(settings.MaxLargeBytes, settings.MaxPacketBytes))),
		ingest:      ingest,
		authorizer:  authorizer,
		log:         observer.Log,
		metrics:     newMetrics(observer.Metrics),
		started:     make(chan struct{}),
		stopped:     make(chan struct{}),
		listeners:   make(map[net.Listener]struct{}),
		connections: make(map[*connection]struct{}),
		perAddress:  make(map[string]int),
		sessions:    make(map[string]*session),
	}
	b.exchange = newExchange(b)
	b.fanOut = newFanOut(b.exchange, b.metrics)
	observer.Metrics.Collect(func(emit observe.Emit) {
		emit("mqtt_connections", float64(b.Connections()))
	})
	return b
}

// Connections returns how many clients are connected.
func (b *Broker) Connections() int { return int(b.attached.Load()) }

// Run keeps the broker alive until ctx ends. Then it tells every client that the
// server shuts down, and returns when all goroutines of the broker are gone. It
// is called once.
func (b *Broker) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	workers.Go(b.fanOut.run)
	workers.Go(func() { b.housekeep(ctx) })
	close(b.started)
	<-ctx.Done()

	close(b.stopped)
	b.mu.Lock()
	b.stopping = true
	for listener := range b.listeners {
		_ = listener.Close()
	}
	for c := range b.connections {
		c.end(mqttwire.Refuse(mqttwire.ServerShuttingDown, "the gateway stops"))
	}
	b.mu.Unlock()
	b.serving.Wait()
	b.fanOut.close()
	workers.Wait()
	return nil
}

// Serve accepts connections until ctx ends or Run stops, and closes the
// listener. Errors of Accept do not end it: it waits and tries again. It may be
// called for any number of listeners, and serves once Run has begun. A listener
// of package tls is shaken hands with under the deadline of CONNECT.
func (b *Broker) Serve(ctx context.Context, listener net.Listener) error {
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	select {
	case <-b.started:
	case <-ctx.Done():
		return nil
	}
	b.mu.Lock()
	stopping := b.stopping
	b.listeners[listener] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, listener)
		b.mu.Unlock()
	}()
	if stopping {
		return nil
	}
	return b.accept(ctx, listener)
}

func (b *Broker) accept(ctx context.Context, listener net.Listener) error {
	const firstWait, longestWait = 5 * time.Millisecond, time.Second
	wait := firstWait
	for {
		socket, err := listener.Accept()
		if err == nil {
			wait = firstWait
			b.admit(socket)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.stopped:
			return nil
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		b.metrics.acceptErrors.Inc()
		b.log.Warn("accept failed, trying again", "address", listener.Addr().String(), "wait", wait, "error", err)
		select {
		case <-ctx.Done():
		case <-b.stopped:
		case <-time.After(wait):
			wait = min(2*wait, longestWait)
		}
	}
}

// admit applies the caps before anything is read, and serves the connection on a
// goroutine of its own.
func (b *Broker) admit(socket net.Conn) {
	if ctx, c := b.register(socket); c != nil {
		go func() {
			defer b.unregister(c)
			b.serve(ctx, c)
		}()
	}
}

// register counts a new connection in; the caller calls unregister in the end.
// It closes the socket and returns nil when a cap is reached or the broker does
// not run. The context ends when the connection is to.
func (b *Broker) register(socket net.Conn) (context.Context, *connection) {
	address := hostOf(socket.RemoteAddr())
	b.mu.Lock()
	defer b.mu.Unlock()
	full := len(b.connections) >= b.settings.MaxConnections || b.perAddress[address] >= b.settings.MaxConnectionsPerAddress
	if full || b.stopping {
		if full {
			b.metrics.connectionLimit.Inc()
		}
		_ = socket.Close()
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := newConnection(b, socket, address, cancel)
	b.connections[c] = struct{}{}
	b.perAddress[address]++
	b.serving.Add(1)
	return ctx, c
}

func (b *Broker) unregister(c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.connections, c)
	if b.perAddress[c.address]--; b.perAddress[c.address] == 0 {
		delete(b.perAddress, c.address)
	}
	b.serving.Done()
}

func hostOf(address net.Addr) string {
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	return host
}
