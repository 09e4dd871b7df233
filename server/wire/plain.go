package wire

import (
	"math"
	"time"

	"combotto.io/gateway/server/edge"
)

// plain reads telemetry as nearly every device writes it: members that the
// gateway knows, each of them once, strings of printable ASCII without escapes,
// numbers without exponent. It judges nothing. At the first thing beyond that it
// gives up, and decodeJSON reads the payload from its beginning; what both can
// read, they read alike (see FuzzDecoder_Plain and docs/adr).
type plain struct {
	d    *Decoder
	rest []byte
	seen uint16 // members of the object so far, by bit
}

const (
	sawSchemaVersion = 1 << iota
	sawDevice
	sawMessage
	sawBoot
	sawSequence
	sawObserved
	sawMetrics
	sawAttributes
)

// plainMembers is how many metrics or attributes are compared for names that
// come twice, each with each.
const plainMembers = 16

// decodePlain reports whether it could read the payload.
func (d *Decoder) decodePlain(payload []byte) bool {
	p := plain{d: d, rest: payload}
	if !p.object(inside) {
		return false
	}
	p.space()
	return len(p.rest) == 0
}

// level says which object is being read. A function value in its place would let
// plain escape to the heap.
type level uint8

const (
	inside level = iota // the outer object
	insideMetrics
	insideAttributes
)

// object reads an object, member by member.
func (p *plain) object(level level) bool {
	if !p.takes('{') {
		return false
	}
	if p.takes('}') {
		return true
	}
	for {
		name, ok := p.text()
		if !ok || !p.takes(':') || !p.member(level, name) {
			return false
		}
		if p.takes('}') {
			return true
		}
		if !p.takes(',') {
			return false
		}
	}
}

func (p *plain) member(level level, name []byte) bool {
	switch level {
	case insideMetrics:
		return p.metric(name)
	case insideAttributes:
		return p.attribute(name)
	}
	return p.field(name)
}

// field reads the value of a member of the outer object.
func (p *plain) field(name []byte) bool {
	t := &p.d.telemetry
	switch string(name) {
	case "schema_version":
		version, ok := p.whole(math.MaxUint32)
		t.SchemaVersion = uint32(version)
		return ok && p.once(sawSchemaVersion)
	case "device_id":
		text, ok := p.name()
		t.Device = edge.DeviceID(p.d.strings.intern(text))
		return ok && p.once(sawDevice)
	case "message_id":
		text, ok := p.name()
		t.Identity.MessageID = string(text)
		return ok && p.once(sawMessage)
	case "boot_id":
		text, ok := p.name()
		t.Identity.BootID = p.d.strings.intern(text)
		return ok && p.once(sawBoot)
	case "sequence":
		sequence, ok := p.whole(math.MaxInt64)
		t.Identity.Sequence, t.Identity.HasSequence = uint64(sequence), true
		return ok && p.once(sawSequence)
	case "observed_at":
		text, ok := p.text()
		if !ok {
			return false
		}
		at, ok := parseTime(text)
		return ok && p.once(sawObserved) && p.d.setObservedAt(at, "") == nil
	case "observed_at_ms":
		milliseconds, ok := p.whole(math.MaxInt64)
		return ok && p.once(sawObserved) && p.d.setObservedAt(time.UnixMilli(milliseconds), "") == nil
	case "metrics":
		return p.once(sawMetrics) && p.object(insideMetrics)
	case "attributes":
		return p.once(sawAttributes) && p.object(insideAttributes)
	}
	return false
}

// once notes a member and reports whether it is the first of its name.
func (p *plain) once(member uint16) bool {
	before := p.seen
	p.seen |= member
	return before&member == 0
}

func (p *plain) metric(name []byte) bool {
	t := &p.d.telemetry
	for i := range t.Metrics {
		if t.Metrics[i].Name == string(name) {
			return false
		}
	}
	value, ok := p.value()
	if !ok || len(t.Metrics) == plainMembers {
		return false
	}
	t.Metrics = append(t.Metrics, edge.Metric{Name: p.nameOfMetric(name), Value: value})
	return true
}

// nameOfMetric interns a name. Most devices send the same metrics in the same
// order, so the name that stood in its place before is tried first.
func (p *plain) nameOfMetric(name []byte) string {
	metrics := p.d.telemetry.Metrics
	if len(metrics) < cap(metrics) {
		if before := metrics[:len(metrics)+1][len(metrics)].Name; before == string(name) {
			return before
		}
	}
	return p.d.strings.intern(name)
}

