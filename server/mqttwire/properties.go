package mqttwire

import "encoding/binary"

// PropertyID names a property of MQTT 5.
type PropertyID byte

// The properties.
const (
	PayloadFormat           PropertyID = 0x01
	MessageExpiry           PropertyID = 0x02
	ContentType             PropertyID = 0x03
	ResponseTopic           PropertyID = 0x08
	CorrelationData         PropertyID = 0x09
	SubscriptionID          PropertyID = 0x0B
	SessionExpiry           PropertyID = 0x11
	AssignedClientID        PropertyID = 0x12
	ServerKeepAlive         PropertyID = 0x13
	AuthenticationMethod    PropertyID = 0x15
	AuthenticationData      PropertyID = 0x16
	RequestProblemInfo      PropertyID = 0x17
	WillDelay               PropertyID = 0x18
	RequestResponseInfo     PropertyID = 0x19
	ResponseInfo            PropertyID = 0x1A
	ServerReference         PropertyID = 0x1C
	ReasonString            PropertyID = 0x1F
	ReceiveMaximum          PropertyID = 0x21
	TopicAliasMaximum       PropertyID = 0x22
	TopicAlias              PropertyID = 0x23
	MaximumQoS              PropertyID = 0x24
	RetainAvailable         PropertyID = 0x25
	UserProperty            PropertyID = 0x26
	MaximumPacketSize       PropertyID = 0x27
	WildcardAvailable       PropertyID = 0x28
	SubscriptionIDAvailable PropertyID = 0x29
	SharedAvailable         PropertyID = 0x2A
)

// Property is one property. Which fields count depends on the id: Number for a
// number, Value for text and bytes, Name and Value for a [UserProperty].
type Property struct {
	ID     PropertyID
	Number uint32
	Name   []byte
	Value  []byte
}

// Properties are the properties of one packet in the order of the wire. Only
// [UserProperty], and [SubscriptionID] in a PUBLISH, may occur more than once.
type Properties []Property

// Number returns a property that is a number, and whether it is there.
func (p Properties) Number(id PropertyID) (uint32, bool) {
	for i := range p {
		if p[i].ID == id {
			return p[i].Number, true
		}
	}
	return 0, false
}

// Value returns a property that is text or bytes, nil when it is not there.
func (p Properties) Value(id PropertyID) []byte {
	for i := range p {
		if p[i].ID == id {
			return p[i].Value
		}
	}
	return nil
}

// Has reports whether a property is there.
func (p Properties) Has(id PropertyID) bool {
	_, ok := p.Number(id)
	return ok
}

// User returns the first user property of that name, nil when there is none.
func (p Properties) User(name string) []byte {
	for i := range p {
		if p[i].ID == UserProperty && string(p[i].Name) == name {
			return p[i].Value
		}
	}
	return nil
}

// shape is how a property's value lies on the wire.
type shape byte

const (
	oneByte shape = iota + 1
	twoBytes
	fourBytes
	varint
	text
	block
	pair
)

// will stands for the will's own properties where a packet type is expected.
const will PacketType = 0

func in(packets ...PacketType) (set uint16) {
	for _, packet := range packets {
		set |= 1 << packet
	}
	return set
}

// propertyTable is table 2-4 of the standard. A zero row is no property.
var propertyTable = [...]struct {
	shape shape
	in    uint16
}{
	PayloadFormat:           {oneByte, in(Publish, will)},
	MessageExpiry:           {fourBytes, in(Publish, will)},
	ContentType:             {text, in(Publish, will)},
	ResponseTopic:           {text, in(Publish, will)},
	CorrelationData:         {block, in(Publish, will)},
	SubscriptionID:          {varint, in(Publish, Subscribe)},
	SessionExpiry:           {fourBytes, in(Connect, Connack, Disconnect)},
	AssignedClientID:        {text, in(Connack)},
	ServerKeepAlive:         {twoBytes, in(Connack)},
	AuthenticationMethod:    {text, in(Connect, Connack, Auth)},
	AuthenticationData:      {block, in(Connect, Connack, Auth)},
	RequestProblemInfo:      {oneByte, in(Connect)},
	WillDelay:               {fourBytes, in(will)},
	RequestResponseInfo:     {oneByte, in(Connect)},
	ResponseInfo:            {text, in(Connack)},
	ServerReference:         {text, in(Connack, Disconnect)},
	ReasonString:            {text, in(Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect, Auth)},
	ReceiveMaximum:          {twoBytes, in(Connect, Connack)},
	TopicAliasMaximum:       {twoBytes, in(Connect, Connack)},
	TopicAlias:              {twoBytes, in(Publish)},
	MaximumQoS:              {oneByte, in(Connack)},
	RetainAvailable:         {oneByte, in(Connack)},
	UserProperty:            {pair, ^in(Pingreq, Pingresp)},
	MaximumPacketSize:       {fourBytes, in(Connect, Connack)},
	WildcardAvailable:       {oneByte, in(Connack)},
	SubscriptionIDAvailable: {oneByte, in(Connack)},
	SharedAvailable:         {oneByte, in(Connack)},
}

