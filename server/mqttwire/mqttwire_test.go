package mqttwire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"combotto.io/gateway/server/mqttwire"
)

// versions are those that differ on the wire after CONNECT.
var versions = []mqttwire.Version{mqttwire.Version311, mqttwire.Version5}

// decode reads one packet of any type.
func decode(version mqttwire.Version, frame mqttwire.Frame) (any, error) {
	switch frame.Type {
	case mqttwire.Connect:
		return mqttwire.DecodeConnect(frame.Body)
	case mqttwire.Connack:
		return mqttwire.DecodeConnack(version, frame.Body)
	case mqttwire.Publish:
		packet := &mqttwire.PublishPacket{}
		return packet, packet.Decode(version, frame)
	case mqttwire.Puback, mqttwire.Pubrec, mqttwire.Pubrel, mqttwire.Pubcomp:
		packet, err := mqttwire.DecodeAck(version, frame)
		return &packet, err
	case mqttwire.Subscribe:
		return mqttwire.DecodeSubscribe(version, frame.Body)
	case mqttwire.Suback, mqttwire.Unsuback:
		return mqttwire.DecodeSuback(version, frame)
	case mqttwire.Unsubscribe:
		return mqttwire.DecodeUnsubscribe(version, frame.Body)
	case mqttwire.Disconnect:
		packet, err := mqttwire.DecodeDisconnect(version, frame.Body)
		return &packet, err
	}
	return frame, nil
}

// encode writes what decode returns.
func encode(version mqttwire.Version, packet any) []byte {
	switch p := packet.(type) {
	case *mqttwire.ConnectPacket:
		return p.Append(nil)
	case interface {
		Append(dst []byte, version mqttwire.Version) []byte
	}:
		return p.Append(nil, version)
	case mqttwire.Frame:
		return p.Append(nil)
	}
	panic("unknown packet")
}

// samples are packets of every type, with everything in them that the version
// knows.
func samples(version mqttwire.Version) []any {
	five := version == mqttwire.Version5
	properties := func(list ...mqttwire.Property) mqttwire.Properties {
		if !five {
			return nil
		}
		return append(list, mqttwire.Property{ID: mqttwire.UserProperty, Name: []byte("name"), Value: []byte("value")})
	}
	reason := func(code mqttwire.ReasonCode) mqttwire.ReasonCode {
		if !five {
			return mqttwire.Success
		}
		return code
	}
	because := mqttwire.Property{ID: mqttwire.ReasonString, Value: []byte("because")}
	connack := &mqttwire.ConnackPacket{SessionPresent: true, Return: mqttwire.ReturnBadLogin}
	if five {
		connack = &mqttwire.ConnackPacket{Reason: mqttwire.BadUserNameOrPassword}
	}
	connack.Properties = properties(mqttwire.Property{ID: mqttwire.MaximumQoS, Number: 1},
		mqttwire.Property{ID: mqttwire.ServerKeepAlive, Number: 60}, mqttwire.Property{ID: mqttwire.AssignedClientID, Value: []byte("id")})
	unsuback := &mqttwire.SubackPacket{Type: mqttwire.Unsuback, ID: 3, Properties: properties(because)}
	if five {
		unsuback.Reasons = []mqttwire.ReasonCode{mqttwire.NoSubscriptionExisted}
	}
	list := []any{
		&mqttwire.ConnectPacket{
			Version: version, CleanStart: true, KeepAlive: 60, ClientID: "client", HasUser: true, User: "user", HasPassword: true, Password: []byte("secret"),
			Properties: properties(mqttwire.Property{ID: mqttwire.SessionExpiry, Number: 1 << 31}, mqttwire.Property{ID: mqttwire.ReceiveMaximum, Number: 20}),
			Will: &mqttwire.Will{Topic: "will", Payload: []byte{0, 255}, QoS: 2, Retain: true,
				Properties: properties(mqttwire.Property{ID: mqttwire.WillDelay, Number: 5})},
		},
		&mqttwire.ConnectPacket{Version: version, ClientID: "minimal"},
		connack,
		&mqttwire.PublishPacket{Topic: []byte("a/b"), Payload: []byte("payload")},
		&mqttwire.PublishPacket{Duplicate: true, QoS: 2, Retain: true, ID: 65535, Topic: []byte("a/ü"), Payload: bytes.Repeat([]byte("x"), 300),
			Properties: properties(mqttwire.Property{ID: mqttwire.SubscriptionID, Number: 268_435_455}, mqttwire.Property{ID: mqttwire.SubscriptionID, Number: 1},
				mqttwire.Property{ID: mqttwire.CorrelationData, Value: []byte{1, 2, 3}}, mqttwire.Property{ID: mqttwire.PayloadFormat, Number: 1})},
		&mqttwire.SubscribePacket{ID: 1, Properties: properties(mqttwire.Property{ID: mqttwire.SubscriptionID, Number: 1}),
			Filters: []mqttwire.Subscription{{Filter: "a/#", QoS: 2}, {Filter: "$share/group/+", QoS: 1}}},
		&mqttwire.SubackPacket{Type: mqttwire.Suback, ID: 2, Properties: properties(because), Reasons: []mqttwire.ReasonCode{0, 1, 2, 0x80}},
		&mqttwire.UnsubscribePacket{ID: 4, Properties: properties(), Filters: []string{"a/#", "+"}},
		unsuback,
		&mqttwire.DisconnectPacket{Reason: reason(mqttwire.DisconnectWithWill), Properties: properties(because)},
		&mqttwire.DisconnectPacket{},
	}
	for _, packet := range []mqttwire.PacketType{mqttwire.Puback, mqttwire.Pubrec, mqttwire.Pubrel, mqttwire.Pubcomp} {
		refusal := mqttwire.PacketIDNotFound
		if packet == mqttwire.Puback || packet == mqttwire.Pubrec {
			refusal = mqttwire.QuotaExceeded
		}
		list = append(list, &mqttwire.AckPacket{Type: packet, ID: 9},
			&mqttwire.AckPacket{Type: packet, ID: 9, Reason: reason(refusal)},
			&mqttwire.AckPacket{Type: packet, ID: 9, Reason: reason(refusal), Properties: properties(because)})
	}
	if five {
		list = append(list, &mqttwire.SubscribePacket{ID: 1, Filters: []mqttwire.Subscription{{Filter: "a", NoLocal: true, RetainAsPublished: true, RetainHandling: 2}}})
	}
	return list
}

