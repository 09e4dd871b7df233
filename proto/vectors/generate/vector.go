package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// vector is a payload that the gateway accepts.
type vector struct {
	name      string
	about     string // one sentence: what this vector can find wrong
	json      string // the payload as JSON; empty when only protobuf can say it
	telemetry        // what either payload means
	stamps    stamps
	// jsonOnly leaves out the protobuf payload, where JSON has several spellings
	// of the same value.
	jsonOnly bool
	// tail is appended to the protobuf payload: fields that the schema does not
	// know.
	tail []byte
}

// telemetry is what a payload means. An observation finer than a millisecond
// has no protobuf form, so its microseconds are kept beside the message.
type telemetry struct {
	message    *telemetryv1.Telemetry
	observedUS *int64
}

// stamps are what the gateway adds to a payload. The keys are those of
// stamps.json.
type stamps struct {
	About         string `json:"about"`
	GatewayID     string `json:"gateway_id"`
	DeviceID      string `json:"device_id"`
	CorrelationID string `json:"correlation_id"`
	ReceiveTS     string `json:"receive_ts"`
	Source        string `json:"source"`
	MessageID     string `json:"message_id,omitempty"` // from the request; wins over the payload's
	TraceParent   string `json:"traceparent,omitempty"`
	Verified      bool   `json:"verified,omitempty"`
	Delivery      string `json:"delivery"`
	ReplayID      string `json:"replay_id,omitempty"`
	Revision      int    `json:"revision,omitempty"`
}

// stamped returns the stamps of an ordinary message.
func stamped() stamps {
	return stamps{
		GatewayID:     "gw-0badcafe",
		DeviceID:      "dev-1",
		CorrelationID: "01a2046a-397b-7000-8000-000004000005",
		ReceiveTS:     "2026-11-22T18:00:00.123456Z",
		Source:        "mqtt",
		Delivery:      "live",
	}
}

// spell writes the folder of the vector.
func (v vector) spell(files map[string][]byte) error {
	if v.stamps == (stamps{}) {
		v.stamps = stamped()
	}
	v.stamps.About = v.about
	if v.json != "" {
		if err := add(files, []byte(v.json), "valid", v.name, "payload.json"); err != nil {
			return err
		}
	}
	if !v.jsonOnly {
		payload, err := encode(v.message)
		if err != nil {
			return err
		}
		if err := add(files, append(payload, v.tail...), "valid", v.name, "payload.binpb"); err != nil {
			return err
		}
	}
	return spellMeaning(files, "valid/"+v.name, v.telemetry, v.stamps)
}

// spellMeaning writes what every encoding of a payload means.
func spellMeaning(files map[string][]byte, folder string, t telemetry, s stamps) error {
	pretty, err := indent(s)
	if err != nil {
		return err
	}
	canonical, err := renderCanonical(t, s)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"stamps.json":    pretty,
		"canonical.json": canonical,
		"decoded.txt":    []byte(dump(t)),
	} {
		if err := add(files, content, folder, name); err != nil {
			return err
		}
	}
	return nil
}

// observed returns the observation in microseconds since 1970.
func (t telemetry) observed() (int64, bool) {
	switch {
	case t.observedUS != nil:
		return *t.observedUS, true
	case t.message.ObservedAtMs != nil:
		return t.message.GetObservedAtMs() * 1000, true
	}
	return 0, false
}

// encode returns the deterministic encoding of a message.
func encode(message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(message)
}

// indent returns a value as JSON for people, without HTML escapes.
func indent(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(value)
	return text.Bytes(), err
}

// microseconds writes a time as the canonical JSON does.
func microseconds(us int64) string {
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// message builds a Telemetry from its metrics.
func message(metrics ...*telemetryv1.Metric) *telemetryv1.Telemetry {
	return &telemetryv1.Telemetry{SchemaVersion: 1, Metrics: metrics}
}

func number(name string, value float64) *telemetryv1.Metric {
	return &telemetryv1.Metric{Name: name, Value: &telemetryv1.Metric_Number{Number: value}}
}

func integer(name string, value int64) *telemetryv1.Metric {
	return &telemetryv1.Metric{Name: name, Value: &telemetryv1.Metric_Integer{Integer: value}}
}

func boolean(name string, value bool) *telemetryv1.Metric {
	return &telemetryv1.Metric{Name: name, Value: &telemetryv1.Metric_Boolean{Boolean: value}}
}

func text(name, value string) *telemetryv1.Metric {
	return &telemetryv1.Metric{Name: name, Value: &telemetryv1.Metric_Text{Text: value}}
}

func attribute(name, value string) *telemetryv1.Attribute {
	return &telemetryv1.Attribute{Name: name, Value: value}
}

// field names an element of a table of metrics: m000, m001, ...
func field(i int) string { return fmt.Sprintf("m%03d", i) }
