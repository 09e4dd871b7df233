package main

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// plain returns the vectors that say the same in both encodings.
func plain() []vector {
	return slices.Concat(messages(), values(), identities(), deliveries())
}

// messages returns the vectors about a message as a whole.
func messages() []vector {
	return []vector{
		{
			name:      "minimal",
			about:     "The least that a message can say.",
			json:      `{"schema_version":1,"metrics":{"ok":true}}`,
			telemetry: telemetry{message: message(boolean("ok", true))},
		},
		{
			name:  "full",
			about: "Every field of a message and of an ordinary delivery.",
			json: `{"schema_version":1,"device_id":"dev-1","message_id":"01JC7Z0000000000000000TEST","boot_id":"a91f","sequence":42,` +
				`"observed_at":"2026-11-22T17:59:59.987Z","metrics":{"temperature_c":23.5,"uptime_s":86400,"door_open":false,"mode":"eco"},` +
				`"attributes":{"firmware":"1.2.0","site":"north"}}`,
			telemetry: telemetry{message: &telemetryv1.Telemetry{
				SchemaVersion: 1,
				DeviceId:      "dev-1",
				MessageId:     "01JC7Z0000000000000000TEST",
				BootId:        "a91f",
				Sequence:      proto.Uint64(42),
				ObservedAtMs:  proto.Int64(1795370399987),
				Metrics: []*telemetryv1.Metric{
					number("temperature_c", 23.5), integer("uptime_s", 86400), boolean("door_open", false), text("mode", "eco"),
				},
				Attributes: []*telemetryv1.Attribute{attribute("firmware", "1.2.0"), attribute("site", "north")},
			}},
			stamps: stamped().with(func(s *stamps) {
				s.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			}),
		},
		{
			name:      "order",
			about:     "Metrics and attributes keep the order in which they were received.",
			json:      `{"attributes":{"z":"1","a":"2"},"metrics":{"zeta":1,"alpha":2,"Zeta":3,"_":4,"a.b_c":5},"schema_version":1}`,
			telemetry: telemetry{message: withAttributes(message(integer("zeta", 1), integer("alpha", 2), integer("Zeta", 3), integer("_", 4), integer("a.b_c", 5)), attribute("z", "1"), attribute("a", "2"))},
		},
		{
			name:      "unknown-protobuf",
			about:     "Fields that the schema does not know are skipped, also those of the numbers 9 and 10 that it keeps for itself.",
			telemetry: telemetry{message: message(integer("n", 1))},
			tail:      unknownFields(),
		},
	}
}

// values returns the vectors about what a metric or an attribute can hold.
func values() []vector {
	return []vector{
		{
			name:  "integers",
			about: "Whole numbers within int64 stay whole, to the last bit.",
			json: `{"schema_version":1,"metrics":{"zero":0,"minus_one":-1,"above_2_53":9007199254740993,` +
				`"int64_max":9223372036854775807,"int64_min":-9223372036854775808}}`,
			telemetry: telemetry{message: message(integer("zero", 0), integer("minus_one", -1), integer("above_2_53", 1<<53+1),
				integer("int64_max", math.MaxInt64), integer("int64_min", math.MinInt64))},
		},
		{
			name:  "doubles",
			about: "Doubles come out in their shortest form: no exponent from 1e-6 up to below 1e21.",
			json: `{"schema_version":1,"metrics":{"tenth":0.1,"third":0.3333333333333333,"whole":42.0,"micro":0.000001,"below_micro":1e-7,` +
				`"below_1e21":123456789012345680000.0,"at_1e21":1e21,"max":1.7976931348623157e308,"least":5e-324,"negative":-273.15,"minus_zero":-0.0}}`,
			telemetry: telemetry{message: message(number("tenth", 0.1), number("third", 1.0/3), number("whole", 42), number("micro", 1e-6),
				number("below_micro", 1e-7), number("below_1e21", 123456789012345680000), number("at_1e21", 1e21), number("max", math.MaxFloat64),
				number("least", math.SmallestNonzeroFloat64), number("negative", -273.15), number("minus_zero", math.Copysign(0, -1)))},
		},
		{
			name:      "booleans",
			about:     "False is a value, not an absence.",
			json:      `{"schema_version":1,"metrics":{"yes":true,"no":false}}`,
			telemetry: telemetry{message: message(boolean("yes", true), boolean("no", false))},
		},
		{
			name:  "texts",
			about: "Texts of every kind; canonical JSON escapes only what it must.",
			json: `{"schema_version":1,"metrics":{"empty":"","quote":"say \"hi\" \\ / \u002f","control":"\b\t\n\f\r\u0001\u001f\u007f",` +
				`"html":"<a href='x'>&</a>","latin":"caf\u00e9","han":"温度","emoji":"\ud83c\udf21","separator":"\u2028\u2029","bom":"a\ufeffb"},` +
				`"attributes":{"Größe":"größer"," ":""}}`,
			telemetry: telemetry{message: withAttributes(message(text("empty", ""), text("quote", `say "hi" \ / /`), text("control", "\b\t\n\f\r\x01\x1f\x7f"),
				text("html", `<a href='x'>&</a>`), text("latin", "café"), text("han", "温度"), text("emoji", "🌡"), text("separator", "\u2028\u2029"),
				text("bom", "a\ufeffb")), attribute("Größe", "größer"), attribute(" ", ""))},
		},
	}
}

