package main

import (
	"encoding/binary"
	"fmt"
	"strings"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/rawmqtt"
)

// payloadBytes is the size of every payload.
const payloadBytes = 174

// payload is the message, with the digits that are patched as zeros or ones.
const payload = `{"schema_version":1,"boot_id":"%8s","sequence":100000000,"metrics":{"temperature_c":20.0,"humidity_percent":40.0,"pressure":1000.00,"battery_mv":3000,"door_open":false}}`

// packet is a PUBLISH of one device, ready but for the digits.
type packet struct {
	bytes []byte
	salt  uint64 // keeps the measurements of devices apart

	identifier, sequence, temperature, humidity, pressure, battery int // offsets
}

// newPacket encodes the PUBLISH of a device, QoS 1.
func newPacket(version byte, device, bootID string) *packet {
	text := fmt.Sprintf(payload, bootID)
	if len(text) != payloadBytes {
		panic(fmt.Sprintf("load: the payload has %d bytes", len(text)))
	}
	p := &packet{bytes: rawmqtt.Publish(version, "devices/"+device+"/telemetry", 0, []byte(text))}
	for _, letter := range []byte(device) {
		p.salt = (p.salt + uint64(letter)) * fibonacci
	}
	p.identifier = len(p.bytes) - len(text) - 2
	if version == rawmqtt.Version5 {
		p.identifier-- // the length of no properties lies between
	}
	digits := func(after string) int {
		return len(p.bytes) - len(text) + strings.Index(text, after) + len(after)
	}
	p.sequence = digits(`"sequence":`)
	p.temperature = digits(`"temperature_c":2`)
	p.humidity = digits(`"humidity_percent":4`)
	p.pressure = digits(`"pressure":10`)
	p.battery = digits(`"battery_mv":3`)
	return p
}

// fibonacci mixes a number into the high bits of a product.
const fibonacci = 0x9E3779B97F4A7C15

// appendTo appends the packet of one message. Its measurements follow from the
// device and the sequence, so that the same message always has the same bytes.
func (p *packet) appendTo(out []byte, identifier uint16, sequence uint32) []byte {
	start := len(out)
	out = append(out, p.bytes...)
	bytes := out[start:]
	binary.BigEndian.PutUint16(bytes[p.identifier:], identifier)
	putDigits(bytes[p.sequence:p.sequence+9], uint64(firstSequence)+uint64(sequence))
	noise := (uint64(sequence) + p.salt) * fibonacci
	noise = (noise ^ noise>>32) * fibonacci
	bytes[p.temperature] = '0' + byte(noise>>60%10)
	bytes[p.temperature+2] = '0' + byte(noise>>56%10)
	bytes[p.humidity] = '0' + byte(noise>>52%10)
	bytes[p.humidity+2] = '0' + byte(noise>>48%10)
	bytes[p.pressure] = '0' + byte(noise>>44%10)
	bytes[p.pressure+1] = '0' + byte(noise>>40%10)
	bytes[p.pressure+3] = '0' + byte(noise>>36%10)
	bytes[p.pressure+4] = '0' + byte(noise>>32%10)
	putDigits(bytes[p.battery:p.battery+3], noise>>20%1000)
	return out
}

// putDigits writes number right-aligned.
func putDigits(digits []byte, number uint64) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(number%10)
		number /= 10
	}
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
