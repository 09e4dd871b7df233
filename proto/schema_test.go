// Package proto_test holds the contracts against each other: the JSON Schema
// against the golden vectors, and the limits that protobuf, JSON Schema and the
// server state against one another.
package proto_test

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"combotto.io/gateway/proto/vectors"
)

func TestSchema_AcceptsValid(t *testing.T) {
	schema := compile(t)
	all, err := vectors.Valid()
	if err != nil {
		t.Fatal(err)
	}
	for _, vector := range all {
		if vector.JSON == nil {
			continue
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(vector.JSON))
		if err != nil {
			t.Errorf("%s: %v", vector.Name, err)
			continue
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v", vector.Name, err)
		}
	}
}

// beyondSchema names the payloads whose fault no JSON Schema can state.
var beyondSchema = map[string]string{
	"json-device-other":        "the schema does not know who publishes",
	"json-metric-text-1025":    "the schema counts characters",
	"json-attribute-value-257": "the schema counts characters",
	"json-observed-year-0":     "RFC 3339 has a year 0",
}

func TestSchema_RefusesInvalid(t *testing.T) {
	schema := compile(t)
	all, err := vectors.Invalid()
	if err != nil {
		t.Fatal(err)
	}
	for _, refused := range all {
		if refused.JSON == nil || refused.Refusal.Code != "invalid" {
			continue // what cannot be parsed never meets the schema
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(refused.JSON))
		if err != nil {
			t.Errorf("%s: %v", refused.Name, err)
			continue
		}
		accepted := schema.Validate(document) == nil
		if reason, beyond := beyondSchema[refused.Name]; accepted && !beyond {
			t.Errorf("%s is accepted", refused.Name)
		} else if !accepted && beyond {
			t.Errorf("%s is refused, although %s", refused.Name, reason)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile("telemetry.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}
