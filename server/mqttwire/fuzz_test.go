package mqttwire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"combotto.io/gateway/server/mqttwire"
)

// seed adds every sample and every refused packet of the types. Each seed is a
// whole packet.
func seed(f *testing.F, types ...mqttwire.PacketType) {
	wanted := map[mqttwire.PacketType]bool{}
	for _, packet := range types {
		wanted[packet] = true
	}
	add := func(version mqttwire.Version, data []byte) {
		if len(types) == 0 || wanted[mqttwire.PacketType(data[0]>>4)] {
			f.Add(byte(version), data)
		}
	}
	for _, version := range versions {
		for _, sample := range samples(version) {
			add(version, encode(version, sample))
		}
	}
	for _, test := range refusals() {
		data, err := hex.DecodeString(test.packet)
		if err != nil {
			f.Fatal(err)
		}
		add(test.version, data)
	}
}

// check decodes one packet. A decoder must not panic, must fail with a reason,
// and what it accepts must survive being written and read again.
func check(t *testing.T, level byte, data []byte) {
	version := mqttwire.Version311
	if level == byte(mqttwire.Version5) {
		version = mqttwire.Version5
	}
	frame, err := mqttwire.ReadFrame(bufio.NewReader(bytes.NewReader(data)), 1<<20, allocate)
	if err != nil {
		if reasonOf(err) == 0xFF && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("no reason: %v", err)
		}
		return
	}
	first, err := decode(version, frame)
	if err != nil {
		if !reasonOf(err).IsError() || reasonOf(err) == 0xFF {
			t.Fatalf("no reason: %v", err)
		}
		return
	}
	if connect, ok := first.(*mqttwire.ConnectPacket); ok {
		version = connect.Version
	}
	again, rest, err := mqttwire.ParseFrame(encode(version, first))
	if err != nil || len(rest) > 0 {
		t.Fatalf("written: %v, %d bytes left", err, len(rest))
	}
	second, err := decode(version, again)
	if err != nil {
		t.Fatalf("read again: %v", err)
	}
	if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzReadFrame(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, level byte, data []byte) { check(t, level, data) })
}

func FuzzConnect(f *testing.F) { fuzzBodies(f, 0, mqttwire.Connect) }

func FuzzConnack(f *testing.F) { fuzzBodies(f, 0, mqttwire.Connack) }

func FuzzPublish(f *testing.F) {
	seed(f, mqttwire.Publish)
	f.Fuzz(func(t *testing.T, level byte, data []byte) {
		if len(data) > 0 {
			data[0] = byte(mqttwire.Publish)<<4 | data[0]&15
		}
		check(t, level, data)
	})
}

func FuzzAck(f *testing.F) {
	seed(f, mqttwire.Puback, mqttwire.Pubrec, mqttwire.Pubrel, mqttwire.Pubcomp)
	f.Fuzz(func(t *testing.T, level byte, data []byte) {
		if len(data) < 2 {
			return
		}
		packet := mqttwire.Puback + mqttwire.PacketType(data[0]>>4&3)
		frame := mqttwire.Frame{Type: packet, Body: data[2:]}
		if packet == mqttwire.Pubrel {
			frame.Flags = 2
		}
		check(t, level, frame.Append(nil))
	})
}

func FuzzSubscribe(f *testing.F) { fuzzBodies(f, 2, mqttwire.Subscribe) }

func FuzzSuback(f *testing.F) { fuzzBodies(f, 0, mqttwire.Suback) }

func FuzzUnsubscribe(f *testing.F) { fuzzBodies(f, 2, mqttwire.Unsubscribe) }

func FuzzUnsuback(f *testing.F) { fuzzBodies(f, 0, mqttwire.Unsuback) }

func FuzzDisconnect(f *testing.F) { fuzzBodies(f, 0, mqttwire.Disconnect) }

// fuzzBodies varies what follows the fixed header of one packet type, whose
// length is always right, so that the fuzzer gets at the decoder.
func fuzzBodies(f *testing.F, flags byte, packet mqttwire.PacketType) {
	seed(f, packet)
	f.Fuzz(func(t *testing.T, level byte, data []byte) {
		if len(data) < 2 {
			return
		}
		check(t, level, mqttwire.Frame{Type: packet, Flags: flags, Body: data[2:]}.Append(nil))
	})
}

func FuzzParseFilter(f *testing.F) {
	for _, filter := range []string{"a/+/#", "$share/g/a", "#", "+", "a#", "$share//x", "/"} {
		f.Add(filter)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		group, match, ok := mqttwire.ParseFilter(filter)
		if !ok {
			return
		}
		if group != "" {
			if mqttwire.SharePrefix+group+"/"+match != filter {
				t.Errorf("%q: group %q, match %q", filter, group, match)
			}
		} else if match != filter {
			t.Errorf("%q: match %q", filter, match)
		}
	})
}
