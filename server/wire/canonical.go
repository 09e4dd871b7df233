package wire

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"combotto.io/gateway/server/edge"
)

// Renderer turns deliveries into canonical records. It reuses its memory and is
// not safe for concurrent use: a lane has one per slot.
type Renderer struct {
	gateway edge.GatewayID
	decoder Decoder
}

// NewRenderer returns a renderer for the records of one gateway.
func NewRenderer(gateway edge.GatewayID) *Renderer { return &Renderer{gateway: gateway} }

// AppendRecord appends the canonical JSON of a delivery, without a line feed. It
// fails only where the payload cannot be decoded, which happens to no record
// that ingest has accepted.
func (r *Renderer) AppendRecord(dst []byte, delivery *edge.Delivery) ([]byte, error) {
	telemetry, _, err := r.decoder.Decode(delivery.Record.Encoding, delivery.Record.Payload)
	if err != nil {
		return dst, err
	}
	return AppendCanonical(dst, r.gateway, delivery, telemetry), nil
}

// AppendCanonical appends the canonical JSON of a delivery whose payload says
// telemetry. The order of the keys is fixed, absent fields are left out, and
// metrics and attributes stand in the order received.
func AppendCanonical(dst []byte, gateway edge.GatewayID, delivery *edge.Delivery, telemetry *edge.Telemetry) []byte {
	return appendCanonical(dst, gateway, delivery, telemetry, "")
}

// appendCanonical knows the id of a replay, too, for which edge has no word yet.
func appendCanonical(dst []byte, gateway edge.GatewayID, delivery *edge.Delivery, telemetry *edge.Telemetry, replay string) []byte {
	record := &delivery.Record
	identity := identityOf(record, telemetry)
	dst = append(dst, `{"correlation_id":"`...)
	dst, _ = record.Correlation.AppendText(dst) // cannot fail
	dst = appendMember(append(dst, '"'), "gateway_id", string(gateway))
	dst = appendMember(dst, "device_id", string(record.Device))
	dst = appendTime(dst, "receive_ts", record.ReceivedAt)
	if !telemetry.ObservedAt.IsZero() {
		dst = appendTime(dst, "observed_at", telemetry.ObservedAt)
	}
	if identity.BootID != "" {
		dst = appendMember(dst, "boot_id", identity.BootID)
	}
	if identity.HasSequence {
		dst = strconv.AppendUint(append(dst, `,"sequence":`...), identity.Sequence, 10)
	}
	if identity.MessageID != "" {
		dst = appendMember(dst, "message_id", identity.MessageID)
	}
	dst = strconv.AppendUint(append(dst, `,"schema_version":`...), uint64(telemetry.SchemaVersion), 10)
	dst = appendMetrics(dst, telemetry.Metrics)
	if len(telemetry.Attributes) > 0 {
		dst = appendAttributes(dst, telemetry.Attributes)
	}
	dst = appendMember(dst, "source", record.Source.String())
	if record.TraceParent != "" {
		dst = appendMember(dst, "traceparent", record.TraceParent)
	}
	if record.Verified {
		dst = append(dst, `,"verified":true`...)
	}
	dst = appendMember(dst, "delivery", delivery.Kind.String())
	if replay != "" {
		dst = appendMember(dst, "replay_id", replay)
	}
	if record.Revision > 0 {
		dst = strconv.AppendInt(append(dst, `,"revision":`...), int64(record.Revision), 10)
	}
	return append(dst, '}')
}

// identityOf returns the identity that a receiver is shown: what the payload
// says, and over it the name that the request gave the message.
func identityOf(record *edge.Record, telemetry *edge.Telemetry) edge.Identity {
	identity := telemetry.Identity
	if record.Identity.MessageID != "" {
		identity.MessageID = record.Identity.MessageID
	}
	return identity
}

func appendMetrics(dst []byte, metrics []edge.Metric) []byte {
	dst = append(dst, `,"metrics":{`...)
	for i := range metrics {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, metrics[i].Name), ':')
		dst = appendValue(dst, &metrics[i].Value)
	}
	return append(dst, '}')
}

func appendAttributes(dst []byte, attributes []edge.Attribute) []byte {
	dst = append(dst, `,"attributes":{`...)
	for i := range attributes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, attributes[i].Name), ':')
		dst = appendText(dst, attributes[i].Value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, value *edge.Value) []byte {
	switch value.Kind {
	case edge.KindInteger:
		return strconv.AppendInt(dst, value.Integer, 10)
	case edge.KindNumber:
		return jsontext.AppendFloat(dst, value.Number, 64) // the shortest form, as in RFC 8785, but -0 keeps its sign
	case edge.KindBool:
		return strconv.AppendBool(dst, value.Bool)
	}
	return appendText(dst, value.Text)
}

func appendMember(dst []byte, key, value string) []byte {
	dst = append(append(append(dst, `,"`...), key...), `":`...)
	return appendText(dst, value)
}

// appendText escapes what JSON requires and nothing else. Text that is no UTF-8
// cannot come from a Decoder; elsewhere it is mended.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

// appendTime appends UTC with six digits, always, so that times sort as text. It
// does by hand what AppendFormat does with a layout: a tenth of a record's cost.
func appendTime(dst []byte, key string, at time.Time) []byte {
	dst = append(append(append(dst, `,"`...), key...), `":"`...)
	at = at.UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	if year < 0 || year > 9999 {
		return append(at.AppendFormat(dst, "2006-01-02T15:04:05.000000Z"), '"')
	}
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	dst = append(appendDigits(dst, day, 2), 'T')
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = append(appendDigits(dst, second, 2), '.')
	return append(appendDigits(dst, at.Nanosecond()/1000, 6), `Z"`...)
}

// appendDigits appends a number with so many digits, at most six.
func appendDigits(dst []byte, number, digits int) []byte {
	dst = append(dst, "000000"[:digits]...)
	for place := len(dst) - 1; number > 0; place-- {
		dst[place] = '0' + byte(number%10)
		number /= 10
	}
	return dst
}
