package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// renderCanonical writes the canonical JSON of a record, as proto/vectors/README.md
// describes it. It is written for clearness; the server has its own.
func renderCanonical(t telemetry, s stamps) ([]byte, error) {
	m := t.message
	object := jsonObject{}
	object.text("correlation_id", s.CorrelationID)
	object.text("gateway_id", s.GatewayID)
	object.text("device_id", s.DeviceID)
	object.text("receive_ts", s.ReceiveTS)
	if us, known := t.observed(); known {
		object.text("observed_at", microseconds(us))
	}
	object.text("boot_id", m.GetBootId())
	if m.Sequence != nil {
		object.raw("sequence", strconv.FormatUint(m.GetSequence(), 10))
	}
	object.text("message_id", cmp.Or(s.MessageID, m.GetMessageId()))
	object.raw("schema_version", strconv.FormatUint(uint64(m.GetSchemaVersion()), 10))
	metrics := jsonObject{}
	for _, metric := range m.GetMetrics() {
		value, err := renderValue(metric)
		if err != nil {
			return nil, err
		}
		metrics.raw(metric.GetName(), value)
	}
	object.raw("metrics", metrics.String())
	if len(m.GetAttributes()) > 0 {
		attributes := jsonObject{}
		for _, attribute := range m.GetAttributes() {
			attributes.raw(attribute.GetName(), quote(attribute.GetValue()))
		}
		object.raw("attributes", attributes.String())
	}
	object.text("source", s.Source)
	object.text("traceparent", s.TraceParent)
	if s.Verified {
		object.raw("verified", "true")
	}
	object.text("delivery", s.Delivery)
	object.text("replay_id", s.ReplayID)
	if s.Revision > 0 {
		object.raw("revision", strconv.Itoa(s.Revision))
	}
	return []byte(object.String()), nil
}

// jsonObject collects the members of an object in order.
type jsonObject struct{ members []string }

// text adds a member unless it is empty, which means absent.
func (o *jsonObject) text(name, value string) {
	if value != "" {
		o.raw(name, quote(value))
	}
}

func (o *jsonObject) raw(name, value string) {
	o.members = append(o.members, quote(name)+":"+value)
}

func (o *jsonObject) String() string { return "{" + strings.Join(o.members, ",") + "}" }

func renderValue(metric *telemetryv1.Metric) (string, error) {
	switch value := metric.GetValue().(type) {
	case *telemetryv1.Metric_Number:
		return formatDouble(value.Number), nil
	case *telemetryv1.Metric_Integer:
		return strconv.FormatInt(value.Integer, 10), nil
	case *telemetryv1.Metric_Boolean:
		return strconv.FormatBool(value.Boolean), nil
	case *telemetryv1.Metric_Text:
		return quote(value.Text), nil
	}
	return "", fmt.Errorf("metric %q has no value", metric.GetName())
}

// formatDouble writes a double as ECMAScript does (RFC 8785, 3.2.2.3): the
// fewest digits that read back as the same double, no exponent from 1e-6 up to
// below 1e21. Only the negative zero keeps its sign here.
func formatDouble(value float64) string {
	if abs := math.Abs(value); abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(value, 'e', -1, 64), "e")
	sign, digits := exponent[:1], strings.TrimLeft(exponent[1:], "0")
	return mantissa + "e" + sign + digits
}

// quote writes a string as RFC 8785, 3.2.2.2, does: only what must be escaped is.
func quote(value string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < 0x20 && strings.ContainsRune("\b\t\n\f\r", r):
			out.WriteByte('\\')
			out.WriteByte("btn?fr"[r-'\b'])
		case r < 0x20:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// dump writes decoded.txt: one line per value, doubles by their bits, so that
// four languages can be compared byte by byte.
func dump(t telemetry) string {
	var out strings.Builder
	m := t.message
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("schema_version %d", m.GetSchemaVersion())
	for _, item := range []struct{ name, value string }{
		{"device_id", m.GetDeviceId()}, {"message_id", m.GetMessageId()}, {"boot_id", m.GetBootId()},
	} {
		if item.value != "" {
			line("%s %s", item.name, percent(item.value))
		}
	}
	if m.Sequence != nil {
		line("sequence %d", m.GetSequence())
	}
	if us, known := t.observed(); known {
		line("observed_at_us %d", us)
	}
	for _, metric := range m.GetMetrics() {
		switch value := metric.GetValue().(type) {
		case *telemetryv1.Metric_Number:
			line("metric %s number %016x", percent(metric.GetName()), math.Float64bits(value.Number))
		case *telemetryv1.Metric_Integer:
			line("metric %s integer %d", percent(metric.GetName()), value.Integer)
		case *telemetryv1.Metric_Boolean:
			line("metric %s boolean %t", percent(metric.GetName()), value.Boolean)
		case *telemetryv1.Metric_Text:
			line("metric %s text %s", percent(metric.GetName()), percent(value.Text))
		}
	}
	for _, attribute := range m.GetAttributes() {
		line("attribute %s %s", percent(attribute.GetName()), percent(attribute.GetValue()))
	}
	return out.String()
}

// percent quotes a string; bytes that are not printable ASCII, and the two that
// quoting needs, become %XX.
func percent(value string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i := range len(value) {
		if b := value[i]; b < ' ' || b > '~' || b == '"' || b == '%' {
			fmt.Fprintf(&out, "%%%02X", b)
		} else {
			out.WriteByte(b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
