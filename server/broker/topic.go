package broker

import (
	"strings"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
)

// route is where messages to one topic go. A device that repeats its topic costs
// no second look.
type route struct {
	topic   string
	device  edge.DeviceID // of devices/{id}/telemetry and devices/{id}/status
	kind    kind
	refusal mqttwire.ReasonCode // why nobody may publish there, Success if somebody may

	hasReader  bool   // as of generation
	generation uint64 // of the exchange; 0 is before the first subscription
}

type kind uint8

const (
	ordinary  kind = iota // from client to client
	telemetry             // to ingest
	status                // ordinary, but small
)

// maxStatusBytes bounds what devices/{id}/status may say.
const maxStatusBytes = 1024

func (s *Settings) route(topic string) route {
	r := route{topic: topic}
	switch {
	case !s.fits(topic), strings.HasPrefix(topic, mqttwire.SharePrefix):
		r.refusal = mqttwire.TopicNameInvalid
		return r
	case strings.HasPrefix(topic, "$SYS/"):
		r.refusal = mqttwire.NotAuthorized
		return r
	}
	rest, below := strings.CutPrefix(topic, "devices/")
	device, channel, deeper := strings.Cut(rest, "/")
	if !below || !deeper {
		return r
	}
	switch channel {
	case "telemetry":
		r.kind = telemetry
	case "status":
		r.kind = status
	default:
		return r
	}
	if r.device = edge.DeviceID(device); !edge.ValidDeviceID(device) {
		r.refusal = mqttwire.TopicNameInvalid
	}
	return r
}

// fits reports whether a topic or filter is within the limits.
func (s *Settings) fits(topic string) bool {
	return len(topic) <= s.MaxTopicBytes && mqttwire.Levels(topic) <= s.MaxTopicLevels
}

// refuse judges a message to the route: Success, or why it is refused.
func (b *Broker) refuse(r *route, clientID string, size int) mqttwire.ReasonCode {
	switch {
	case r.refusal != mqttwire.Success:
		return r.refusal
	case !b.authorizer.Allow(clientID, r.topic, Publish):
		return mqttwire.NotAuthorized
	case r.kind == status && size >= maxStatusBytes:
		return mqttwire.PayloadFormatInvalid
	}
	return mqttwire.Success
}

// wanted reports whether somebody subscribes to the route's topic. It costs a
// comparison as long as no subscription changes.
func (b *Broker) wanted(r *route) bool {
	if generation := b.exchange.generation.Load(); r.generation != generation {
		r.generation, r.hasReader = generation, b.exchange.hasReader(r.topic)
	}
	return r.hasReader
}
