package proto_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
)

// Limits are stated three times, for three readers. They are the same.
func TestLimits_Agree(t *testing.T) {
	schema := readSchema(t)
	telemetry, metric, attribute := &telemetryv1.Telemetry{}, &telemetryv1.Metric{}, &telemetryv1.Attribute{}
	metrics, attributes := rules(t, telemetry, "metrics").GetRepeated(), rules(t, telemetry, "attributes").GetRepeated()
	for _, limit := range []struct {
		name             string
		server, protobuf uint64
		schema           float64
	}{
		{"metrics", edge.MaxMetrics, metrics.GetMaxItems(), schema.number(t, "metrics", "maxProperties")},
		{"at least one metric", 1, metrics.GetMinItems(), schema.number(t, "metrics", "minProperties")},
		{"attributes", edge.MaxAttributes, attributes.GetMaxItems(), schema.number(t, "attributes", "maxProperties")},
		{"metric text", edge.MaxMetricTextBytes, rules(t, metric, "text").GetString().GetMaxBytes(), schema.number(t, "metrics", "additionalProperties", "maxLength")},
		{"attribute name", edge.MaxAttributeBytes, rules(t, attribute, "name").GetString().GetMaxBytes(), schema.number(t, "attributes", "propertyNames", "maxLength")},
		{"attribute value", edge.MaxAttributeBytes, rules(t, attribute, "value").GetString().GetMaxBytes(), schema.number(t, "attributes", "additionalProperties", "maxLength")},
		{"sequence", edge.MaxSequence, rules(t, telemetry, "sequence").GetUint64().GetLte(), schema.number(t, "sequence", "maximum")},
		{"schema version", edge.SchemaVersion, uint64(rules(t, telemetry, "schema_version").GetUint32().GetConst()), schema.number(t, "schema_version", "const")},
	} {
		if limit.server != limit.protobuf || float64(limit.server) != limit.schema {
			t.Errorf("%s: server %d, protobuf %d, JSON Schema %.0f", limit.name, limit.server, limit.protobuf, limit.schema)
		}
	}
	publish := &telemetryv1.PublishRequest{}
	if got := rules(t, publish, "messages").GetRepeated().GetMaxItems(); got != edge.MaxBatchMessages {
		t.Errorf("messages of a Publish: server %d, protobuf %d", edge.MaxBatchMessages, got)
	}
	if got := rules(t, &telemetryv1.Payload{}, "data").GetBytes().GetMaxLen(); got != edge.MaxPayloadBytes {
		t.Errorf("payload: server %d, protobuf %d", edge.MaxPayloadBytes, got)
	}
}

// So are the patterns of names. The server has code instead of a pattern: it is
// asked about every byte in first and later place, and about lengths.
func TestPatterns_Agree(t *testing.T) {
	schema := readSchema(t)
	telemetry := &telemetryv1.Telemetry{}
	for _, name := range []struct {
		name, protobuf, schema string
		valid                  func(string) bool
	}{
		{"device_id", rules(t, telemetry, "device_id").GetString().GetPattern(), schema.text(t, "device_id", "pattern"), edge.ValidDeviceID[string]},
		{"message_id", rules(t, telemetry, "message_id").GetString().GetPattern(), schema.text(t, "message_id", "pattern"), edge.ValidMessageID[string]},
		{"boot_id", rules(t, telemetry, "boot_id").GetString().GetPattern(), schema.text(t, "boot_id", "pattern"), edge.ValidBootID[string]},
		{"metric name", rules(t, &telemetryv1.Metric{}, "name").GetString().GetPattern(), schema.text(t, "metrics", "propertyNames", "pattern"), edge.ValidMetricName[string]},
	} {
		if name.protobuf != name.schema {
			t.Errorf("%s: protobuf %s, JSON Schema %s", name.name, name.protobuf, name.schema)
		}
		pattern := regexp.MustCompile(name.protobuf)
		for _, probe := range probes() {
			if want, got := pattern.MatchString(probe), name.valid(probe); got != want {
				t.Errorf("%s %.40q: server says %t, %s says %t", name.name, probe, got, name.protobuf, want)
			}
		}
	}
}

// probes returns every byte alone and after a letter, and texts of up to 70
// letters.
func probes() []string {
	var texts []string
	for b := range 256 {
		texts = append(texts, string([]byte{byte(b)}), string([]byte{'a', byte(b)}))
	}
	for length := range 70 {
		texts = append(texts, strings.Repeat("a", length))
	}
	return texts
}

// rules returns the validation rules of a field.
func rules(t *testing.T, message proto.Message, field protoreflect.Name) *validate.FieldRules {
	t.Helper()
	descriptor := message.ProtoReflect().Descriptor().Fields().ByName(field)
	if descriptor == nil {
		t.Fatalf("%T has no field %s", message, field)
	}
	rules, ok := proto.GetExtension(descriptor.Options(), validate.E_Field).(*validate.FieldRules)
	if !ok || rules == nil {
		t.Fatalf("%s has no rules", descriptor.FullName())
	}
	return rules
}

// schema is the JSON Schema of telemetry as a tree.
type schema map[string]any

func readSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile("telemetry.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Properties schema `json:"properties"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document.Properties
}

// at returns what stands at a path below the properties.
func (s schema) at(path ...string) any {
	var here any = map[string]any(s)
	for _, key := range path {
		object, _ := here.(map[string]any)
		here = object[key]
	}
	return here
}

func (s schema) number(t *testing.T, path ...string) float64 {
	t.Helper()
	number, ok := s.at(path...).(float64)
	if !ok {
		t.Fatalf("the JSON Schema has no number at %v", path)
	}
	return number
}

func (s schema) text(t *testing.T, path ...string) string {
	t.Helper()
	text, ok := s.at(path...).(string)
	if !ok {
		t.Fatalf("the JSON Schema has no text at %v", path)
	}
	return text
}
