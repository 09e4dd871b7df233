package main

import (
	"fmt"
	"strings"
)

// refused is a payload that the gateway does not accept.
type refused struct {
	name     string
	about    string // one sentence: what is wrong with it
	json     string // the payload, in one encoding
	protobuf []byte
	refusal  refusal
}

// refusal is how a payload is refused. The keys are those of refusal.json.
type refusal struct {
	About    string `json:"about"`
	DeviceID string `json:"device_id"`
	Code     string `json:"code"`
	Reason   string `json:"reason"`
	Field    string `json:"field,omitempty"`
}

// The codes: cannot be parsed, and parsed but means nothing valid.
const (
	malformed = "malformed"
	invalid   = "invalid"
)

// spell writes the folder of the payload.
func (r refused) spell(files map[string][]byte) error {
	r.refusal.About, r.refusal.DeviceID = r.about, "dev-1"
	pretty, err := indent(r.refusal)
	if err != nil {
		return err
	}
	if err := add(files, pretty, "invalid", r.name, "refusal.json"); err != nil {
		return err
	}
	if r.protobuf != nil {
		return add(files, r.protobuf, "invalid", r.name, "payload.binpb")
	}
	return add(files, []byte(r.json), "invalid", r.name, "payload.json")
}

// refusedJSON returns the JSON payloads that are refused.
func refusedJSON() []refused {
	all := append(notJSON(), wrongFields()...)
	all = append(all, wrongIdentities()...)
	return append(all, wrongValues()...)
}

// notJSON returns payloads that cannot be parsed.
func notJSON() []refused {
	because := func(name, about, json, reason string) refused {
		return refused{name: "json-" + name, about: about, json: json, refusal: refusal{Code: malformed, Reason: reason}}
	}
	return []refused{
		because("empty", "Nothing at all.", "", "malformed"),
		because("truncated", "The text ends within a string.", `{"schema_version":1,"metrics":{"mode":"ec`, "malformed"),
		because("trailing", "Something follows the object.", `{"schema_version":1,"metrics":{"n":1}} {}`, "malformed"),
		because("comma", "A comma before the closing brace.", `{"schema_version":1,"metrics":{"n":1,}}`, "malformed"),
		because("comment", "JSON has no comments.", `{"schema_version":1,/* n */"metrics":{"n":1}}`, "malformed"),
		because("bom", "A byte order mark before the object.", "\ufeff"+`{"schema_version":1,"metrics":{"n":1}}`, "malformed"),
		because("nan", "JSON has no NaN.", `{"schema_version":1,"metrics":{"n":NaN}}`, "malformed"),
		because("infinity", "JSON has no infinity.", `{"schema_version":1,"metrics":{"n":-Infinity}}`, "malformed"),
		because("leading-zero", "A number does not begin with a zero.", `{"schema_version":1,"metrics":{"n":007}}`, "malformed"),
		because("utf8", "A text that is not UTF-8.", "{\"schema_version\":1,\"metrics\":{\"t\":\"\xff\"}}", "encoding"),
		because("surrogate", "Half of a surrogate pair is no character.", `{"schema_version":1,"metrics":{"t":"\ud83c"}}`, "malformed"),
		because("duplicate-field", "The same field twice.", `{"schema_version":1,"schema_version":1,"metrics":{"n":1}}`, "duplicate_key"),
		because("duplicate-metric", "The same metric twice, once with an escape.", `{"schema_version":1,"metrics":{"n":1,"\u006e":2}}`, "duplicate_key"),
		because("duplicate-unknown", "The same key twice in a field that the schema does not know.", `{"schema_version":1,"metrics":{"n":1},"x":{"a":1,"a":2}}`, "duplicate_key"),
		because("depth", "Five levels of nesting.", `{"schema_version":1,"metrics":{"n":1},"x":{"a":{"b":{"c":{}}}}}`, "depth"),
	}
}

// because returns a payload that can be parsed and is refused all the same.
func because(name, about, json, reason, field string) refused {
	return refused{name: "json-" + name, about: about, json: json, refusal: refusal{Code: invalid, Reason: reason, Field: field}}
}

// wrongFields returns payloads with a required field absent or of another type.
func wrongFields() []refused {
	return []refused{
		because("not-an-object", "A number is no message.", `42`, "wrong_type", ""),
		because("no-schema-version", "The version of the schema is required.", `{"metrics":{"n":1}}`, "missing_field", "schema_version"),
		because("schema-version-2", "A version that does not exist yet.", `{"schema_version":2,"metrics":{"n":1}}`, "schema_version", "schema_version"),
		because("schema-version-text", "A version is a number.", `{"schema_version":"1","metrics":{"n":1}}`, "wrong_type", "schema_version"),
		because("no-metrics", "Metrics are required.", `{"schema_version":1}`, "missing_field", "metrics"),
		because("no-metric", "One metric at least is required.", `{"schema_version":1,"metrics":{}}`, "missing_field", "metrics"),
		because("metrics-array", "Metrics are an object.", `{"schema_version":1,"metrics":[1]}`, "wrong_type", "metrics"),
		because("metrics-257", "One metric too many.", `{"schema_version":1,"metrics":{`+fields(257, "0")+`}}`, "out_of_range", "metrics"),
		because("attributes-65", "One attribute too many.", `{"schema_version":1,"metrics":{"n":1},"attributes":{`+fields(65, `""`)+`}}`, "out_of_range", "attributes"),
		because("attributes-null", "Null is not the same as absent.", `{"schema_version":1,"metrics":{"n":1},"attributes":null}`, "wrong_type", "attributes"),
	}
}

