package broker

import (
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/observe"
)

// metrics are the broker's instruments, resolved once.
type metrics struct {
	refusals        map[string]observe.Counter // by label value
	connectionLimit observe.Counter
	connectTimeout  observe.Counter
	slowReader      observe.Counter
	droppedFull     observe.Counter // QoS 0 while the gateway is full
	droppedBehind   observe.Counter // deliveries to a client that does not keep up
	droppedFanOut   observe.Counter // deliveries that the fan-out worker had no room for
	droppedRetained observe.Counter // retained messages beyond the limits
	evictedSessions observe.Counter // forgotten early, to make room
	door            *observe.Door   // telemetry that was given up
	retainIgnored   observe.Counter
	acceptErrors    observe.Counter
	panics          observe.Counter
}

// refusalLabels names, for each reason code that the gateway refuses with, the
// label value of mqtt_refusals_total.
var refusalLabels = map[mqttwire.ReasonCode]string{
	mqttwire.MalformedPacket:         "malformed",
	mqttwire.ProtocolError:           "protocol_error",
	mqttwire.UnsupportedVersion:      "protocol_version",
	mqttwire.ClientIDNotValid:        "client_id",
	mqttwire.BadUserNameOrPassword:   "credentials",
	mqttwire.BadAuthenticationMethod: "credentials",
	mqttwire.NotAuthorized:           "not_authorized",
	mqttwire.ServerUnavailable:       "internal",
	mqttwire.ServerShuttingDown:      "stopping",
	mqttwire.KeepAliveTimeout:        "keep_alive",
	mqttwire.SessionTakenOver:        "taken_over",
	mqttwire.TopicFilterInvalid:      "topic_filter",
	mqttwire.TopicNameInvalid:        "topic_name",
	mqttwire.TopicAliasInvalid:       "protocol_error",
	mqttwire.ReceiveMaximumExceeded:  "receive_maximum",
	mqttwire.PacketTooLarge:          "packet_too_large",
	mqttwire.QuotaExceeded:           "full",
	mqttwire.PayloadFormatInvalid:    "payload",
}

const refusedOtherwise = "internal"

func newMetrics(m *observe.Metrics) *metrics {
	refusal := func(reason string) observe.Counter { return m.Counter("mqtt_refusals_total", reason) }
	dropped := func(reason string) observe.Counter { return m.Counter("mqtt_dropped_total", reason) }
	resolved := &metrics{
		refusals:        map[string]observe.Counter{refusedOtherwise: refusal(refusedOtherwise)},
		connectionLimit: refusal("connection_limit"),
		connectTimeout:  refusal("connect_timeout"),
		slowReader:      refusal("slow_reader"),
		droppedFull:     dropped("full"),
		droppedBehind:   dropped("client_behind"),
		droppedFanOut:   dropped("fan_out_behind"),
		droppedRetained: dropped("retained_limit"),
		evictedSessions: m.Counter("mqtt_sessions_evicted_total"),
		door:            m.Door(edge.SourceMQTT.String()),
		retainIgnored:   m.Counter("mqtt_retain_ignored_total"),
		acceptErrors:    m.Counter("mqtt_accept_errors_total"),
		panics:          m.Counter("mqtt_panics_total"),
	}
	for _, label := range refusalLabels {
		resolved.refusals[label] = refusal(label)
	}
	return resolved
}

// gaveUp counts telemetry that was not taken and will not be tried again. What
// can never be valid is counted by ingest.
func (m *metrics) gaveUp(refusal *edge.Error, silently bool) {
	switch {
	case refusal.Permanent():
	case silently:
		m.droppedFull.Inc()
		m.door.Drop(string(refusal.Reason))
	default:
		m.door.Refuse(string(refusal.Reason), 1)
	}
}

// refused counts a refusal.
func (m *metrics) refused(reason mqttwire.ReasonCode) {
	label, ok := refusalLabels[reason]
	if !ok {
		label = refusedOtherwise
	}
	m.refusals[label].Inc()
}
