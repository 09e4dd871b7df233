package main

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// limits returns one vector in which everything is as long and as many as it may
// be.
func limits() []vector {
	var (
		deviceID  = "D" + strings.Repeat("-", 63)
		messageID = strings.Repeat("~", 64)
		bootID    = strings.Repeat("b", 32)
		metric    = "_" + strings.Repeat("9", 63)
		value     = strings.Repeat("é", 512) // 1,024 bytes
		label     = strings.Repeat("温", 85) + "!"
		meaning   = strings.Repeat("x", 256)
	)
	m := &telemetryv1.Telemetry{
		SchemaVersion: 1, DeviceId: deviceID, MessageId: messageID, BootId: bootID,
		Sequence: proto.Uint64(1<<53 - 1), ObservedAtMs: proto.Int64(253402300799999),
		Metrics:    []*telemetryv1.Metric{text(metric, value)},
		Attributes: []*telemetryv1.Attribute{attribute(label, meaning)},
	}
	metrics := []string{quote(metric) + ":" + quote(value)}
	for i := 1; i < 256; i++ {
		m.Metrics = append(m.Metrics, boolean(field(i), i%2 == 0))
		metrics = append(metrics, quote(field(i))+map[bool]string{true: ":true", false: ":false"}[i%2 == 0])
	}
	attributes := []string{quote(label) + ":" + quote(meaning)}
	for i := 1; i < 64; i++ {
		m.Attributes = append(m.Attributes, attribute(field(i), ""))
		attributes = append(attributes, quote(field(i))+`:""`)
	}
	return []vector{{
		name:  "limits",
		about: "Every text as long, every number as large and every list as full as it may be.",
		json: `{"schema_version":1,"device_id":"` + deviceID + `","message_id":"` + messageID + `","boot_id":"` + bootID +
			`","sequence":9007199254740991,"observed_at_ms":253402300799999,"metrics":{` + strings.Join(metrics, ",") +
			`},"attributes":{` + strings.Join(attributes, ",") + `}}`,
		telemetry: telemetry{message: m},
		stamps: stamped().with(func(s *stamps) {
			s.DeviceID, s.GatewayID = deviceID, "g"+strings.Repeat("_", 63)
		}),
	}}
}
