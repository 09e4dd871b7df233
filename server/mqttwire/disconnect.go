package mqttwire

import "slices"

// DisconnectPacket ends a connection. Before version 5 only a client sends it,
// and it says nothing.
type DisconnectPacket struct {
	Reason     ReasonCode
	Properties Properties
}

// clientFarewells are the reasons that a client may give.
var clientFarewells = []ReasonCode{Success, DisconnectWithWill, UnspecifiedError, MalformedPacket, ProtocolError,
	ImplementationSpecificError, TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid, PacketTooLarge,
	MessageRateTooHigh, QuotaExceeded, AdministrativeAction, PayloadFormatInvalid}

// DecodeDisconnect reads a DISCONNECT.
func DecodeDisconnect(version Version, body []byte) (DisconnectPacket, error) {
	var packet DisconnectPacket
	if len(body) == 0 {
		return packet, nil
	}
	if version != Version5 {
		return packet, malformed("DISCONNECT with a body")
	}
	f := &fields{rest: body}
	packet.Reason = ReasonCode(f.byte())
	if len(f.rest) > 0 {
		packet.Properties = f.properties(Disconnect, nil)
	}
	f.end()
	return packet, f.err
}

// CheckFromClient refuses what only a server may send.
func (p *DisconnectPacket) CheckFromClient() error {
	if p.Properties.Has(ServerReference) {
		return violation("server reference from a client")
	}
	if !slices.Contains(clientFarewells, p.Reason) {
		return violation("reason code of DISCONNECT")
	}
	return nil
}

// Append writes the packet.
func (p *DisconnectPacket) Append(dst []byte, version Version) []byte {
	dst, mark := begin(dst, Disconnect, 0)
	if version == Version5 && (p.Reason != Success || len(p.Properties) > 0) {
		dst = append(dst, byte(p.Reason))
		if len(p.Properties) > 0 {
			dst = p.Properties.append(dst)
		}
	}
	return finish(dst, mark)
}
