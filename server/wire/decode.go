package wire

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"combotto.io/gateway/server/edge"
)

// Decoder reads telemetry. It reuses its memory from one payload to the next:
// there is one per connection or handler, it is not safe for concurrent use, and
// what Decode returns is valid until the next call.
type Decoder struct {
	telemetry edge.Telemetry
	strings   cache
	scratch   []byte // an unquoted JSON string

	source bytes.Buffer // what jsontext reads from without copying
	json   jsontext.Decoder
}

// NewDecoder returns a decoder. It takes memory only as payloads need it.
func NewDecoder() *Decoder { return &Decoder{} }

// Decode reads one payload. It returns the encoding that it used: encoding
// itself, or what the first byte says when that is [edge.EncodingAuto].
//
// The error is an [edge.Error]. The telemetry has the right shape and types, but
// what it means is for [edge.Telemetry.Check] to judge.
func (d *Decoder) Decode(encoding edge.Encoding, payload []byte) (*edge.Telemetry, edge.Encoding, error) {
	if encoding == edge.EncodingAuto {
		encoding = edge.EncodingProtobuf
		if len(payload) > 0 && payload[0] == '{' {
			encoding = edge.EncodingJSON
		}
	}
	d.telemetry = edge.Telemetry{Metrics: d.telemetry.Metrics[:0], Attributes: d.telemetry.Attributes[:0]}
	if len(payload) == 0 {
		return nil, encoding, edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "the payload is empty")
	}
	decode := d.decodeProtobuf
	if encoding == edge.EncodingJSON {
		decode = d.decodeJSON
	}
	if err := decode(payload); err != nil {
		return nil, encoding, err
	}
	return &d.telemetry, encoding, nil
}

// room refuses a list that would grow beyond its limit, so that what a decoder
// keeps is bounded whatever ingest.max_payload is.
func room(length, limit int, field string) error {
	if length < limit {
		return nil
	}
	return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, field, "more than %d are not allowed", limit)
}

// fieldPath names a member of a field, unless its name is too strange to repeat.
func fieldPath(field, member string) string {
	if !edge.ValidMetricName(member) {
		return field
	}
	return field + "." + member
}

// cache keeps short strings that come again and again, such as the names of
// metrics, so that a repetition costs no allocation. It holds little, because
// there is one for each connection, and starts afresh when it is full.
type cache struct{ known map[string]string }

const (
	cacheStrings     = 128
	cacheStringBytes = edge.MaxMetricNameBytes
)

func (c *cache) intern(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if len(text) > cacheStringBytes {
		return string(text)
	}
	if known, ok := c.known[string(text)]; ok {
		return known
	}
	if c.known == nil {
		c.known = make(map[string]string)
	}
	if len(c.known) >= cacheStrings {
		clear(c.known)
	}
	fresh := string(text)
	c.known[fresh] = fresh
	return fresh
}
