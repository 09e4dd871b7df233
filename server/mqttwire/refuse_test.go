package mqttwire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"testing"

	"combotto.io/gateway/server/mqttwire"
)

// refused is one packet that breaks one rule of the standard.
type refused struct {
	name    string
	version mqttwire.Version
	packet  string // hex
	want    mqttwire.ReasonCode
}

const (
	v4 = mqttwire.Version311
	v5 = mqttwire.Version5
)

func refusals() []refused {
	return []refused{
		{"packet type 0", v5, "0000", mqttwire.MalformedPacket},
		{"flags of PUBACK", v5, "41020001", mqttwire.MalformedPacket},
		{"flags of SUBSCRIBE", v5, "8006000100000161" + "00", mqttwire.MalformedPacket},
		{"flags of PUBREL", v5, "60020001", mqttwire.MalformedPacket},
		{"duplicate at QoS 0", v4, "3803000161", mqttwire.MalformedPacket},
		{"QoS 3", v4, "36050001610001", mqttwire.MalformedPacket},
		{"length is not minimal", v4, "c08000", mqttwire.MalformedPacket},
		{"length of five bytes", v4, "30ffffffff01", mqttwire.MalformedPacket},

		{"protocol name", v5, "100b0003414243040200000000", mqttwire.ProtocolError},
		{"version 6", v5, "100c00044d515454060200000000", mqttwire.UnsupportedVersion},
		{"version 3 as MQTT", v5, "100c00044d515454030200000000", mqttwire.UnsupportedVersion},
		{"reserved flag", v4, "100c00044d515454040300000000", mqttwire.MalformedPacket},
		{"will QoS without a will", v4, "100c00044d515454040a00000000", mqttwire.MalformedPacket},
		{"will QoS 3", v4, "101200044d515454041e000000000001610001" + "78", mqttwire.MalformedPacket},
		{"will topic with a wildcard", v4, "101200044d51545404060000000000012b000178", mqttwire.TopicNameInvalid},
		{"password without a user", v4, "100f00044d515454044200000000" + "000178", mqttwire.MalformedPacket},
		{"trailing bytes", v4, "100d00044d51545404020000000000", mqttwire.MalformedPacket},
		{"client id is not UTF-8", v4, "100d00044d51545404020000" + "0001ff", mqttwire.ClientIDNotValid},
		{"data without a method", v5, "101100044d515454050200000416000101" + "0000", mqttwire.ProtocolError},
		{"will payload is not UTF-8", v5, "101600044d51545405060000000000020101" + "0001610001ff", mqttwire.PayloadFormatInvalid},
		{"receive maximum 0", v5, "101000044d5154540502000003210000" + "0000", mqttwire.ProtocolError},
		{"property twice", v5, "101300044d51545405020000062100012100010000", mqttwire.ProtocolError},
		{"property of another packet", v5, "100f00044d515454050200000201010000", mqttwire.ProtocolError},
		{"unknown property", v5, "100e00044d5154540502000001040000", mqttwire.MalformedPacket},
		{"problem info 2", v5, "100f00044d515454050200000217020000", mqttwire.ProtocolError},
		{"flags of CONNACK", v4, "20020200", mqttwire.MalformedPacket},

		{"no topic", v4, "30020000", mqttwire.MalformedPacket},
		{"no topic, no alias", v5, "3003000000", mqttwire.MalformedPacket},
		{"topic with #", v4, "3003000123", mqttwire.MalformedPacket},
		{"topic with a control", v4, "3003000101", mqttwire.MalformedPacket},
		{"packet id 0 of PUBLISH", v4, "32050001610000", mqttwire.ProtocolError},
		{"topic alias 0", v5, "3007000161" + "03230000", mqttwire.TopicAliasInvalid},
		{"payload is not UTF-8", v5, "3007000161" + "020101ff", mqttwire.PayloadFormatInvalid},
		{"response topic with +", v5, "3008000161" + "040800012b", mqttwire.ProtocolError},
		{"properties longer than the packet", v5, "3004000161" + "7f", mqttwire.MalformedPacket},

		{"packet id 0 of PUBACK", v4, "40020000", mqttwire.ProtocolError},
		{"reason of PUBACK", v5, "4003000192", mqttwire.ProtocolError},
		{"reason of PUBREL", v5, "6203000187", mqttwire.ProtocolError},
		{"PUBACK with a body", v4, "4003000100", mqttwire.MalformedPacket},
		{"short PUBACK", v4, "400100", mqttwire.MalformedPacket},

		{"SUBSCRIBE without a filter", v4, "82020001", mqttwire.ProtocolError},
		{"SUBSCRIBE without options", v5, "8206000100000161", mqttwire.MalformedPacket},
		{"reserved options", v5, "820700010000016140", mqttwire.MalformedPacket},
		{"options of version 5", v4, "8206000100016104", mqttwire.MalformedPacket},
		{"QoS 3 of SUBSCRIBE", v4, "8206000100016103", mqttwire.MalformedPacket},
		{"retain handling 3", v5, "820700010000016130", mqttwire.MalformedPacket},
		{"no-local on a shared filter", v5, "8210000100000a2473686172652f672f6104", mqttwire.ProtocolError},
		{"filter a#", v4, "82070001000261" + "2300", mqttwire.MalformedPacket},
		{"packet id 0 of SUBSCRIBE", v4, "8206000000016100", mqttwire.ProtocolError},
		{"subscription id 0", v5, "8209000102" + "0b00" + "00016100", mqttwire.ProtocolError},
		{"UNSUBSCRIBE without a filter", v4, "a2020001", mqttwire.ProtocolError},
		{"return code of SUBACK", v4, "9003000103", mqttwire.MalformedPacket},
		{"UNSUBACK with codes", v4, "b003000100", mqttwire.MalformedPacket},

		{"DISCONNECT with a body", v4, "e00100", mqttwire.MalformedPacket},
		{"DISCONNECT with more", v5, "e003000000", mqttwire.MalformedPacket},
	}
}

