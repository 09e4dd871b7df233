package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"combotto.io/gateway/server/edge"
)

// decodeJSON reads one JSON object (RFC 8259, and RFC 7493 in that names are
// unique and strings are Unicode).
//
// jsontext hands out slices of the payload, which nobody changes while it is
// being decoded, so a name is still there after its value has been read.
func (d *Decoder) decodeJSON(payload []byte) error {
	d.source = *bytes.NewBuffer(payload)
	d.json.Reset(&d.source)
	err := d.readObject("", d.readField)
	if err == nil {
		err = d.readEnd()
	}
	d.letGo()
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*edge.Error](err); ok {
		return refused
	}
	return refuseSyntax(err, payload)
}

// letGo forgets the payload, so that a connection that has fallen silent does
// not keep its last one in memory.
func (d *Decoder) letGo() {
	d.source = bytes.Buffer{}
	d.json.Reset(&d.source)
	if cap(d.scratch) > edge.MaxMetricTextBytes {
		d.scratch = nil
	}
}

// readObject reads an object and hands the unquoted name of each member to
// readMember, which reads its value.
func (d *Decoder) readObject(field string, readMember func(name []byte) error) error {
	if d.json.PeekKind() != '{' {
		return d.refuseType(field, "an object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != '}' {
		name, err := d.readText()
		if err != nil {
			return err
		}
		if err := readMember(name); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

func (d *Decoder) readEnd() error {
	_, err := d.json.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "is not JSON: something follows the object")
}

func (d *Decoder) readField(name []byte) (err error) {
	t := &d.telemetry
	switch string(name) {
	case "schema_version":
		return d.readSchemaVersion()
	case "device_id":
		var text string
		text, err = d.readName("device_id")
		t.Device = edge.DeviceID(text)
	case "message_id":
		t.Identity.MessageID, err = d.readName("message_id")
	case "boot_id":
		t.Identity.BootID, err = d.readName("boot_id")
	case "sequence":
		return d.readSequence()
	case "observed_at":
		return d.readObservedAt()
	case "observed_at_ms":
		return d.readObservedAtMilliseconds()
	case "metrics":
		return d.readObject("metrics", d.readMetric)
	case "attributes":
		return d.readObject("attributes", d.readAttribute)
	default:
		t.Unknown++
		return d.skip()
	}
	return err
}

func (d *Decoder) readSchemaVersion() error {
	version, ok, err := d.readWhole("schema_version")
	if err != nil {
		return err
	}
	if !ok || version < 0 || version > math.MaxUint32 {
		return edge.Refuse(edge.Invalid, edge.ReasonSchemaVersion, "schema_version", "is not supported; this gateway reads version %d", edge.SchemaVersion)
	}
	d.telemetry.SchemaVersion = uint32(version)
	return nil
}

func (d *Decoder) readSequence() error {
	sequence, ok, err := d.readWhole("sequence")
	if err != nil {
		return err
	}
	if !ok || sequence < 0 {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "sequence", "must be a whole number from 0 to %d", uint64(edge.MaxSequence))
	}
	d.telemetry.Identity.Sequence, d.telemetry.Identity.HasSequence = uint64(sequence), true
	return nil
}

func (d *Decoder) readObservedAt() error {
	if d.json.PeekKind() != '"' {
		return d.refuseType("observed_at", "a string")
	}
	text, err := d.readText()
	if err != nil {
		return err
	}
	at, ok := parseTime(text)
	if !ok {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "observed_at", "must be a time of RFC 3339, such as 2026-11-22T18:00:00.123Z")
	}
	return d.setObservedAt(at, "observed_at")
}

// parseTime reads a time of RFC 3339, and none of what the standard library
// takes beside it: an hour of one digit, a decimal comma, an offset that no
// clock has.
func parseTime(text []byte) (time.Time, bool) {
	var at time.Time
	if at.UnmarshalText(text) != nil || text[len("2006-01-02T15")] != ':' || bytes.IndexByte(text, ',') >= 0 {
		return time.Time{}, false
	}
	if offset := text[len(text)-len("07:00"):]; text[len(text)-1] != 'Z' && (string(offset) >= "24:00" || offset[3] > '5') {
		return time.Time{}, false
	}
	return at, true
}

func (d *Decoder) readObservedAtMilliseconds() error {
	milliseconds, ok, err := d.readWhole("observed_at_ms")
	if err != nil {
		return err
	}
	if !ok {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "observed_at_ms", "must be a whole number of milliseconds since 1970")
	}
	return d.setObservedAt(time.UnixMilli(milliseconds), "observed_at_ms")
}

// setObservedAt keeps what a canonical record can show: microseconds, and a year
// of four digits in UTC. The first instant of year 1, which is how Go and .NET
// write a time that was never set, means that the device did not say.
func (d *Decoder) setObservedAt(at time.Time, field string) error {
	at = at.UTC().Truncate(time.Microsecond)
	if year := at.Year(); year < 1 || year > 9999 {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, field, "must lie in the years 1 to 9999")
	}
	if !d.telemetry.ObservedAt.IsZero() {
		return edge.Refuse(edge.Invalid, edge.ReasonDuplicateKey, field, "observed_at and observed_at_ms exclude each other")
	}
	d.telemetry.ObservedAt = at
	return nil
}

