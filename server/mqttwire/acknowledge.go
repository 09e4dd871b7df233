package mqttwire

import "slices"

// AckPacket is a PUBACK, PUBREC, PUBREL or PUBCOMP. Before version 5 it has no
// Reason and no Properties.
type AckPacket struct {
	Type       PacketType
	ID         uint16
	Reason     ReasonCode
	Properties Properties
}

var (
	receiptReasons = []ReasonCode{Success, NoMatchingSubscribers, UnspecifiedError, ImplementationSpecificError,
		NotAuthorized, TopicNameInvalid, PacketIDInUse, QuotaExceeded, PayloadFormatInvalid}
	releaseReasons = []ReasonCode{Success, PacketIDNotFound}
)

// DecodeAck reads one of the four acknowledgements.
func DecodeAck(version Version, frame Frame) (AckPacket, error) {
	packet := AckPacket{Type: frame.Type}
	f := &fields{rest: frame.Body}
	packet.ID = f.packetID()
	if version == Version5 && len(f.rest) > 0 {
		packet.Reason = ReasonCode(f.byte())
		if len(f.rest) > 0 {
			packet.Properties = f.properties(frame.Type, nil)
		}
		allowed := receiptReasons
		if frame.Type == Pubrel || frame.Type == Pubcomp {
			allowed = releaseReasons
		}
		if !slices.Contains(allowed, packet.Reason) {
			f.fail(violation("reason code of an acknowledgement"))
		}
	}
	f.end()
	return packet, f.err
}

// Append writes the packet in its shortest form.
func (p *AckPacket) Append(dst []byte, version Version) []byte {
	if len(p.Properties) == 0 || version != Version5 {
		return AppendAck(dst, version, p.Type, p.ID, p.Reason)
	}
	dst, mark := begin(dst, p.Type, ackFlags(p.Type))
	dst = append(dst, byte(p.ID>>8), byte(p.ID), byte(p.Reason))
	return finish(p.Properties.append(dst), mark)
}

// AppendAck writes an acknowledgement without properties.
func AppendAck(dst []byte, version Version, packet PacketType, id uint16, reason ReasonCode) []byte {
	first := byte(packet)<<4 | ackFlags(packet)
	if reason == Success || version != Version5 {
		return append(dst, first, 2, byte(id>>8), byte(id))
	}
	return append(dst, first, 3, byte(id>>8), byte(id), byte(reason))
}

func ackFlags(packet PacketType) byte {
	if packet == Pubrel {
		return 2
	}
	return 0
}