func allocate(_ mqttwire.PacketType, size int) ([]byte, error) { return make([]byte, size), nil }

func TestPackets_RoundTrip(t *testing.T) {
	for _, version := range versions {
		for _, want := range samples(version) {
			data := encode(version, want)
			frame, err := mqttwire.ReadFrame(bufio.NewReader(bytes.NewReader(data)), len(data), allocate)
			if err != nil {
				t.Fatalf("version %d: %x: %v", version, data, err)
			}
			parsed, rest, err := mqttwire.ParseFrame(data)
			if diff := cmp.Diff(frame, parsed); diff != "" || err != nil || len(rest) > 0 {
				t.Errorf("ParseFrame: %v, %d bytes left: %s", err, len(rest), diff)
			}
			got, err := decode(version, frame)
			if err != nil {
				t.Fatalf("version %d: %+v: %v", version, want, err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("version %d: %s", version, diff)
			}
		}
	}
}

func TestPackets_Truncated(t *testing.T) {
	for _, version := range versions {
		for _, sample := range samples(version) {
			data := encode(version, sample)
			for length := range data {
				_, err := mqttwire.ReadFrame(bufio.NewReader(bytes.NewReader(data[:length])), len(data), allocate)
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%x: %v", data[:length], err)
				}
				if _, _, err := mqttwire.ParseFrame(data[:length]); err == nil {
					t.Fatalf("ParseFrame takes %x", data[:length])
				}
			}
		}
	}
}

func TestReadFrame_Limit(t *testing.T) {
	packet := mqttwire.PublishPacket{Topic: []byte("a"), Payload: make([]byte, 1000)}
	data := packet.Append(nil, mqttwire.Version311)
	for limit, want := range map[int]mqttwire.ReasonCode{len(data) - 1: mqttwire.PacketTooLarge, len(data): mqttwire.Success, len(data) + 1: mqttwire.Success} {
		asked := 0
		_, err := mqttwire.ReadFrame(bufio.NewReader(bytes.NewReader(data)), limit, func(_ mqttwire.PacketType, size int) ([]byte, error) {
			asked = size
			return make([]byte, size), nil
		})
		if got := reasonOf(err); got != want || want != mqttwire.Success && asked > 0 {
			t.Errorf("limit %d: got %v after allocating %d, want %v", limit, err, asked, want)
		}
	}
}

