package wire

import (
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"combotto.io/gateway/server/edge"
)

// The fields of gateway.telemetry.v1.Telemetry and SignedTelemetry, whose
// numbers do not overlap.
const (
	fieldSchemaVersion protowire.Number = 1
	fieldDeviceID      protowire.Number = 2
	fieldMessageID     protowire.Number = 3
	fieldBootID        protowire.Number = 4
	fieldSequence      protowire.Number = 5
	fieldObservedAt    protowire.Number = 6
	fieldMetrics       protowire.Number = 7
	fieldAttributes    protowire.Number = 8

	fieldSignedPayload protowire.Number = 11
	fieldSignature     protowire.Number = 14
)

// decodeProtobuf reads Telemetry, or SignedTelemetry around it. It reads the
// wire format itself and not through the generated type, which would allocate
// for each metric and could neither count unknown fields nor tell a field of the
// wrong type from an unknown one.
//
// Until the gateway knows devices' keys a signature is kept with the payload and
// not checked: the record is not marked as verified.
func (d *Decoder) decodeProtobuf(payload []byte) error {
	number, _, length := protowire.ConsumeTag(payload)
	if length < 0 || number < fieldSignedPayload || number > fieldSignature {
		return d.readFields(payload)
	}
	inner, err := signedPayload(payload)
	if err != nil {
		return err
	}
	if err := d.readFields(inner); err != nil {
		return err
	}
	if id := d.telemetry.Identity; id.BootID == "" || !id.HasSequence {
		return edge.Refuse(edge.Invalid, edge.ReasonMissingField, "payload", "a signed message carries boot_id and sequence")
	}
	return nil
}

// signedPayload returns the telemetry inside SignedTelemetry.
func signedPayload(envelope []byte) ([]byte, error) {
	var inner []byte
	var signed bool
	err := eachField(envelope, func(f field) error {
		switch {
		case f.number == fieldSignedPayload:
			return f.bytes("payload", &inner)
		case f.number == fieldSignature:
			var signature []byte
			signed = true
			return f.bytes("signature", &signature)
		case f.number < fieldSignedPayload || f.number > fieldSignature:
			return edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "field %d does not belong to SignedTelemetry", f.number)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(inner) == 0:
		return nil, edge.Refuse(edge.Invalid, edge.ReasonMissingField, "payload", "is required in SignedTelemetry")
	case !signed:
		return nil, edge.Refuse(edge.Invalid, edge.ReasonMissingField, "signature", "is required in SignedTelemetry")
	}
	return inner, nil
}

func (d *Decoder) readFields(payload []byte) error {
	return eachField(payload, d.readProtobufField)
}

func (d *Decoder) readProtobufField(f field) error {
	t := &d.telemetry
	switch f.number {
	case fieldSchemaVersion:
		return d.readProtobufVersion(f)
	case fieldDeviceID:
		var device string
		if err := d.readProtobufText(f, "device_id", &device); err != nil {
			return err
		}
		t.Device = edge.DeviceID(device)
		return nil
	case fieldMessageID:
		var text []byte
		err := f.text("message_id", &text)
		t.Identity.MessageID = string(text) // never comes again
		return err
	case fieldBootID:
		return d.readProtobufText(f, "boot_id", &t.Identity.BootID)
	case fieldSequence:
		t.Identity.HasSequence = true
		return f.varint("sequence", &t.Identity.Sequence)
	case fieldObservedAt:
		var milliseconds uint64
		if err := f.varint("observed_at_ms", &milliseconds); err != nil {
			return err
		}
		t.ObservedAt = time.Time{} // the last one wins, as for every field
		return d.setObservedAt(time.UnixMilli(int64(milliseconds)), "observed_at_ms")
	case fieldMetrics:
		return d.readProtobufMetric(f)
	case fieldAttributes:
		return d.readProtobufAttribute(f)
	}
	if f.number >= fieldSignedPayload && f.number <= fieldSignature {
		return edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "field %d belongs to SignedTelemetry, and not beside telemetry", f.number)
	}
	t.Unknown++
	return nil
}

func (d *Decoder) readProtobufVersion(f field) error {
	var version uint64
	if err := f.varint("schema_version", &version); err != nil {
		return err
	}
	if version > math.MaxUint32 {
		return edge.Refuse(edge.Invalid, edge.ReasonSchemaVersion, "schema_version", "%d is not supported; this gateway reads version %d", version, edge.SchemaVersion)
	}
	d.telemetry.SchemaVersion = uint32(version)
	return nil
}