func (p *plain) attribute(name []byte) bool {
	t := &p.d.telemetry
	for i := range t.Attributes {
		if t.Attributes[i].Name == string(name) {
			return false
		}
	}
	text, ok := p.text()
	if !ok || len(t.Attributes) == plainMembers {
		return false
	}
	t.Attributes = append(t.Attributes, edge.Attribute{Name: p.d.strings.intern(name), Value: p.d.strings.intern(text)})
	return true
}

// value reads the value of a metric.
func (p *plain) value() (edge.Value, bool) {
	p.space()
	if len(p.rest) == 0 {
		return edge.Value{}, false
	}
	switch p.rest[0] {
	case '"':
		text, ok := p.text()
		return edge.Value{Kind: edge.KindText, Text: p.d.strings.intern(text)}, ok
	case 't':
		return edge.Value{Kind: edge.KindBool, Bool: true}, p.literal("true")
	case 'f':
		return edge.Value{Kind: edge.KindBool}, p.literal("false")
	}
	return p.number()
}

func (p *plain) literal(word string) bool {
	if len(p.rest) < len(word) || string(p.rest[:len(word)]) != word {
		return false
	}
	p.rest = p.rest[len(word):]
	return true
}

// space skips what may stand between tokens.
func (p *plain) space() {
	for len(p.rest) > 0 && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\t' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

// takes skips one byte if it comes next.
func (p *plain) takes(wanted byte) bool {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != wanted {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// name reads a string that is not empty.
func (p *plain) name() ([]byte, bool) {
	text, ok := p.text()
	return text, ok && len(text) > 0
}

// text reads a string, which stays a part of the payload.
func (p *plain) text() ([]byte, bool) {
	if !p.takes('"') {
		return nil, false
	}
	for i, letter := range p.rest {
		switch {
		case letter == '"':
			text := p.rest[:i]
			p.rest = p.rest[i+1:]
			return text, true
		case letter < ' ' || letter > '~' || letter == '\\':
			return nil, false
		}
	}
	return nil, false
}

// whole reads an integer from 0 to a limit.
func (p *plain) whole(limit int64) (int64, bool) {
	p.space()
	value, ok := p.number()
	return value.Integer, ok && value.Kind == edge.KindInteger && value.Integer >= 0 && value.Integer <= limit
}

const (
	// plainDigits is how many digits of a number are read here: as many as fit
	// int64 whatever they are.
	plainDigits = 18
	// exactDigits of a decimal make a whole number that a double holds exactly, and
	// so does a power of ten up to 1e22. Their quotient, rounded once, is what
	// strconv.ParseFloat returns.
	exactDigits = 15
)

var powersOfTen = [exactDigits + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// number reads a number without exponent. An integer that is larger than it
// reads, or is followed by something else, shows at the next token.
func (p *plain) number() (edge.Value, bool) {
	text := p.rest
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	whole, digits := leadingDigits(text)
	if digits == 0 || digits > plainDigits || digits > 1 && text[0] == '0' {
		return edge.Value{}, false
	}
	text = text[digits:]
	if len(text) == 0 || text[0] != '.' {
		p.rest = text
		if negative {
			whole = -whole
		}
		return edge.Value{Kind: edge.KindInteger, Integer: whole}, !exponent(text)
	}
	fraction, places := leadingDigits(text[1:])
	if places == 0 || digits+places > exactDigits {
		return edge.Value{}, false
	}
	p.rest = text[1+places:]
	number := (float64(whole)*powersOfTen[places] + float64(fraction)) / powersOfTen[places]
	if negative {
		number = -number
	}
	return edge.Value{Kind: edge.KindNumber, Number: number}, !exponent(p.rest)
}

func exponent(text []byte) bool { return len(text) > 0 && (text[0] == 'e' || text[0] == 'E') }

// leadingDigits returns the digits at the beginning of a text as a number, and
// how many there are; beyond plainDigits the number is wrong.
func leadingDigits(text []byte) (number int64, count int) {
	for count < len(text) && count <= plainDigits && '0' <= text[count] && text[count] <= '9' {
		number = 10*number + int64(text[count]-'0')
		count++
	}
	return number, count
}
