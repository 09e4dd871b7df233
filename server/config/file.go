package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"go.yaml.in/yaml/v3"
)

// The bounds of a file.
const (
	maxFileBytes = 1 << 20
	maxSinks     = 64
)

// loadFile reads the YAML file node by node: only nodes know their lines.
func (l *loader) loadFile(name string) {
	document, err := parseFile(name)
	if err != nil {
		l.problems.add(Problem{Message: "read " + name + ": " + err.Error(), Hint: "check the file that --config names"})
		return
	}
	f := &fileReader{loader: l, name: name, values: map[string]any{}}
	if len(document.Content) > 0 { // an empty file sets nothing
		f.section(document.Content[0], l.keys, "")
	}
	l.load(confmap.Provider(f.values, "."))
}

func parseFile(name string) (*yaml.Node, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, errors.New(cause(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, errors.New(cause(err))
	}
	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("is larger than %s", Size(maxFileBytes))
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil && err != io.EOF {
		return nil, err
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, fmt.Errorf("line %d: a second document begins; one file holds one", second.Line)
	} else if err != io.EOF {
		return nil, err
	}
	return &document, nil
}

// fileReader gathers the texts of one file.
type fileReader struct {
	*loader
	name   string
	values map[string]any // path -> text, or texts for a list
}

func (f *fileReader) origin(node *yaml.Node) string { return fmt.Sprintf("%s:%d", f.name, node.Line) }

func (f *fileReader) fault(path string, node *yaml.Node, message, hint string) {
	f.problems.add(Problem{Key: path, Message: message, Origin: f.origin(node), Hint: hint})
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

// section reads a mapping. One without contents, where everything is commented
// out, sets nothing.
func (f *fileReader) section(node *yaml.Node, keys []*key, prefix string) {
	path := strings.TrimSuffix(prefix, ".")
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		f.fault(path, node, "must be a section of keys", aliasHint(node))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		k := child(keys, name.Value)
		if k == nil || name.Kind != yaml.ScalarNode {
			f.fault(prefix+name.Value, name, "unknown key", meant(name.Value, names(keys)))
			continue
		}
		if line, twice := seen[name.Value]; twice {
			f.fault(prefix+name.Value, name, fmt.Sprintf("is set a second time; the first is in line %d", line), "keep one of the two")
			continue
		}
		seen[name.Value] = name.Line
		f.read(k, prefix+name.Value, name, value)
	}
}

func (f *fileReader) read(k *key, path string, name, value *yaml.Node) {
	switch {
	case k.form == nil && k.list:
		f.sinkList(value)
	case k.form == nil:
		f.section(value, k.keys, path+".")
	default:
		given := setting{key: k, layer: LayerFile, origin: f.origin(name)}
		texts, ok := f.texts(k, path, name, value)
		if !ok {
			f.winners[path] = given // set, though wrongly: it is not missing as well
			return
		}
		if path, merged := f.note(path, given, texts); path != "" {
			f.values[path] = merged
		}
	}
}

// texts returns the texts of a leaf.
func (f *fileReader) texts(k *key, path string, name, value *yaml.Node) ([]string, bool) {
	if !k.list {
		return []string{value.Value}, f.scalar(k, path, name, value)
	}
	if value.Kind != yaml.SequenceNode {
		f.fault(path, name, "must be a list", aliasHint(value))
		return nil, false
	}
	texts := []string{}
	for i, element := range value.Content {
		if !f.scalar(k, fmt.Sprintf("%s[%d]", path, i), element, element) {
			return nil, false
		}
		texts = append(texts, element.Value)
	}
	return texts, true
}

// scalar checks that a leaf has a value of the right type. A number where text is
// wanted is refused, because YAML has read it already: 007 would be 7.
func (f *fileReader) scalar(k *key, path string, name, value *yaml.Node) bool {
	if isNull(value) {
		f.fault(path, name, "has no value", `write "" for an empty one, or remove the key`)
		return false
	}
	if value.Kind == yaml.ScalarNode {
		if slices.Contains(k.form.types, jsonTypeOf(value.ShortTag())) {
			return true
		}
	}
	hint := aliasHint(value)
	if k.form.types[0] == "string" && value.Kind == yaml.ScalarNode {
		hint = "put the value in quotes"
	}
	f.fault(path, name, "must be "+k.form.want, hint)
	return false
}

// jsonTypeOf maps the tag of a scalar to the JSON type of the schema. JSON has no
// times: a time is text there.
func jsonTypeOf(tag string) string {
	switch tag {
	case "!!str", "!!timestamp":
		return "string"
	case "!!int":
		return "integer"
	case "!!bool":
		return "boolean"
	}
	return tag
}

func aliasHint(node *yaml.Node) string {
	if node.Kind == yaml.AliasNode {
		return "aliases are not read; write the value out"
	}
	return ""
}

// sinkList reads the list of sinks.
func (f *fileReader) sinkList(list *yaml.Node) {
	if isNull(list) {
		return
	}
	if list.Kind != yaml.SequenceNode {
		f.fault("sinks", list, "must be a list of sinks", "each sink begins with a dash: - name: archive")
		return
	}
	for index, item := range list.Content {
		if index == maxSinks {
			f.fault("sinks", item, fmt.Sprintf("more than %d sinks", maxSinks), "")
			return
		}
		name := ""
		for i := 0; item.Kind == yaml.MappingNode && i+1 < len(item.Content); i += 2 {
			if item.Content[i].Value == "name" {
				name = item.Content[i+1].Value
			}
		}
		for _, other := range f.sinks {
			if name != "" && other.name == name {
				f.fault(sinkPath(index)+".name", item, "a sink of the name "+name+" is already in "+other.origin, "give each sink a name of its own")
			}
		}
		f.sinks = append(f.sinks, declared{name, f.origin(item)})
		f.section(item, f.sinkKeys(), sinkPath(index)+".")
	}
}

func names(keys []*key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}
