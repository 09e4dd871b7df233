// Package backlog makes messages as the load generator sends them, for queues
// that are filled through their own API instead of a door. A [Source] belongs to
// one goroutine.
package backlog

import (
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
)

// Source makes messages, each with an identity of its own.
type Source struct {
	Owed    []edge.SinkID
	Replier edge.Replier

	devices []edge.DeviceID
	payload func(source *Source, boot string, sequence uint64) []byte
	made    int
	random  uint64
}

// Payloads are the kinds of payload that a source knows.
var Payloads = []string{JSON, Random}

const (
	JSON   = "json"   // what the load generator sends
	Random = "random" // bytes that no compression makes smaller
)

// NewSource returns a source of messages of so many devices, which send in turn.
func NewSource(devices int, payload string) *Source {
	s := &Source{payload: (*Source).telemetry, random: 1}
	if payload == Random {
		s.payload = (*Source).noise
	}
	for device := range devices {
		s.devices = append(s.devices, edge.DeviceID(fmt.Sprintf("before-%05d", device)))
	}
	return s
}

// Made returns how many messages the source has made.
func (s *Source) Made() int { return s.made }

// Batch makes messages that arrive now. The last one carries the token 1, the
// others 0.
func (s *Source) Batch(size int) []edge.Entry {
	entries := make([]edge.Entry, size)
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i := range entries {
		const boot = "0badcafe"
		sequence := firstSequence + uint64(s.made/len(s.devices))
		entries[i] = edge.Entry{
			Record: edge.Record{
				Device: s.devices[s.made%len(s.devices)], Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: now,
				Identity: edge.Identity{BootID: boot, Sequence: sequence, HasSequence: true},
				Payload:  s.payload(s, boot, sequence),
			},
			Owed: s.Owed, Replier: s.Replier,
		}
		s.made++
	}
	entries[size-1].Token = 1
	return entries
}

const (
	firstSequence = 100_000_000
	payloadBytes  = 174
)

// telemetry is what the load generator sends.
func (s *Source) telemetry(boot string, sequence uint64) []byte {
	noise := s.number()
	digits := func(shift int, below uint64) uint64 { return noise >> shift % below }
	return fmt.Appendf(make([]byte, 0, payloadBytes),
		`{"schema_version":1,"boot_id":"%s","sequence":%d,"metrics":{"temperature_c":2%d.%d,"humidity_percent":4%d.%d,"pressure":10%d%d.%d%d,"battery_mv":3%03d,"door_open":false}}`,
		boot, sequence, digits(60, 10), digits(56, 10), digits(52, 10), digits(48, 10), digits(44, 10), digits(40, 10), digits(36, 10), digits(32, 10), digits(20, 1000))
}

func (s *Source) noise(string, uint64) []byte {
	bytes := make([]byte, payloadBytes)
	for i := range bytes {
		bytes[i] = byte(s.number() >> 56)
	}
	return bytes
}

// number is the next one of a sequence that looks random (splitmix64).
func (s *Source) number() uint64 {
	s.random += 0x9E3779B97F4A7C15
	mixed := s.random
	mixed = (mixed ^ mixed>>30) * 0xBF58476D1CE4E5B9
	mixed = (mixed ^ mixed>>27) * 0x94D049BB133111EB
	return mixed ^ mixed>>31
}