// wrongIdentities returns payloads that name the device, the message or the time
// wrongly.
func wrongIdentities() []refused {
	naming := func(name, about, member, reason, field string) refused {
		return because(name, about, `{"schema_version":1,`+member+`,"metrics":{"n":1}}`, reason, field)
	}
	return []refused{
		naming("device-other", "The payload names another device than the one that publishes.", `"device_id":"dev-2"`, "device", "device_id"),
		naming("device-empty", "An id that is there is not empty.", `"device_id":""`, "out_of_range", "device_id"),
		naming("device-number", "An id is a string.", `"device_id":1`, "wrong_type", "device_id"),
		naming("message-id-empty", "An id that is there is not empty.", `"message_id":""`, "out_of_range", "message_id"),
		naming("message-id-65", "An id of 65 characters.", `"message_id":"`+strings.Repeat("m", 65)+`"`, "out_of_range", "message_id"),
		naming("message-id-space", "An id with a space.", `"message_id":"a b"`, "out_of_range", "message_id"),
		naming("message-id-latin", "An id beyond ASCII.", `"message_id":"caf\u00e9"`, "out_of_range", "message_id"),
		naming("message-id-null", "Null is not the same as absent.", `"message_id":null`, "wrong_type", "message_id"),
		naming("boot-id-33", "An id of 33 characters.", `"boot_id":"`+strings.Repeat("b", 33)+`"`, "out_of_range", "boot_id"),
		naming("boot-id-colon", "An id with a character that is not allowed.", `"boot_id":"a:b"`, "out_of_range", "boot_id"),
		naming("sequence-negative", "A sequence begins at 0.", `"sequence":-1`, "out_of_range", "sequence"),
		naming("sequence-2-53", "A sequence beyond 2^53-1.", `"sequence":9007199254740992`, "out_of_range", "sequence"),
		naming("sequence-fraction", "A sequence is whole.", `"sequence":1.5`, "out_of_range", "sequence"),
		naming("sequence-text", "A sequence is a number.", `"sequence":"1"`, "wrong_type", "sequence"),
		naming("observed-text", "A time that is not RFC 3339.", `"observed_at":"22.11.2026 18:00"`, "out_of_range", "observed_at"),
		naming("observed-no-zone", "A time without a zone.", `"observed_at":"2026-11-22T18:00:00"`, "out_of_range", "observed_at"),
		naming("observed-number", "A time in seconds.", `"observed_at":1795370400`, "wrong_type", "observed_at"),
		naming("observed-year-0", "A time that UTC puts into the year 0.", `"observed_at":"0001-01-01T00:00:00+01:00"`, "out_of_range", "observed_at"),
		naming("observed-ms-year-10000", "A time beyond the year 9999.", `"observed_at_ms":253402300800000`, "out_of_range", "observed_at_ms"),
		naming("observed-twice", "Two times exclude each other.", `"observed_at":"2026-11-22T18:00:00Z","observed_at_ms":1795370400000`, "duplicate_key", "observed_at_ms"),
	}
}

// wrongValues returns payloads with a metric or an attribute that is refused.
func wrongValues() []refused {
	metric := func(name, about, member, reason, field string) refused {
		return because("metric-"+name, about, `{"schema_version":1,"metrics":{`+member+`}}`, reason, field)
	}
	attribute := func(name, about, member, reason, field string) refused {
		return because("attribute-"+name, about, `{"schema_version":1,"metrics":{"n":1},"attributes":{`+member+`}}`, reason, field)
	}
	return []refused{
		metric("null", "Null is no value.", `"n":null`, "wrong_type", "metrics.n"),
		metric("object", "An object is no value.", `"n":{"value":1}`, "wrong_type", "metrics.n"),
		metric("array", "An array is no value.", `"n":[1]`, "wrong_type", "metrics.n"),
		metric("overflow", "A number beyond the largest double.", `"n":1e400`, "out_of_range", "metrics.n"),
		metric("text-1025", "A text of 1,025 bytes in 513 characters.", `"t":"`+strings.Repeat("é", 512)+`x"`, "out_of_range", "metrics.t"),
		metric("name-empty", "A name of no characters.", `"":1`, "out_of_range", "metrics"),
		metric("name-65", "A name of 65 characters.", `"`+strings.Repeat("n", 65)+`":1`, "out_of_range", "metrics"),
		metric("name-digit", "A name that begins with a digit.", `"9n":1`, "out_of_range", "metrics"),
		metric("name-hyphen", "A name with a character that is not allowed.", `"a-b":1`, "out_of_range", "metrics"),
		attribute("number", "An attribute is a string.", `"firmware":1.2`, "wrong_type", "attributes.firmware"),
		attribute("value-257", "A value of 257 bytes in 129 characters.", `"site":"`+strings.Repeat("é", 128)+`x"`, "out_of_range", "attributes.site"),
		attribute("name-empty", "A name of no characters.", `"":"x"`, "out_of_range", "attributes"),
		attribute("name-257", "A name of 257 bytes.", `"`+strings.Repeat("n", 257)+`":"x"`, "out_of_range", "attributes"),
	}
}

// fields writes n members with the same value.
func fields(n int, value string) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf("%q:%s", field(i), value)
	}
	return strings.Join(members, ",")
}