// properties reads the property block of a packet of the given type into dst.
func (f *fields) properties(packet PacketType, dst Properties) Properties {
	size := f.varint()
	inner := fields{rest: f.take(size), err: f.err}
	var seen uint64
	for len(inner.rest) > 0 {
		property := inner.property()
		if inner.err != nil {
			break
		}
		repeatable := property.ID == UserProperty || property.ID == SubscriptionID && packet == Publish
		switch {
		case propertyTable[property.ID].in&(1<<packet) == 0:
			inner.fail(violation("property does not belong in this packet"))
		case seen&(1<<property.ID) != 0 && !repeatable:
			inner.fail(violation("property occurs twice"))
		default:
			inner.fail(property.check())
		}
		seen |= 1 << property.ID
		dst = append(dst, property)
	}
	f.fail(inner.err)
	return dst
}

func (f *fields) property() (property Property) {
	id := f.varint()
	if id >= len(propertyTable) || propertyTable[id].shape == 0 {
		f.fail(malformed("unknown property"))
		return property
	}
	property.ID = PropertyID(id)
	switch propertyTable[id].shape {
	case oneByte:
		property.Number = uint32(f.byte())
	case twoBytes:
		property.Number = uint32(f.uint16())
	case fourBytes:
		property.Number = f.uint32()
	case varint:
		property.Number = uint32(f.varint())
	case text:
		property.Value = f.text()
	case block:
		property.Value = f.binary()
	case pair:
		property.Name, property.Value = f.text(), f.text()
	}
	return property
}

// check refuses values that the standard rules out for every packet.
func (p *Property) check() error {
	switch p.ID {
	case PayloadFormat, RequestProblemInfo, RequestResponseInfo, MaximumQoS, RetainAvailable,
		WildcardAvailable, SubscriptionIDAvailable, SharedAvailable:
		if p.Number > 1 {
			return violation("property is neither 0 nor 1")
		}
	case SubscriptionID, ReceiveMaximum, MaximumPacketSize:
		if p.Number == 0 {
			return violation("property is 0")
		}
	case TopicAlias:
		if p.Number == 0 {
			return Refuse(TopicAliasInvalid, "topic alias 0")
		}
	case ResponseTopic:
		if !ValidTopic(p.Value) {
			return violation("response topic has wildcards")
		}
	}
	return nil
}

// append writes the block, with its length. Properties that are not in the
// table are left out.
func (p Properties) append(dst []byte) []byte {
	size := 0
	for i := range p {
		size += p[i].size()
	}
	dst = appendVarint(dst, size)
	for i := range p {
		dst = p[i].append(dst)
	}
	return dst
}

func (p *Property) shape() shape {
	if int(p.ID) < len(propertyTable) {
		return propertyTable[p.ID].shape
	}
	return 0
}

func (p *Property) size() int {
	switch p.shape() {
	case oneByte:
		return 2
	case twoBytes:
		return 3
	case fourBytes:
		return 5
	case varint:
		return 1 + sizeVarint(int(p.Number))
	case text, block:
		return 3 + len(p.Value)
	case pair:
		return 5 + len(p.Name) + len(p.Value)
	}
	return 0
}

func (p *Property) append(dst []byte) []byte {
	kind := p.shape()
	if kind == 0 {
		return dst
	}
	dst = append(dst, byte(p.ID))
	switch kind {
	case oneByte:
		return append(dst, byte(p.Number))
	case twoBytes:
		return binary.BigEndian.AppendUint16(dst, uint16(p.Number))
	case fourBytes:
		return binary.BigEndian.AppendUint32(dst, p.Number)
	case varint:
		return appendVarint(dst, int(p.Number))
	case pair:
		dst = appendBlock(dst, p.Name)
	}
	return appendBlock(dst, p.Value)
}
