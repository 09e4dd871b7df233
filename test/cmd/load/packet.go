package main

import (
	"encoding/binary"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/rawmqtt"
	"combotto.io/gateway/test/telemetry"
)

// packet is a PUBLISH of one device, ready but for identifier and payload.
type packet struct {
	bytes      []byte
	series     *telemetry.Series
	identifier int // offset
}

// newPacket encodes the PUBLISH of a device, QoS 1.
func newPacket(version byte, device, bootID string) *packet {
	series := telemetry.NewSeries(device, bootID)
	p := &packet{series: series, bytes: rawmqtt.Publish(version, "devices/"+device+"/telemetry", 0, series.Template())}
	p.identifier = len(p.bytes) - telemetry.PayloadBytes - 2
	if version == rawmqtt.Version5 {
		p.identifier-- // the length of no properties lies between
	}
	return p
}

// appendTo appends the packet of one message.
func (p *packet) appendTo(out []byte, identifier uint16, message uint32) []byte {
	start := len(out)
	out = append(out, p.bytes...)
	binary.BigEndian.PutUint16(out[start+p.identifier:], identifier)
	p.series.Fill(out[len(out)-telemetry.PayloadBytes:], message)
	return out
}

// newPackets encodes one packet for each device of a connection.
func newPackets(chosen *settings, connection int) []*packet {
	header := acklog.Header{Prefix: chosen.prefix}
	var packets []*packet
	for device := connection; device < chosen.devices; device += chosen.connections {
		packets = append(packets, newPacket(chosen.version, header.DeviceID(uint32(device)), chosen.bootID))
	}
	return packets
}
