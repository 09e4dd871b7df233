// Package telemetry is what the load generator's messages say. Every byte of a
// message follows from its device, boot and number, so that the same message is
// always the same, and whoever knows these three knows what a sink has to
// receive.
//
// A [Series] is immutable and safe for concurrent use. It shares no code with
// the gateway.
package telemetry

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	// PayloadBytes is the size of every payload.
	PayloadBytes = 174
	// FirstSequence has as many digits as any later sequence, so that a payload
	// can be patched in place.
	FirstSequence = 100_000_000
)

// payload is a message, with zeros and ones for the digits that are patched.
const payload = `{"schema_version":1,"boot_id":"%8s","sequence":100000000,"metrics":{"temperature_c":20.0,"humidity_percent":40.0,"pressure":1000.00,"battery_mv":3000,"door_open":false}}`

// Series is the messages of one device since one boot, numbered from 0.
type Series struct {
	template string
	salt     uint64 // keeps the measurements of devices apart

	sequence, temperature, humidity, pressure, battery, metrics int // offsets
}

// NewSeries returns the messages of a device. The boot id has eight characters.
func NewSeries(device, bootID string) *Series {
	s := &Series{template: fmt.Sprintf(payload, bootID)}
	if len(s.template) != PayloadBytes {
		panic(fmt.Sprintf("telemetry: the payload has %d bytes", len(s.template)))
	}
	for _, letter := range []byte(device) {
		s.salt = (s.salt + uint64(letter)) * fibonacci
	}
	behind := func(text string) int { return strings.Index(s.template, text) + len(text) }
	s.sequence = behind(`"sequence":`)
	s.temperature = behind(`"temperature_c":2`)
	s.humidity = behind(`"humidity_percent":4`)
	s.pressure = behind(`"pressure":10`)
	s.battery = behind(`"battery_mv":3`)
	s.metrics = behind(`"metrics":`)
	return s
}

// Template returns any payload of the series, for Fill.
func (s *Series) Template() []byte { return []byte(s.template) }

// fibonacci mixes a number into the high bits of a product.
const fibonacci = 0x9E3779B97F4A7C15

// Fill turns any payload of the series into that of one message.
func (s *Series) Fill(payload []byte, number uint32) {
	putDigits(payload[s.sequence:s.sequence+9], FirstSequence+uint64(number))
	noise := (uint64(number) + s.salt) * fibonacci
	noise = (noise ^ noise>>32) * fibonacci
	payload[s.temperature] = '0' + byte(noise>>60%10)
	payload[s.temperature+2] = '0' + byte(noise>>56%10)
	payload[s.humidity] = '0' + byte(noise>>52%10)
	payload[s.humidity+2] = '0' + byte(noise>>48%10)
	payload[s.pressure] = '0' + byte(noise>>44%10)
	payload[s.pressure+1] = '0' + byte(noise>>40%10)
	payload[s.pressure+3] = '0' + byte(noise>>36%10)
	payload[s.pressure+4] = '0' + byte(noise>>32%10)
	putDigits(payload[s.battery:s.battery+3], noise>>20%1000)
}

// putDigits writes number right-aligned.
func putDigits(digits []byte, number uint64) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(number%10)
		number /= 10
	}
}

// AppendMetrics appends the metrics of a filled payload as a sink receives
// them: in the same order, every number in its shortest form.
func (s *Series) AppendMetrics(dst, payload []byte) []byte {
	metrics := payload[s.metrics : len(payload)-1]
	for len(metrics) > 0 {
		point := bytes.IndexByte(metrics, '.')
		if point < 0 {
			return append(dst, metrics...)
		}
		dst = append(dst, metrics[:point]...)
		end := point + 1
		for '0' <= metrics[end] && metrics[end] <= '9' {
			end++
		}
		if fraction := bytes.TrimRight(metrics[point:end], "0"); len(fraction) > 1 {
			dst = append(dst, fraction...)
		}
		metrics = metrics[end:]
	}
	return dst
}