func (d *Decoder) readProtobufMetric(f field) error {
	const name, number, integer, boolean, text = 1, 2, 3, 4, 5
	var message []byte
	if err := f.bytes("metrics", &message); err != nil {
		return err
	}
	if err := room(len(d.telemetry.Metrics), edge.MaxMetrics, "metrics"); err != nil {
		return err
	}
	var metric edge.Metric
	err := eachField(message, func(f field) (err error) {
		var bits uint64
		switch f.number {
		case name:
			err = d.readProtobufText(f, "metrics", &metric.Name)
		case number:
			err = f.fixed64("metrics", &bits)
			metric.Value = edge.Value{Kind: edge.KindNumber, Number: math.Float64frombits(bits)}
		case integer:
			err = f.varint("metrics", &bits)
			metric.Value = edge.Value{Kind: edge.KindInteger, Integer: protowire.DecodeZigZag(bits)}
		case boolean:
			err = f.varint("metrics", &bits)
			metric.Value = edge.Value{Kind: edge.KindBool, Bool: protowire.DecodeBool(bits)}
		case text:
			metric.Value = edge.Value{Kind: edge.KindText}
			err = d.readProtobufText(f, "metrics", &metric.Value.Text)
		default:
			d.telemetry.Unknown++
		}
		return err
	})
	if err != nil {
		return err
	}
	return d.addMetric(metric)
}

func (d *Decoder) addMetric(metric edge.Metric) error {
	switch {
	case metric.Value.Kind == 0:
		return edge.Refuse(edge.Invalid, edge.ReasonMissingField, fieldPath("metrics", metric.Name), "has no value")
	case metric.Value.Kind == edge.KindNumber && (math.IsNaN(metric.Value.Number) || math.IsInf(metric.Value.Number, 0)):
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, fieldPath("metrics", metric.Name), "must be a finite number")
	}
	for i := range d.telemetry.Metrics {
		if d.telemetry.Metrics[i].Name == metric.Name {
			return edge.Refuse(edge.Malformed, edge.ReasonDuplicateKey, fieldPath("metrics", metric.Name), "is there twice")
		}
	}
	d.telemetry.Metrics = append(d.telemetry.Metrics, metric)
	return nil
}

func (d *Decoder) readProtobufAttribute(f field) error {
	const name, value = 1, 2
	var message []byte
	if err := f.bytes("attributes", &message); err != nil {
		return err
	}
	if err := room(len(d.telemetry.Attributes), edge.MaxAttributes, "attributes"); err != nil {
		return err
	}
	var attribute edge.Attribute
	err := eachField(message, func(f field) error {
		switch f.number {
		case name:
			return d.readProtobufText(f, "attributes", &attribute.Name)
		case value:
			return d.readProtobufText(f, "attributes", &attribute.Value)
		}
		d.telemetry.Unknown++
		return nil
	})
	if err != nil {
		return err
	}
	for i := range d.telemetry.Attributes {
		if d.telemetry.Attributes[i].Name == attribute.Name {
			return edge.Refuse(edge.Malformed, edge.ReasonDuplicateKey, fieldPath("attributes", attribute.Name), "is there twice")
		}
	}
	d.telemetry.Attributes = append(d.telemetry.Attributes, attribute)
	return nil
}

func (d *Decoder) readProtobufText(f field, path string, into *string) error {
	var text []byte
	err := f.text(path, &text)
	*into = d.strings.intern(text)
	return err
}

// field is one field on the wire.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  []byte // begins with the value, and may go on after it
}

// eachField calls read for each field of a message.
func eachField(message []byte, read func(field) error) error {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return refuseWire(length)
		}
		message = message[length:]
		length = protowire.ConsumeFieldValue(number, kind, message)
		if length < 0 {
			return refuseWire(length)
		}
		if err := read(field{number, kind, message[:length]}); err != nil {
			return err
		}
		message = message[length:]
	}
	return nil
}

func refuseWire(code int) error {
	return edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "is not protobuf: %v", protowire.ParseError(code))
}

func (f field) varint(path string, into *uint64) error {
	if f.kind != protowire.VarintType {
		return f.refuseType(path)
	}
	*into, _ = protowire.ConsumeVarint(f.value)
	return nil
}

func (f field) fixed64(path string, into *uint64) error {
	if f.kind != protowire.Fixed64Type {
		return f.refuseType(path)
	}
	*into, _ = protowire.ConsumeFixed64(f.value)
	return nil
}

func (f field) bytes(path string, into *[]byte) error {
	if f.kind != protowire.BytesType {
		return f.refuseType(path)
	}
	*into, _ = protowire.ConsumeBytes(f.value)
	return nil
}

func (f field) text(path string, into *[]byte) error {
	if err := f.bytes(path, into); err != nil {
		return err
	}
	if !utf8.Valid(*into) {
		return edge.Refuse(edge.Malformed, edge.ReasonEncoding, path, "is not valid UTF-8")
	}
	return nil
}

func (f field) refuseType(path string) error {
	return edge.Refuse(edge.Invalid, edge.ReasonWrongType, path, "field %d has wire type %d", f.number, f.kind)
}