func (d *Decoder) readMetric(name []byte) error {
	metric := edge.Metric{Name: d.nameOfMetric(name)}
	if err := room(len(d.telemetry.Metrics), edge.MaxMetrics, "metrics"); err != nil {
		return err
	}
	switch kind := d.json.PeekKind(); kind {
	case '"':
		text, err := d.readText()
		if err != nil {
			return err
		}
		metric.Value = edge.Value{Kind: edge.KindText, Text: d.strings.intern(text)}
	case 't', 'f':
		if _, err := d.json.ReadToken(); err != nil {
			return err
		}
		metric.Value = edge.Value{Kind: edge.KindBool, Bool: kind == 't'}
	case '0':
		digits, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		var ok bool
		if metric.Value, ok = parseNumber(digits); !ok {
			return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, fieldPath("metrics", metric.Name), "the number is too large for a double")
		}
	default:
		return d.refuseType(fieldPath("metrics", metric.Name), "a number, a boolean or a string")
	}
	d.telemetry.Metrics = append(d.telemetry.Metrics, metric)
	return nil
}

// nameOfMetric interns a name. Most devices send the same metrics in the same
// order, so the name that stood in this place before is tried first.
func (d *Decoder) nameOfMetric(name []byte) string {
	if metrics := d.telemetry.Metrics; len(metrics) < cap(metrics) {
		if before := metrics[:len(metrics)+1][len(metrics)].Name; before == string(name) {
			return before
		}
	}
	return d.strings.intern(name)
}

func (d *Decoder) readAttribute(name []byte) error {
	attribute := edge.Attribute{Name: d.strings.intern(name)}
	if err := room(len(d.telemetry.Attributes), edge.MaxAttributes, "attributes"); err != nil {
		return err
	}
	if d.json.PeekKind() != '"' {
		return d.refuseType(fieldPath("attributes", attribute.Name), "a string")
	}
	text, err := d.readText()
	if err != nil {
		return err
	}
	attribute.Value = d.strings.intern(text)
	d.telemetry.Attributes = append(d.telemetry.Attributes, attribute)
	return nil
}

// readName reads the value of a field that, when it is there, is not empty.
func (d *Decoder) readName(field string) (string, error) {
	if d.json.PeekKind() != '"' {
		return "", d.refuseType(field, "a string")
	}
	text, err := d.readText()
	if err != nil {
		return "", err
	}
	if len(text) == 0 {
		return "", edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, field, "must not be empty; leave it out")
	}
	if field == "message_id" { // never comes again
		return string(text), nil
	}
	return d.strings.intern(text), nil
}

// readText reads a string or a name. The bytes are valid until the next call.
func (d *Decoder) readText() ([]byte, error) {
	quoted, err := d.json.ReadValue()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	d.scratch, err = jsontext.AppendUnquote(d.scratch[:0], quoted)
	return d.scratch, err
}

// readWhole reads a number that is to be whole; ok is false when it is not, or
// is beyond int64.
func (d *Decoder) readWhole(field string) (whole int64, ok bool, err error) {
	if d.json.PeekKind() != '0' {
		return 0, false, d.refuseType(field, "a number")
	}
	digits, err := d.json.ReadValue()
	if err != nil {
		return 0, false, err
	}
	value, ok := parseNumber(digits)
	if !ok {
		return 0, false, nil
	}
	if value.Kind == edge.KindInteger {
		return value.Integer, true, nil
	}
	// 1.0 and 1e3 are whole as well. Beyond 2^53 a double no longer tells.
	if value.Number != math.Trunc(value.Number) || math.Abs(value.Number) > edge.MaxSequence {
		return 0, false, nil
	}
	return int64(value.Number), true, nil
}

// parseNumber reads a number of JSON's grammar. Written without fraction and
// exponent and within int64 it is an integer, -0 included; any other is a
// double. It is not ok beyond the largest double.
func parseNumber(digits []byte) (edge.Value, bool) {
	isFraction := func(letter byte) bool { return letter == '.' || letter == 'e' || letter == 'E' }
	if !slices.ContainsFunc(digits, isFraction) {
		if integer, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
			return edge.Value{Kind: edge.KindInteger, Integer: integer}, true
		}
	}
	number, err := strconv.ParseFloat(string(digits), 64)
	if err != nil {
		return edge.Value{}, false
	}
	return edge.Value{Kind: edge.KindNumber, Number: number}, true
}

// skip reads a value that the gateway does not know, which must be well-formed
// all the same.
func (d *Decoder) skip() error {
	depth := d.json.StackDepth()
	for {
		if _, err := d.json.ReadToken(); err != nil {
			return err
		}
		switch now := d.json.StackDepth(); {
		case now > edge.MaxJSONDepth:
			return edge.Refuse(edge.Malformed, edge.ReasonDepth, "", "is nested more than %d levels deep", edge.MaxJSONDepth)
		case now == depth:
			return nil
		}
	}
}

// refuseType refuses the value that comes next, unless it is no value at all.
func (d *Decoder) refuseType(field, wanted string) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	return edge.Refuse(edge.Invalid, edge.ReasonWrongType, field, "must be %s", wanted)
}

// refuseSyntax says what is wrong with a text that is not JSON.
func refuseSyntax(err error, payload []byte) error {
	refuse := func(reason edge.Reason, format string, args ...any) error {
		return edge.Refuse(edge.Malformed, reason, "", format, args...)
	}
	syntactic, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case !ok, errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(edge.ReasonMalformed, "is not JSON: it ends in the middle")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return refuse(edge.ReasonDuplicateKey, "the key at byte %d is there twice", syntactic.ByteOffset)
	case bytes.HasPrefix(payload, []byte("\xef\xbb\xbf")):
		return refuse(edge.ReasonMalformed, "is not JSON: it begins with a byte order mark")
	case !utf8.Valid(payload):
		return refuse(edge.ReasonEncoding, "is not valid UTF-8")
	}
	return refuse(edge.ReasonMalformed, "is not JSON: %v at byte %d", syntactic.Err, syntactic.ByteOffset)
}