func TestDecode_Refuses(t *testing.T) {
	for _, test := range refusals() {
		t.Run(test.name, func(t *testing.T) {
			data, err := hex.DecodeString(test.packet)
			if err != nil {
				t.Fatal(err)
			}
			frame, err := mqttwire.ReadFrame(bufio.NewReader(bytes.NewReader(data)), 1<<20, allocate)
			if err == nil {
				_, err = decode(test.version, frame)
			}
			if got := reasonOf(err); got != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestCheckFromClient(t *testing.T) {
	publish := mqttwire.PublishPacket{Properties: mqttwire.Properties{{ID: mqttwire.SubscriptionID, Number: 1}}}
	if got := reasonOf(publish.CheckFromClient()); got != mqttwire.ProtocolError {
		t.Errorf("subscription id: %v", got)
	}
	for _, packet := range []mqttwire.DisconnectPacket{
		{Reason: mqttwire.ServerShuttingDown},
		{Properties: mqttwire.Properties{{ID: mqttwire.ServerReference, Value: []byte("elsewhere")}}},
	} {
		if got := reasonOf(packet.CheckFromClient()); got != mqttwire.ProtocolError {
			t.Errorf("%+v: %v", packet, got)
		}
	}
	if err := (&mqttwire.DisconnectPacket{Reason: mqttwire.DisconnectWithWill}).CheckFromClient(); err != nil {
		t.Error(err)
	}
}

// TestReasonCode_ConnectReturn holds the answers to CONNECT before version 5.
func TestReasonCode_ConnectReturn(t *testing.T) {
	for reason, want := range map[mqttwire.ReasonCode]mqttwire.ReturnCode{
		mqttwire.UnsupportedVersion: 1, mqttwire.ClientIDNotValid: 2, mqttwire.ServerUnavailable: 3,
		mqttwire.BadUserNameOrPassword: 4, mqttwire.NotAuthorized: 5, mqttwire.MalformedPacket: 0,
	} {
		if got, ok := reason.ConnectReturn(); got != want || ok != (want > 0) {
			t.Errorf("%v: got %d, %v, want %d", reason, got, ok, want)
		}
	}
}
