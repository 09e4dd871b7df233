package fleet

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"combotto.io/gateway/server/edge"
)

// Times of a board's connection.
const (
	keepAliveSeconds = 30
	connectTimeout   = 10 * time.Second
	reconnectMin     = 100 * time.Millisecond
	reconnectMax     = 5 * time.Second
	// acknowledgeTimeout is longer than a full gateway waits before it answers.
	acknowledgeTimeout = time.Minute
	farewellTimeout    = 2 * time.Second
)

// link is a board's connection, which autopaho opens again when it breaks. A
// link is used by one goroutine.
//
// The session ends with the connection (expiry 0), so that the library forgets
// what was in flight: resending is the board's duty here, as on a board.
type link struct {
	device  edge.DeviceID
	manager *autopaho.ConnectionManager
	came    chan struct{} // holds a token after each connect until it is announced
	sockets chan net.Conn // holds the newest socket
	up      atomic.Bool   // counted as connected
	silent  bool          // leave without DISCONNECT; written before manager.Disconnect

	mu     sync.Mutex
	giveUp context.CancelFunc // ends the publication in flight; nil when there is none
}

// openLink begins to connect. It calls wake after each connect, so that its
// owner comes to awaitUp.
func openLink(settings *Settings, broker *url.URL, device edge.DeviceID, counters *counters, wake func()) (*link, error) {
	l := &link{device: device, came: make(chan struct{}, 1), sockets: make(chan net.Conn, 1)}
	receiveMaximum := uint16(16)
	config := autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{broker},
		KeepAlive:                     keepAliveSeconds,
		CleanStartOnInitialConnection: true,
		ReconnectBackoff:              reconnectDelay,
		ConnectTimeout:                connectTimeout,
		AttemptConnection: func(ctx context.Context, _ autopaho.ClientConfig, broker *url.URL) (net.Conn, error) {
			return l.dial(ctx, settings, broker.Host)
		},
		WillMessage: &paho.WillMessage{Topic: statusTopic(device), Payload: []byte(statusOffline), QoS: 1, Retain: true},
		ConnectPacketBuilder: func(connect *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			connect.CleanStart = true
			// Without a maximum the library sets aside 512 KiB for each board.
			connect.Properties = &paho.ConnectProperties{ReceiveMaximum: &receiveMaximum}
			return connect, nil
		},
		DisconnectPacketBuilder: func() *paho.Disconnect {
			if l.silent {
				return nil
			}
			return &paho.Disconnect{}
		},
		OnConnectionUp: func(*autopaho.ConnectionManager, *paho.Connack) {
			counters.connects.Add(1)
			l.countUp(counters, true)
			select {
			case l.came <- struct{}{}:
			default:
			}
			wake()
		},
		OnConnectionDown: func() bool {
			l.countUp(counters, false)
			l.setGiveUp(nil)
			return true
		},
		OnConnectError: func(error) { counters.connectErrors.Add(1) },
		ClientConfig:   paho.ClientConfig{ClientID: string(device), PacketTimeout: acknowledgeTimeout},
	}
	// The link outlives any deadline of its caller: close ends it, with or
	// without a farewell.
	manager, err := autopaho.NewConnection(context.Background(), config)
	l.manager = manager
	return l, err
}

// dial opens a socket and remembers it for close.
func (l *link) dial(ctx context.Context, settings *Settings, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	socket, err := settings.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.sockets:
	default:
	}
	l.sockets <- socket
	return socket, nil
}

// reconnectDelay doubles from reconnectMin to reconnectMax.
func reconnectDelay(attempt int) time.Duration {
	if attempt == 0 {
		return 0
	}
	return min(reconnectMin<<min(attempt-1, 10), reconnectMax)
}

// answer is what became of one publication.
type answer uint8

const (
	unanswered   answer = iota // the connection broke, or ctx ended: send it again
	acknowledged               // the gateway has it
	refused                    // the gateway will never take it
	overloaded                 // the gateway cannot take it now: send it again, later
)

// reasonQuotaExceeded is MQTT 5's PUBACK of a gateway that is full.
const reasonQuotaExceeded = 0x97

// publish sends one message once, and waits for its acknowledgement.
func (l *link) publish(ctx context.Context, topic string, payload []byte, contentType string, retain bool) answer {
	// The library forgets a publication whose connection broke, and would let its
	// caller wait for the whole timeout.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.setGiveUp(cancel)
	publish := &paho.Publish{Topic: topic, Payload: payload, QoS: 1, Retain: retain}
	if contentType != "" {
		publish.Properties = &paho.PublishProperties{ContentType: contentType}
	}
	response, err := l.manager.Publish(ctx, publish)
	switch {
	case err == nil:
		return acknowledged
	case response != nil && response.ReasonCode == reasonQuotaExceeded:
		return overloaded
	case response != nil:
		return refused
	}
	return unanswered
}

// setGiveUp replaces what ends the publication in flight, after ending it.
func (l *link) setGiveUp(next context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.giveUp != nil {
		l.giveUp()
	}
	l.giveUp = next
}

// awaitUp waits for a connection and says on the status topic, once for each
// connection, that the board is there.
func (l *link) awaitUp(ctx context.Context) error {
	if err := l.manager.AwaitConnection(ctx); err != nil {
		return err
	}
	select {
	case <-l.came:
		if l.publish(ctx, statusTopic(l.device), []byte(statusOnline), "", true) == unanswered {
			return errors.Join(autopaho.ConnectionDownError, ctx.Err())
		}
	default:
	}
	return nil
}

// close ends the link. A board that takes its leave publishes its status and
// disconnects; one that does not just vanishes, and its will speaks for it.
func (l *link) close(counters *counters, farewell bool) {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	if farewell {
		l.publish(ctx, statusTopic(l.device), []byte(statusOffline), "", true)
	}
	l.silent = !farewell
	// Disconnect returns an error only when ctx ends first; closing the socket
	// then does the rest.
	_ = l.manager.Disconnect(ctx)
	select {
	case socket := <-l.sockets:
		_ = socket.Close() // Usually closed already.
	default:
	}
	l.countUp(counters, false)
}

// countUp keeps the fleet's count of connected boards, whoever notices first.
func (l *link) countUp(counters *counters, up bool) {
	switch was := l.up.Swap(up); {
	case up && !was:
		counters.connected.Add(1)
	case was && !up:
		counters.connected.Add(-1)
	}
}

// What a board says on its status topic.
const (
	statusOnline  = "online"
	statusOffline = "offline"
)

func statusTopic(device edge.DeviceID) string { return "devices/" + string(device) + "/status" }

func telemetryTopic(device edge.DeviceID) string { return "devices/" + string(device) + "/telemetry" }
