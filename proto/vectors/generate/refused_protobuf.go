package main

import (
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// refusedProtobuf returns the protobuf payloads that are refused.
func refusedProtobuf() []refused {
	return append(notProtobuf(), wrongMessages()...)
}

// notProtobuf returns payloads that cannot be parsed.
func notProtobuf() []refused {
	because := func(name, about string, payload []byte, reason, field string) refused {
		return refused{name: "protobuf-" + name, about: about, protobuf: payload, refusal: refusal{Code: malformed, Reason: reason, Field: field}}
	}
	ordinary := mustEncode(message(integer("n", 1)))
	latin := protowire.AppendTag(nil, 4, protowire.BytesType)
	latin = protowire.AppendBytes(latin, []byte("caf\xe9"))
	payload := protowire.AppendTag(nil, 11, protowire.BytesType)
	payload = protowire.AppendBytes(payload, ordinary)
	return []refused{
		because("truncated", "The message ends within a metric.", ordinary[:len(ordinary)-1], "malformed", ""),
		because("text", "A text is no message.", []byte("temperature 23.5"), "malformed", ""),
		because("varint", "A number of more than ten bytes.", []byte(strings.Repeat("\x08", 1)+strings.Repeat("\xff", 10)+"\x01"), "malformed", ""),
		because("utf8", "A text that is not UTF-8.", append(latin, ordinary...), "encoding", "boot_id"),
		because("duplicate-metric", "The same metric twice.", mustEncode(message(integer("n", 1), integer("n", 2))), "duplicate_key", "metrics.n"),
		because("duplicate-attribute", "The same attribute twice.",
			mustEncode(withAttributes(message(integer("n", 1)), attribute("a", "1"), attribute("a", "2"))), "duplicate_key", "attributes.a"),
		because("signed-and-not", "Fields of Telemetry and of SignedTelemetry side by side.", append(payload, ordinary...), "malformed", ""),
	}
}

// wrongMessages returns payloads that can be parsed and are refused all the same.
func wrongMessages() []refused {
	because := func(name, about string, m proto.Message, reason, field string) refused {
		return refused{name: "protobuf-" + name, about: about, protobuf: mustEncode(m), refusal: refusal{Code: invalid, Reason: reason, Field: field}}
	}
	changed := func(change func(*telemetryv1.Telemetry)) *telemetryv1.Telemetry {
		return with(message(integer("n", 1)), change)
	}
	wrongType := changed(func(t *telemetryv1.Telemetry) { t.SchemaVersion = 0 })
	wrongType.ProtoReflect().SetUnknown(protowire.AppendFixed32(protowire.AppendTag(nil, 1, protowire.Fixed32Type), 1))
	many := message()
	for i := range 257 {
		many.Metrics = append(many.Metrics, integer(field(i), 0))
	}
	return []refused{
		because("no-schema-version", "The version of the schema is required.", changed(func(t *telemetryv1.Telemetry) { t.SchemaVersion = 0 }), "missing_field", "schema_version"),
		because("schema-version-2", "A version that does not exist yet.", changed(func(t *telemetryv1.Telemetry) { t.SchemaVersion = 2 }), "schema_version", "schema_version"),
		because("schema-version-fixed", "A version in another wire type.", wrongType, "wrong_type", "schema_version"),
		because("no-metric", "One metric at least is required.", message(), "missing_field", "metrics"),
		because("metrics-257", "One metric too many.", many, "out_of_range", "metrics"),
		because("no-value", "A metric without a value.", message(&telemetryv1.Metric{Name: "n"}), "missing_field", "metrics.n"),
		because("no-name", "A metric without a name.", message(integer("", 1)), "out_of_range", "metrics"),
		because("nan", "Not a number is no value.", message(number("n", math.NaN())), "out_of_range", "metrics.n"),
		because("infinity", "Infinity is no value.", message(number("n", math.Inf(1))), "out_of_range", "metrics.n"),
		because("text-1025", "A text of 1,025 bytes.", message(text("t", strings.Repeat("x", 1025))), "out_of_range", "metrics.t"),
		because("device-other", "The payload names another device than the one that publishes.", changed(func(t *telemetryv1.Telemetry) { t.DeviceId = "dev-2" }), "device", "device_id"),
		because("message-id-65", "An id of 65 characters.", changed(func(t *telemetryv1.Telemetry) { t.MessageId = strings.Repeat("m", 65) }), "out_of_range", "message_id"),
		because("boot-id-33", "An id of 33 characters.", changed(func(t *telemetryv1.Telemetry) { t.BootId = strings.Repeat("b", 33) }), "out_of_range", "boot_id"),
		because("sequence-2-53", "A sequence beyond 2^53-1.", changed(func(t *telemetryv1.Telemetry) { t.Sequence = proto.Uint64(1 << 53) }), "out_of_range", "sequence"),
		because("observed-year-10000", "A time beyond the year 9999.", changed(func(t *telemetryv1.Telemetry) { t.ObservedAtMs = proto.Int64(253402300800000) }), "out_of_range", "observed_at_ms"),
		because("attribute-257", "A value of 257 bytes.", withAttributes(message(integer("n", 1)), attribute("site", strings.Repeat("x", 257))), "out_of_range", "attributes.site"),
		because("signed-no-sequence", "A signed message carries boot_id and sequence.", envelope(message(integer("n", 1)), []byte("not checked before the identity is")), "missing_field", "payload"),
		because("signed-no-signature", "A signed message carries a signature.", envelope(changed(func(t *telemetryv1.Telemetry) {
			t.BootId, t.Sequence = "a91f", proto.Uint64(42)
		}), nil), "missing_field", "signature"),
	}
}

// envelope puts telemetry into a SignedTelemetry with whatever signature.
func envelope(t *telemetryv1.Telemetry, signature []byte) *telemetryv1.SignedTelemetry {
	return &telemetryv1.SignedTelemetry{Payload: mustEncode(t), KeyId: "test-1", Signature: signature}
}

// mustEncode encodes a message of this program's own making. Only a text that is
// not UTF-8 could fail, and none of them has one.
func mustEncode(m proto.Message) []byte {
	payload, err := encode(m)
	if err != nil {
		panic(err)
	}
	return payload
}
