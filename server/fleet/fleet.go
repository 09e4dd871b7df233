// Package fleet simulates boards: small devices that measure, cannot buffer
// much, and publish over MQTT 5 with QoS 1.
//
// A board keeps a message until its PUBACK, one in flight at a time, and sends
// it again after a reconnect under the same boot id and sequence, so that the
// gateway stores it once. It has room for few messages ([Settings].Buffer): when
// a connection is away for longer, the oldest are lost, counted, exactly as on a
// board with 128 KB of memory. Its status topic says online and offline,
// retained, the latter as its will.
//
// The same seed gives the same boards: readings, faults, pauses and departures.
// Only observed_at is taken from the clock.
//
// The package does not receive commands and does not speak TLS. A [Fleet] is
// run once; [Fleet.Stats] may be called at any time from any goroutine. Tests
// give [Settings].Dial one end of a pipe and run inside a synctest bubble.
package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// Settings describe a fleet.
type Settings struct {
	Broker     string        // mqtt://host:port
	Devices    int           // 1 to MaxDevices
	Behaviours []Behaviour   // dealt out in turn; none is Normal for all
	Interval   time.Duration // between two messages of a board; 0 is one second
	Buffer     int           // messages that a board holds unacknowledged; 0 is 256
	Prefix     string        // of the device ids, prefix-001 and on; empty is "sim"
	Seed       uint64        // 0 takes a random one, which Fleet.Seed tells
	// Dial opens the connection to host:port; nil is TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Limits and defaults of Settings.
const (
	MaxDevices      = 10_000
	defaultInterval = time.Second
	defaultBuffer   = 256
	defaultPrefix   = "sim"
)

// drainLimit is how long boards that were told to stop may still wait for the
// acknowledgements of what they hold.
const drainLimit = 5 * time.Second

// Fleet is a number of simulated boards.
type Fleet struct {
	boards   []*board
	seed     uint64
	counters counters
}

// Stats count what the boards of a fleet did so far. Produced is always
// Acknowledged + Refused + Abandoned + Dropped + Pending.
type Stats struct {
	Devices       int   `json:"devices"`
	Connected     int64 `json:"connected"`      // boards that are connected now
	Connects      int64 `json:"connects"`       // successful ones, ever
	ConnectErrors int64 `json:"connect_errors"` // attempts that failed
	Produced      int64 `json:"produced"`       // messages that boards made, duplicates included
	Acknowledged  int64 `json:"acknowledged"`
	Refused       int64 `json:"refused"`   // answered with a PUBACK that says no
	Abandoned     int64 `json:"abandoned"` // broken messages that ended the connection
	Dropped       int64 `json:"dropped"`   // lost for want of room, or at the end
	Resent        int64 `json:"resent"`    // publications after the first of a message
	Pending       int64 `json:"pending"`   // held by boards now, the one in flight included
}

// counters are shared by all boards.
type counters struct {
	connected, connects, connectErrors                           atomic.Int64
	produced, acknowledged, refused, abandoned, dropped, resends atomic.Int64
}

// New makes the boards; nothing is connected before Run.
func New(settings Settings, observer *observe.Observer) (*Fleet, error) {
	broker, err := settings.complete()
	if err != nil {
		return nil, err
	}
	fleet := &Fleet{seed: settings.Seed}
	for i := range settings.Devices {
		device := edge.DeviceID(fmt.Sprintf("%s-%03d", settings.Prefix, i+1))
		fleet.boards = append(fleet.boards, newBoard(&settings, broker, i, device, &fleet.counters, observer))
	}
	return fleet, nil
}

// complete fills in defaults and checks the rest.
func (s *Settings) complete() (*url.URL, error) {
	if s.Interval == 0 {
		s.Interval = defaultInterval
	}
	if s.Buffer == 0 {
		s.Buffer = defaultBuffer
	}
	if s.Prefix == "" {
		s.Prefix = defaultPrefix
	}
	if len(s.Behaviours) == 0 {
		s.Behaviours = []Behaviour{Normal}
	}
	for s.Seed == 0 {
		s.Seed = rand.Uint64()
	}
	if s.Dial == nil {
		s.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	switch {
	case s.Devices < 1 || s.Devices > MaxDevices:
		return nil, fmt.Errorf("devices: %d is not 1 to %d", s.Devices, MaxDevices)
	case s.Interval < time.Millisecond:
		return nil, fmt.Errorf("interval: %v is below 1ms", s.Interval)
	case s.Buffer < 1:
		return nil, fmt.Errorf("buffer: %d is below 1", s.Buffer)
	case len(s.Prefix) > 50 || !edge.ValidDeviceID(s.Prefix):
		return nil, fmt.Errorf("prefix: %q cannot begin a device id", s.Prefix)
	}
	broker, err := url.Parse(s.Broker)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if broker.Scheme != "mqtt" || broker.Port() == "" {
		return nil, fmt.Errorf("broker: %q is not mqtt://host:port", s.Broker)
	}
	return broker, nil
}

// Seed returns the seed in use.
func (f *Fleet) Seed() uint64 { return f.seed }

// Run lets the boards work until ctx ends; they may then wait up to five
// seconds for the acknowledgements of what they hold. A broker that is away is
// no error: the boards try again.
func (f *Fleet) Run(ctx context.Context) error {
	var boards sync.WaitGroup
	for _, board := range f.boards {
		boards.Go(func() { board.run(ctx) })
	}
	boards.Wait()
	return nil
}

// Stats counts what has happened so far.
func (f *Fleet) Stats() Stats {
	stats := Stats{
		Devices:       len(f.boards),
		Connected:     f.counters.connected.Load(),
		Connects:      f.counters.connects.Load(),
		ConnectErrors: f.counters.connectErrors.Load(),
		Acknowledged:  f.counters.acknowledged.Load(),
		Refused:       f.counters.refused.Load(),
		Abandoned:     f.counters.abandoned.Load(),
		Dropped:       f.counters.dropped.Load(),
		Resent:        f.counters.resends.Load(),
		Produced:      f.counters.produced.Load(),
	}
	// Produced is read last, so that Pending is never negative.
	stats.Pending = stats.Produced - stats.Acknowledged - stats.Refused - stats.Abandoned - stats.Dropped
	return stats
}
