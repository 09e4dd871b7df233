package mqttwire

import "encoding/binary"

// Subscription is one filter of a SUBSCRIBE with its options.
type Subscription struct {
	Filter            string
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0 send retained messages, 1 if the subscription is new, 2 never
}

// SubscribePacket asks for messages.
type SubscribePacket struct {
	ID         uint16
	Filters    []Subscription
	Properties Properties
}

// DecodeSubscribe reads a SUBSCRIBE.
func DecodeSubscribe(version Version, body []byte) (*SubscribePacket, error) {
	packet := &SubscribePacket{}
	f := &fields{rest: body}
	packet.ID = f.packetID()
	if version == Version5 {
		packet.Properties = f.properties(Subscribe, nil)
	}
	if f.err == nil && len(f.rest) == 0 {
		f.fail(violation("SUBSCRIBE without a filter"))
	}
	for len(f.rest) > 0 {
		filter, shared := f.filter()
		options := f.byte()
		switch {
		case f.err != nil:
		case options&3 == 3 || options&0xC0 != 0 || options&0x30 == 0x30 || version != Version5 && options > 2:
			f.fail(malformed("options of a subscription"))
		case shared && options&4 != 0:
			f.fail(violation("no-local on a shared subscription"))
		}
		packet.Filters = append(packet.Filters, Subscription{
			Filter: filter, QoS: options & 3, NoLocal: options&4 != 0,
			RetainAsPublished: options&8 != 0, RetainHandling: options >> 4 & 3,
		})
	}
	return packet, f.err
}

func (f *fields) filter() (filter string, shared bool) {
	filter = string(f.text())
	group, _, ok := ParseFilter(filter)
	if f.err == nil && !ok {
		f.fail(malformed("topic filter"))
	}
	return filter, group != ""
}

// Append writes the packet.
func (p *SubscribePacket) Append(dst []byte, version Version) []byte {
	dst, mark := begin(dst, Subscribe, 2)
	dst = binary.BigEndian.AppendUint16(dst, p.ID)
	if version == Version5 {
		dst = p.Properties.append(dst)
	}
	for _, subscription := range p.Filters {
		options := subscription.QoS | subscription.RetainHandling<<4
		if subscription.NoLocal {
			options |= 4
		}
		if subscription.RetainAsPublished {
			options |= 8
		}
		dst = append(appendBlock(dst, subscription.Filter), options)
	}
	return finish(dst, mark)
}

// UnsubscribePacket ends subscriptions.
type UnsubscribePacket struct {
	ID         uint16
	Filters    []string
	Properties Properties
}

// DecodeUnsubscribe reads an UNSUBSCRIBE.
func DecodeUnsubscribe(version Version, body []byte) (*UnsubscribePacket, error) {
	packet := &UnsubscribePacket{}
	f := &fields{rest: body}
	packet.ID = f.packetID()
	if version == Version5 {
		packet.Properties = f.properties(Unsubscribe, nil)
	}
	if f.err == nil && len(f.rest) == 0 {
		f.fail(violation("UNSUBSCRIBE without a filter"))
	}
	for len(f.rest) > 0 {
		filter, _ := f.filter()
		packet.Filters = append(packet.Filters, filter)
	}
	return packet, f.err
}

// Append writes the packet.
func (p *UnsubscribePacket) Append(dst []byte, version Version) []byte {
	dst, mark := begin(dst, Unsubscribe, 2)
	dst = binary.BigEndian.AppendUint16(dst, p.ID)
	if version == Version5 {
		dst = p.Properties.append(dst)
	}
	for _, filter := range p.Filters {
		dst = appendBlock(dst, filter)
	}
	return finish(dst, mark)
}

// SubackPacket answers SUBSCRIBE, and as [Unsuback] UNSUBSCRIBE, with a code per
// filter. An UNSUBACK before version 5 has no codes.
type SubackPacket struct {
	Type       PacketType // Suback or Unsuback
	ID         uint16
	Reasons    []ReasonCode
	Properties Properties
}

// DecodeSuback reads a SUBACK or UNSUBACK.
func DecodeSuback(version Version, frame Frame) (*SubackPacket, error) {
	packet := &SubackPacket{Type: frame.Type}
	f := &fields{rest: frame.Body}
	packet.ID = f.packetID()
	if version == Version5 {
		packet.Properties = f.properties(frame.Type, nil)
	}
	if frame.Type == Unsuback && version != Version5 {
		f.end()
	}
	for len(f.rest) > 0 {
		reason := ReasonCode(f.byte())
		if version != Version5 && reason > GrantedQoS2 && reason != SubackFailure {
			f.fail(malformed("return code of SUBACK"))
		}
		packet.Reasons = append(packet.Reasons, reason)
	}
	return packet, f.err
}

// Append writes the packet.
func (p *SubackPacket) Append(dst []byte, version Version) []byte {
	dst, mark := begin(dst, p.Type, 0)
	dst = binary.BigEndian.AppendUint16(dst, p.ID)
	if version == Version5 {
		dst = p.Properties.append(dst)
	}
	if p.Type == Unsuback && version != Version5 {
		return finish(dst, mark)
	}
	for _, reason := range p.Reasons {
		if version != Version5 && reason > GrantedQoS2 {
			reason = SubackFailure
		}
		dst = append(dst, byte(reason))
	}
	return finish(dst, mark)
}