// identities returns the vectors about what identifies a message.
func identities() []vector {
	return []vector{
		{
			name:      "message-id",
			about:     "A message named by its device, with every kind of character that a name may have.",
			json:      `{"schema_version":1,"message_id":"!\"#$%&'()*+,-./:;<=>?@[\\]^_` + "`" + `{|}~","metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) { t.MessageId = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" })},
		},
		{
			name:  "sequence-zero",
			about: "The first message after a start has the sequence 0, which is not an absent one.",
			json:  `{"schema_version":1,"boot_id":"._-","sequence":0,"metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) {
				t.BootId, t.Sequence = "._-", proto.Uint64(0)
			})},
		},
		{
			name:  "sequence-max",
			about: "The largest sequence, 2^53-1.",
			json:  `{"schema_version":1,"boot_id":"a","sequence":9007199254740991,"metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) {
				t.BootId, t.Sequence = "a", proto.Uint64(1<<53-1)
			})},
		},
		{
			name:      "sequence-alone",
			about:     "A sequence without boot_id identifies nothing, and is passed on.",
			json:      `{"schema_version":1,"sequence":7,"metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) { t.Sequence = proto.Uint64(7) })},
		},
		{
			name:      "boot-id-alone",
			about:     "A boot_id without sequence identifies nothing, and is passed on.",
			json:      `{"schema_version":1,"boot_id":"a91f","metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) { t.BootId = "a91f" })},
		},
		{
			name:      "observed-ms",
			about:     "The device clock in milliseconds.",
			json:      `{"schema_version":1,"observed_at_ms":1795370400123,"metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) { t.ObservedAtMs = proto.Int64(1795370400123) })},
		},
		{
			name:      "observed-epoch",
			about:     "A device clock at 1970 is a time, not an absence.",
			json:      `{"schema_version":1,"observed_at_ms":0,"metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) { t.ObservedAtMs = proto.Int64(0) })},
		},
		{
			name:      "observed-before-1970",
			about:     "A device clock before 1970 counts down to it.",
			json:      `{"schema_version":1,"observed_at":"1969-12-31T23:59:59.999Z","metrics":{"n":1}}`,
			telemetry: telemetry{message: with(message(integer("n", 1)), func(t *telemetryv1.Telemetry) { t.ObservedAtMs = proto.Int64(-1) })},
		},
	}
}

// deliveries returns the vectors about why and how a record is delivered.
func deliveries() []vector {
	ordinary := func(name, about string, change func(*stamps)) vector {
		return vector{
			name: name, about: about,
			json:      `{"schema_version":1,"metrics":{"n":1}}`,
			telemetry: telemetry{message: message(integer("n", 1))},
			stamps:    stamped().with(change),
		}
	}
	return []vector{
		ordinary("request-id", "A message named by the request that brought it.", func(s *stamps) {
			s.Source, s.MessageID = "http", "batch-7/0"
		}),
		ordinary("delivery-backfill", "Over a bridge, delivered after an outage; receive_ts on a whole second.", func(s *stamps) {
			s.Source, s.Delivery, s.ReceiveTS = "bridge", "backfill", "2026-11-22T18:00:00.000000Z"
		}),
		ordinary("delivery-requeue", "Over HTTP, edited by an operator and requeued.", func(s *stamps) {
			s.Source, s.Delivery, s.Revision = "http", "requeue", 1
		}),
		ordinary("delivery-replay", "Over RPC, verified, and replayed.", func(s *stamps) {
			s.Source, s.Delivery, s.Verified, s.ReplayID = "rpc", "replay", true, "01a2046a-9ac0-7000-8000-0000080000ff"
		}),
	}
}

// unknownFields returns a varint in field 9, bytes in field 10 and a fixed64 in
// field 536870911, the largest number there is.
func unknownFields() []byte {
	tail := protowire.AppendTag(nil, 9, protowire.VarintType)
	tail = protowire.AppendVarint(tail, 300)
	tail = protowire.AppendTag(tail, 10, protowire.BytesType)
	tail = protowire.AppendString(tail, "later")
	tail = protowire.AppendTag(tail, protowire.MaxValidNumber, protowire.Fixed64Type)
	return protowire.AppendFixed64(tail, 1)
}

func with(t *telemetryv1.Telemetry, change func(*telemetryv1.Telemetry)) *telemetryv1.Telemetry {
	change(t)
	return t
}

func withAttributes(t *telemetryv1.Telemetry, attributes ...*telemetryv1.Attribute) *telemetryv1.Telemetry {
	t.Attributes = attributes
	return t
}

func (s stamps) with(change func(*stamps)) stamps {
	change(&s)
	return s
}
