package mqttwire

import "encoding/binary"

// PublishPacket carries a message. A packet may be decoded into again and again.
type PublishPacket struct {
	Duplicate  bool
	QoS        byte
	Retain     bool
	ID         uint16 // 0 exactly when QoS is 0
	Topic      []byte // may be empty in version 5, with a topic alias
	Payload    []byte
	Properties Properties
}

// Decode reads a PUBLISH. Everything in the packet is overwritten; the array
// behind Properties is used again.
func (p *PublishPacket) Decode(version Version, frame Frame) error {
	f := fields{rest: frame.Body}
	properties := p.Properties[:0]
	*p = PublishPacket{Duplicate: frame.Flags&8 != 0, QoS: frame.Flags >> 1 & 3, Retain: frame.Flags&1 != 0}
	p.Topic = f.text()
	if p.QoS > 0 {
		p.ID = f.packetID()
	}
	if version == Version5 {
		properties = f.properties(Publish, properties)
	}
	p.Properties = properties
	if f.err != nil {
		return f.err
	}
	p.Payload = f.rest
	if len(p.Topic) == 0 {
		if !properties.Has(TopicAlias) {
			return malformed("no topic")
		}
	} else if !ValidTopic(p.Topic) {
		return malformed("wildcard in a topic name")
	}
	return checkPayloadFormat(properties, p.Payload)
}

// CheckFromClient refuses what only a server may send.
func (p *PublishPacket) CheckFromClient() error {
	if p.Properties.Has(SubscriptionID) {
		return violation("subscription id from a client")
	}
	return nil
}

// Append writes the packet.
func (p *PublishPacket) Append(dst []byte, version Version) []byte {
	flags := p.QoS << 1
	if p.Duplicate {
		flags |= 8
	}
	if p.Retain {
		flags |= 1
	}
	dst, mark := begin(dst, Publish, flags)
	dst = appendBlock(dst, p.Topic)
	if p.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, p.ID)
	}
	if version == Version5 {
		dst = p.Properties.append(dst)
	}
	return finish(append(dst, p.Payload...), mark)
}
