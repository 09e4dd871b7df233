package config

import (
	"encoding/json"
	"reflect"
)

// Schema returns the JSON Schema (draft 2020-12) of the file. What it refuses in a
// file that stands for itself, Load refuses too; Load also holds values against
// each other, and against bounds that a schema cannot express.
func Schema() []byte {
	schema := sectionSchema(describe(reflect.TypeFor[Config]()))
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["$id"] = "https://combotto.io/gateway/config.schema.json"
	schema["title"] = "Configuration file of the gateway"
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic(err) // maps of strings and numbers can always be written
	}
	return append(text, '\n')
}

// sectionSchema describes a mapping. Required are the keys that have no default:
// a schema describes a file that stands for itself, without an environment.
func sectionSchema(keys []*key) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, k := range keys {
		properties[k.name] = keySchema(k)
		if k.required && k.preset == "" {
			required = append(required, k.name)
		}
	}
	schema := map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

func keySchema(k *key) map[string]any {
	var schema map[string]any
	switch {
	case k.form == nil && k.list:
		schema = map[string]any{"type": []string{"array", "null"}, "maxItems": maxSinks, "items": sinkSchema(k.keys)}
	case k.form == nil:
		schema = sectionSchema(k.keys)
	case k.list:
		schema = map[string]any{"type": "array", "items": leafSchema(k)}
	default:
		schema = leafSchema(k)
		addDefault(schema, k)
	}
	schema["description"] = k.doc
	return schema
}

func leafSchema(k *key) map[string]any {
	schema := map[string]any{"type": k.form.types[0]}
	if len(k.form.types) > 1 {
		schema["type"] = k.form.types
	}
	if k.form.pattern != "" {
		schema["pattern"] = k.form.pattern
	}
	if k.check != nil {
		schema["pattern"] = k.check.pattern
	}
	if k.oneOf != nil {
		schema["enum"] = k.oneOf
	}
	if k.form.name == "number" && k.min != "" {
		schema["minimum"], schema["maximum"] = json.Number(k.min), json.Number(k.max)
	}
	if k.required && k.form.types[0] == "string" {
		schema["minLength"] = 1
	}
	return schema
}

func addDefault(schema map[string]any, k *key) {
	switch k.form.name {
	case "secret":
	case "boolean":
		schema["default"] = k.preset == "true"
	case "number":
		schema["default"] = json.Number(k.preset)
	default:
		if k.preset != "" || !k.required {
			schema["default"] = k.preset
		}
	}
}

// sinkSchema ties the sections of a sink to its kind: a section is refused in a
// sink of another kind, and needed in its own when one of its keys is required.
func sinkSchema(keys []*key) map[string]any {
	schema, conditions := sectionSchema(keys), []any{}
	for _, k := range keys {
		if k.kind == "" {
			continue
		}
		condition := map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": k.kind}}},
			"else": map[string]any{"properties": map[string]any{k.name: false}},
		}
		if _, needed := sectionSchema(k.keys)["required"]; needed {
			condition["then"] = map[string]any{"required": []string{k.name}}
		}
		conditions = append(conditions, condition)
	}
	schema["type"], schema["allOf"] = "object", conditions
	return schema
}
