package broker

import (
	"time"

	"combotto.io/gateway/server/edge"
)

// Settings are the limits of a broker. Every field counts as it is: start from
// [NewDefaultSettings] and change what differs.
type Settings struct {
	// MaxConnections bounds the connections, MaxConnectionsPerAddress those of
	// one IP address. Both hold before TLS or CONNECT. One address may be a whole
	// site behind NAT, so by default it may take half of them.
	MaxConnections           int
	MaxConnectionsPerAddress int
	// MaxSessions bounds the client ids that are remembered, connected or not.
	MaxSessions int

	ConnectTimeout  time.Duration // for TLS and CONNECT together
	MaxConnectBytes int           // of a CONNECT
	MaxPacketBytes  int           // of any other packet, announced in CONNACK
	// MaxLargeBytes bounds the packets above 2 KiB that arrive, or wait to be taken, of
	// all connections: who sends another one waits for FullGrace at most. PacketTimeout is
	// how long one may take to arrive. At least one packet is always admitted.
	MaxLargeBytes int
	PacketTimeout time.Duration
	WriteTimeout  time.Duration // for one write to a client that does not read
	MaxKeepAlive  time.Duration // in seconds; a version 5 client is told, others keep theirs
	IdleLimit     time.Duration // for a 3.1.1 client without keep-alive

	ReceiveMaximum    uint16 // unacknowledged PUBLISH packets of a version 5 client
	TopicAliasMaximum uint16
	// MaxUnanswered bounds the PUBLISH packets of a connection that wait for
	// their commit; above it the connection is not read. It is what a client
	// below version 5, which knows no Receive Maximum, is slowed down by.
	MaxUnanswered int
	// MaxExactlyOnce bounds the QoS 2 messages of a session that wait for PUBREL.
	MaxExactlyOnce int
	// FullGrace is how long a connection is not read while the gateway is full,
	// before it is told.
	FullGrace time.Duration

	// A topic is walked level by level under a lock, at a cost that grows with
	// the square of its levels. The gateway's own topics have five at most.
	MaxTopicBytes    int
	MaxTopicLevels   int
	MaxFilters       int // in one SUBSCRIBE or UNSUBSCRIBE
	MaxSubscriptions int // of one session
	// PlainFilterRefusals refuses filters with 0x80 and no reason, for version 5
	// clients that know no other code.
	PlainFilterRefusals bool

	// Window bounds the deliveries at QoS 1 and 2 that are under way to a client,
	// WindowBytes their size; a smaller Receive Maximum of the client wins.
	Window      int
	WindowBytes int
	// MaxOutputBytes bounds what waits to be written to a client. QoS 0 is
	// dropped above half of it, and a client that exceeds it is cut off.
	MaxOutputBytes   int
	MaxSessionBytes  int           // memory of what a session keeps for its client
	MaxOwedBytes     int           // memory of what all sessions keep
	MaxSessionExpiry time.Duration // how long a session outlives its connection

	MaxRetainedMessages int
	MaxRetainedBytes    int

	// DefaultEncoding reads telemetry that does not say its encoding.
	DefaultEncoding edge.Encoding
}

// NewDefaultSettings returns limits for an industrial PC that serves a site.
func NewDefaultSettings() Settings {
	return Settings{
		MaxConnections:           10_000,
		MaxConnectionsPerAddress: 5_000,
		MaxSessions:              20_000,
		ConnectTimeout:           10 * time.Second,
		MaxConnectBytes:          16 << 10,
		MaxPacketBytes:           256 << 10,
		MaxLargeBytes:            64 << 20,
		PacketTimeout:            2 * time.Minute,
		WriteTimeout:             5 * time.Second,
		MaxKeepAlive:             20 * time.Minute,
		IdleLimit:                time.Hour,
		ReceiveMaximum:           100,
		TopicAliasMaximum:        10,
		MaxUnanswered:            1024,
		MaxExactlyOnce:           1024,
		FullGrace:                30 * time.Second,
		MaxTopicBytes:            256,
		MaxTopicLevels:           16,
		MaxFilters:               64,
		MaxSubscriptions:         256,
		Window:                   256,
		WindowBytes:              1 << 20,
		MaxOutputBytes:           4 << 20,
		MaxSessionBytes:          16 << 20,
		MaxOwedBytes:             256 << 20,
		MaxSessionExpiry:         7 * 24 * time.Hour,
		MaxRetainedMessages:      10_000,
		MaxRetainedBytes:         64 << 20,
		DefaultEncoding:          edge.EncodingAuto,
	}
}
