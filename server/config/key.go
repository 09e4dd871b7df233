package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// key is one name of the configuration: a leaf with a form, or a section with
// keys below it. The tree of keys is read from the tags of Config.
type key struct {
	name     string
	doc      string
	preset   string // the text of the default
	flag     string
	kind     string // the kind of sink that has this key; empty: all
	required bool
	form     *form // of a leaf
	list     bool  // a leaf of several texts, or with keys: a list of sections
	oneOf    []string
	min, max string
	check    *check
	keys     []*key // of a section
	contents *key   // for K_file: the secret K that the file holds
}

// describe reads the keys of a struct.
func describe(structure reflect.Type) []*key {
	var keys []*key
	for i := range structure.NumField() {
		field := structure.Field(i)
		k := describeField(field)
		keys = append(keys, k)
		if k.secret() {
			keys = append(keys, &key{
				name: k.name + "_file", doc: "A file that holds " + k.name + ", read at start; one newline at its end is left out.",
				form: formOf(reflect.TypeFor[string]()), contents: k,
			})
		}
	}
	return keys
}

func describeField(field reflect.StructField) *key {
	tag := field.Tag
	k := &key{
		name: tag.Get("koanf"), doc: tag.Get("doc"), preset: tag.Get("default"), flag: tag.Get("flag"), kind: tag.Get("kind"),
		required: tag.Get("required") == "true", min: tag.Get("min"), max: tag.Get("max"), check: checks()[tag.Get("check")],
	}
	if choice := tag.Get("one_of"); choice != "" {
		k.oneOf = strings.Split(choice, ",")
	}
	of := field.Type
	if of.Kind() == reflect.Slice {
		k.list, of = true, of.Elem()
	}
	if k.form = formOf(of); k.form == nil {
		k.keys = describe(of)
		for _, below := range k.keys {
			below.kind = cmp.Or(k.kind, below.kind)
		}
	}
	return k
}

func (k *key) secret() bool { return k.form != nil && k.form.secret }

// child returns the key of that name, or nil.
func child(keys []*key, name string) *key {
	for _, k := range keys {
		if k.name == name {
			return k
		}
	}
	return nil
}

// find returns the leaf at a path below keys, or nil. Lists of sections are not
// entered.
func find(keys []*key, path []string) *key {
	for {
		k := child(keys, path[0])
		switch {
		case k == nil || len(path) == 1 && k.form == nil:
			return nil
		case len(path) == 1:
			return k
		case k.list:
			return nil
		}
		keys, path = k.keys, path[1:]
	}
}

// walk visits the leaves below keys with their paths. Lists of sections are not
// entered.
func walk(keys []*key, prefix string, visit func(path string, k *key)) {
	for _, k := range keys {
		switch {
		case k.form != nil:
			visit(prefix+k.name, k)
		case !k.list:
			walk(k.keys, prefix+k.name+".", visit)
		}
	}
}

// verify tells what is wrong with the text of a leaf. It never repeats the text,
// which may be a secret in the wrong place.
func (k *key) verify(text string) error {
	if text == "" && k.required {
		return errors.New("must not be empty")
	}
	if len(k.oneOf) > 0 && !slices.Contains(k.oneOf, text) {
		return errors.New("must be " + alternatives(k.oneOf))
	}
	value, err := k.form.parse(text)
	if k.check != nil && (err != nil || !k.check.valid(text)) {
		return errors.New("must be " + k.check.want)
	}
	if err != nil {
		return errors.New("must be " + k.form.want)
	}
	return k.verifyBounds(value)
}

func (k *key) verifyBounds(value any) error {
	if k.min == "" {
		return nil
	}
	low, _ := k.form.parse(k.min) // a test parses the bounds of every key
	high, _ := k.form.parse(k.max)
	number := reflect.ValueOf(value).Int()
	if patience, ok := value.(Patience); ok && patience == 0 {
		return nil // never
	}
	if number < reflect.ValueOf(low).Int() || number > reflect.ValueOf(high).Int() {
		return fmt.Errorf("must be from %s to %s", k.min, k.max)
	}
	return nil
}

// alternatives writes a list of choices as a person would.
func alternatives(choices []string) string {
	last := len(choices) - 1
	if last == 0 {
		return choices[0]
	}
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}