// reasonOf returns the reason of an [mqttwire.Error], and Success for nil.
func reasonOf(err error) mqttwire.ReasonCode {
	if err == nil {
		return mqttwire.Success
	}
	if fault, ok := errors.AsType[*mqttwire.Error](err); ok {
		return fault.Reason
	}
	return 0xFF
}

func TestParseFilter(t *testing.T) {
	for filter, want := range map[string]bool{
		"a": true, "/": true, "a/b": true, "#": true, "a/#": true, "+": true, "+/+/#": true, "/+": true, "$SYS/#": true, "a//b": true,
		"$share/g/a": true, "$share/g/#": true, "$shared": true,
		"": false, "a#": false, "a/#/b": false, "#/a": false, "##": false, "a+": false, "+a": false, "a/b+/c": false,
		"$share": false, "$share/": false, "$share/g": false, "$share/g/": false, "$share//a": false, "$share/+/a": false, "$share/g/a#": false,
	} {
		if _, _, got := mqttwire.ParseFilter(filter); got != want {
			t.Errorf("%q: valid %v, want %v", filter, got, want)
		}
	}
	if group, match, _ := mqttwire.ParseFilter("$share/g/a/b"); group != "g" || match != "a/b" {
		t.Errorf("got group %q, match %q", group, match)
	}
}

func TestValidText(t *testing.T) {
	for text, want := range map[string]bool{
		"plain": true, "ü€😀": true, "": true, "\uFEFF": true,
		"\x00": false, "\x1F": false, "\x7F": false, "\u0080": false, "\u009F": false, "\uFDD0": false, "\uFFFE": false, "\U0001FFFF": false,
		"\xFF": false, "\xED\xA0\x80": false, "a\xC3": false,
	} {
		if got := mqttwire.ValidText([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestReasonCode_String(t *testing.T) {
	if got := mqttwire.QuotaExceeded.String(); got != "quota exceeded" {
		t.Errorf("got %q", got)
	}
	if got := mqttwire.ReasonCode(0x77).String(); got != "reason 0x77" {
		t.Errorf("got %q", got)
	}
	if err := mqttwire.Refuse(mqttwire.NotAuthorized, "no"); !strings.Contains(err.Error(), "not authorized") {
		t.Errorf("got %q", err)
	}
}

func TestPublishPacket_DecodeAllocatesNothing(t *testing.T) {
	packet := mqttwire.PublishPacket{QoS: 1, ID: 1, Topic: []byte("devices/dev-1/telemetry"), Payload: []byte("{}"),
		Properties: mqttwire.Properties{{ID: mqttwire.ContentType, Value: []byte("application/json")}}}
	frame, _, err := mqttwire.ParseFrame(packet.Append(nil, mqttwire.Version5))
	if err != nil {
		t.Fatal(err)
	}
	var decoded mqttwire.PublishPacket
	if allocations := testing.AllocsPerRun(100, func() {
		if err := decoded.Decode(mqttwire.Version5, frame); err != nil {
			t.Fatal(err)
		}
	}); allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func ExampleReadFrame() {
	publish := mqttwire.PublishPacket{Topic: []byte("a/b"), QoS: 1, ID: 7, Payload: []byte("hello")}
	stream := bufio.NewReader(bytes.NewReader(publish.Append(nil, mqttwire.Version5)))

	frame, err := mqttwire.ReadFrame(stream, 1024, func(_ mqttwire.PacketType, size int) ([]byte, error) { return make([]byte, size), nil })
	if err != nil {
		panic(err)
	}
	var packet mqttwire.PublishPacket
	if err := packet.Decode(mqttwire.Version5, frame); err != nil {
		panic(err)
	}
	fmt.Printf("%s: %s\n", packet.Topic, packet.Payload)
	// Output: a/b: hello
}
