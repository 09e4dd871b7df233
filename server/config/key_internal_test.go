package config

import (
	"reflect"
	"testing"
)

// TestKeys holds the tags of Config to what the rest of the package relies on.
func TestKeys(t *testing.T) {
	t.Parallel()
	flags := map[string]string{}
	check := func(path string, k *key) {
		if k.doc == "" || k.doc[len(k.doc)-1] != '.' {
			t.Errorf("%s: want a documentation of full sentences, got %q", path, k.doc)
		}
		if k.preset != "" && k.verify(k.preset) != nil {
			t.Errorf("%s: the default %q is not valid: %v", path, k.preset, k.verify(k.preset))
		}
		if k.preset == "" && !k.required && !k.list && k.verify("") != nil {
			t.Errorf("%s: has no default, is not required, and must not be empty: %v", path, k.verify(""))
		}
		if (k.min == "") != (k.max == "") {
			t.Errorf("%s: want both bounds or none", path)
		}
		for _, bound := range []string{k.min, k.max} {
			if bound != "" && k.verify(bound) != nil {
				t.Errorf("%s: the bound %q is not valid: %v", path, bound, k.verify(bound))
			}
		}
		if other, taken := flags[k.flag]; taken && k.flag != "" {
			t.Errorf("%s: --%s is also %s", path, k.flag, other)
		}
		flags[k.flag] = path
	}
	keys := describe(reflect.TypeFor[Config]())
	walk(keys, "", check)
	walk(child(keys, "sinks").keys, "sinks[0].", check)
}

func TestKeys_CheckNames(t *testing.T) {
	t.Parallel()
	var inspect func(of reflect.Type)
	inspect = func(of reflect.Type) {
		for i := range of.NumField() {
			field := of.Field(i)
			if name := field.Tag.Get("check"); name != "" && checks()[name] == nil {
				t.Errorf("%s.%s names the check %q, which does not exist", of, field.Name, name)
			}
			below := field.Type
			if below.Kind() == reflect.Slice {
				below = below.Elem()
			}
			if formOf(below) == nil {
				inspect(below)
			}
		}
	}
	inspect(reflect.TypeFor[Config]())
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"timeout", "timeout", 0}, {"timeuot", "timeout", 2}, {"htttp", "http", 1}, {"", "url", 3}, {"kitten", "sitting", 3},
	} {
		if got := editDistance(row.a, row.b); got != row.want {
			t.Errorf("%q and %q: got %d, want %d", row.a, row.b, got, row.want)
		}
	}
}
