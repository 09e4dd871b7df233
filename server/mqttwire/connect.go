package mqttwire

import (
	"encoding/binary"
	"unicode/utf8"
)

// ConnectPacket opens a connection.
type ConnectPacket struct {
	Version    Version
	CleanStart bool // clean session in 3.1 and 3.1.1
	KeepAlive  uint16
	ClientID   string
	Will       *Will
	HasUser    bool
	User       string
	// HasPassword tells an empty password from none.
	HasPassword bool
	Password    []byte
	Properties  Properties
}

// Will is the message that the server publishes when the client is gone.
type Will struct {
	Topic      string
	Payload    []byte
	QoS        byte
	Retain     bool
	Properties Properties
}

const (
	flagReserved = 1 << iota
	flagClean
	flagWill
	flagWillQoS1
	flagWillQoS2
	flagWillRetain
	flagPassword
	flagUser
)

// DecodeConnect reads a CONNECT. Version is set even when it fails, to one that
// the answer can be given in, or to 0 when the peer does not speak MQTT.
func DecodeConnect(body []byte) (*ConnectPacket, error) {
	packet := &ConnectPacket{}
	f := &fields{rest: body}
	if err := packet.decodeVersion(f); err != nil {
		return packet, err
	}
	flags := f.byte()
	packet.KeepAlive = f.uint16()
	packet.CleanStart = flags&flagClean != 0
	packet.HasUser = flags&flagUser != 0
	packet.HasPassword = flags&flagPassword != 0
	f.fail(checkConnectFlags(packet.Version, flags))
	if packet.Version == Version5 {
		packet.Properties = f.properties(Connect, nil)
		if packet.Properties.Has(AuthenticationData) && !packet.Properties.Has(AuthenticationMethod) {
			f.fail(violation("authentication data without a method"))
		}
	}
	id := f.binary()
	if f.err == nil && !ValidText(id) {
		f.fail(Refuse(ClientIDNotValid, "client id is not clean UTF-8"))
	}
	packet.ClientID = string(id)
	if flags&flagWill != 0 {
		packet.Will = decodeWill(f, packet.Version, flags)
	}
	if packet.HasUser {
		packet.User = string(f.text())
	}
	if packet.HasPassword {
		packet.Password = f.binary()
	}
	f.end()
	return packet, f.err
}

func (p *ConnectPacket) decodeVersion(f *fields) error {
	name := string(f.binary())
	version := Version(f.byte())
	switch {
	case f.err != nil:
		return f.err
	case name == "MQTT" && (version == Version311 || version == Version5), name == "MQIsdp" && version == Version31:
		p.Version = version
		return nil
	case name == "MQTT" && version > Version5:
		p.Version = Version5
	case name == "MQTT" || name == "MQIsdp":
		p.Version = Version311
	default:
		return violation("protocol name is not MQTT")
	}
	return Refuse(UnsupportedVersion, "protocol version")
}

func checkConnectFlags(version Version, flags byte) error {
	qos := flags / flagWillQoS1 & 3
	switch {
	case flags&flagReserved != 0:
		return malformed("reserved flag of CONNECT")
	case flags&flagWill == 0 && flags&(flagWillRetain|flagWillQoS1|flagWillQoS2) != 0:
		return malformed("will flags without a will")
	case qos == 3:
		return malformed("QoS 3 of a will")
	case version != Version5 && flags&flagPassword != 0 && flags&flagUser == 0:
		return malformed("password without a user name")
	}
	return nil
}

func decodeWill(f *fields, version Version, flags byte) *Will {
	packet := &Will{QoS: flags / flagWillQoS1 & 3, Retain: flags&flagWillRetain != 0}
	if version == Version5 {
		packet.Properties = f.properties(will, nil)
	}
	packet.Topic = string(f.text())
	packet.Payload = f.binary()
	if f.err == nil && !ValidTopic(packet.Topic) {
		f.fail(Refuse(TopicNameInvalid, "topic of the will"))
	}
	f.fail(checkPayloadFormat(packet.Properties, packet.Payload))
	return packet
}

func checkPayloadFormat(properties Properties, payload []byte) error {
	if format, _ := properties.Number(PayloadFormat); format == 1 && !utf8.Valid(payload) {
		return Refuse(PayloadFormatInvalid, "payload is not UTF-8")
	}
	return nil
}

// Append writes the packet.
func (p *ConnectPacket) Append(dst []byte) []byte {
	name := "MQTT"
	if p.Version == Version31 {
		name = "MQIsdp"
	}
	dst, mark := begin(dst, Connect, 0)
	dst = append(appendBlock(dst, name), byte(p.Version), p.flags())
	dst = binary.BigEndian.AppendUint16(dst, p.KeepAlive)
	if p.Version == Version5 {
		dst = p.Properties.append(dst)
	}
	dst = appendBlock(dst, p.ClientID)
	if w := p.Will; w != nil {
		if p.Version == Version5 {
			dst = w.Properties.append(dst)
		}
		dst = appendBlock(appendBlock(dst, w.Topic), w.Payload)
	}
	if p.HasUser {
		dst = appendBlock(dst, p.User)
	}
	if p.HasPassword {
		dst = appendBlock(dst, p.Password)
	}
	return finish(dst, mark)
}

func (p *ConnectPacket) flags() (flags byte) {
	if p.CleanStart {
		flags |= flagClean
	}
	if w := p.Will; w != nil {
		flags |= flagWill | w.QoS*flagWillQoS1
		if w.Retain {
			flags |= flagWillRetain
		}
	}
	if p.HasUser {
		flags |= flagUser
	}
	if p.HasPassword {
		flags |= flagPassword
	}
	return flags
}

// ConnackPacket answers CONNECT. Return counts in 3.1 and 3.1.1, Reason and
// Properties in 5.
type ConnackPacket struct {
	SessionPresent bool
	Return         ReturnCode
	Reason         ReasonCode
	Properties     Properties
}

// DecodeConnack reads a CONNACK.
func DecodeConnack(version Version, body []byte) (*ConnackPacket, error) {
	packet := &ConnackPacket{}
	f := &fields{rest: body}
	flags, code := f.byte(), f.byte()
	if flags > 1 {
		f.fail(malformed("flags of CONNACK"))
	}
	packet.SessionPresent = flags == 1
	if version == Version5 {
		packet.Reason = ReasonCode(code)
		packet.Properties = f.properties(Connack, nil)
	} else {
		packet.Return = ReturnCode(code)
	}
	f.end()
	return packet, f.err
}

// Append writes the packet.
func (p *ConnackPacket) Append(dst []byte, version Version) []byte {
	dst, mark := begin(dst, Connack, 0)
	flags := byte(0)
	if p.SessionPresent {
		flags = 1
	}
	if version == Version5 {
		dst = p.Properties.append(append(dst, flags, byte(p.Reason)))
	} else {
		dst = append(dst, flags, byte(p.Return))
	}
	return finish(dst, mark)
}
