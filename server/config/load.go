package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Sources are the places that a configuration is read from, besides the defaults.
type Sources struct {
	File    string         // path of the YAML file; empty: none
	Environ []string       // like os.Environ()
	Flags   *pflag.FlagSet // parsed, with the flags of AddFlags; nil: none
}

// Load reads all layers and checks the result. What is wrong comes back as an
// [*Error], and then there is no configuration.
func Load(sources Sources) (*Config, *Explanation, error) {
	l := &loader{keys: describe(reflect.TypeFor[Config]()), merged: koanf.New("."), winners: map[string]setting{}}
	l.loadDefaults()
	if sources.File != "" {
		l.loadFile(sources.File)
	}
	l.loadEnvironment(sources.Environ)
	if sources.Flags != nil {
		l.loadFlags(sources.Flags)
	}
	l.completeSinks()
	l.revealSecrets()
	if err := l.problems.err(); err != nil {
		return nil, nil, err
	}
	config, err := l.decode()
	if err != nil {
		return nil, nil, fmt.Errorf("config: decode the merged layers: %w", err) // our bug: every text was checked
	}
	l.checkTogether(config)
	if err := l.problems.err(); err != nil {
		return nil, nil, err
	}
	return config, l.explain(), nil
}

// loader merges the layers. Paths are those that an operator sees; the sinks of
// the list are sections of their own, "sinks[0]" first, so that a later layer
// can change one key of one sink.
type loader struct {
	keys     []*key
	merged   *koanf.Koanf       // path -> text, or texts for a list
	winners  map[string]setting // path -> who set it last
	sinks    []declared
	problems problems
}

// setting is one leaf as one layer sets it.
type setting struct {
	key    *key
	layer  Layer
	origin string
	text   string // as it was written, or the path of the file that holds a secret
	file   bool   // text is such a path
}

// declared is a sink that some layer named.
type declared struct {
	name   string
	origin string
}

func sinkPath(index int) string { return fmt.Sprintf("sinks[%d]", index) }

func (l *loader) sinkKeys() []*key { return child(l.keys, "sinks").keys }

// note checks the texts of a leaf and remembers who set it. It returns the path
// and the value for the merged layers; the path is empty when the leaf is not to
// be set.
func (l *loader) note(path string, s setting, texts []string) (string, any) {
	for _, text := range texts {
		if err := s.key.verify(text); err != nil {
			l.winners[path] = s // set, though wrongly: it is not missing as well
			l.problems.add(Problem{Key: path, Message: err.Error(), Origin: s.origin})
			return "", nil
		}
	}
	if secret := s.key.contents; secret != nil {
		path, s.key, s.file = strings.TrimSuffix(path, "_file"), secret, texts[0] != ""
	}
	if other, set := l.winners[path]; set && other.layer == s.layer && other.file != s.file {
		l.problems.add(Problem{Key: path, Message: "is given both directly and as a file", Origin: other.origin + ", " + s.origin, Hint: "keep one of the two"})
		return "", nil
	}
	s.text = strings.Join(texts, ", ")
	l.winners[path] = s
	if s.key.list {
		return path, texts
	}
	return path, texts[0]
}

// load puts one layer over those below.
func (l *loader) load(provider koanf.Provider) {
	if err := l.merged.Load(provider, nil); err != nil {
		l.problems.add(Problem{Message: err.Error()})
	}
}

func (l *loader) loadDefaults() {
	values := map[string]any{}
	walk(l.keys, "", func(path string, k *key) { l.preset(values, path, k) })
	l.load(confmap.Provider(values, "."))
}

func (l *loader) preset(values map[string]any, path string, k *key) {
	if k.contents != nil {
		return
	}
	l.winners[path] = setting{key: k, layer: LayerDefault, text: k.preset}
	values[path] = k.preset
	if k.list {
		values[path] = []string{}
	}
}

func (l *loader) loadEnvironment(environ []string) {
	l.load(env.Provider(".", env.Opt{
		Prefix:        environmentPrefix,
		EnvironFunc:   func() []string { return slices.Sorted(slices.Values(environ)) }, // new sinks get their places in this order
		TransformFunc: l.variable,
	}))
}

// completeSinks fills the gaps of each sink with defaults. They come last because
// they depend on the kind of the sink, which any layer may set.
func (l *loader) completeSinks() {
	if len(l.sinks) == 0 && l.merged.String("dev") == "true" {
		l.addArchive()
	}
	values := map[string]any{}
	for index, sink := range l.sinks {
		prefix := sinkPath(index) + "."
		kind := l.merged.String(prefix + "kind")
		values[prefix+"name"] = sink.name
		walk(l.sinkKeys(), prefix, func(path string, k *key) {
			set, exists := l.winners[path]
			switch {
			case exists && k.kind != "" && kind != "" && k.kind != kind:
				l.problems.add(Problem{Key: path, Message: "belongs to sinks of kind " + k.kind + ", this one is of kind " + kind, Origin: set.origin})
			case exists || k.kind != "" && k.kind != kind:
			case k.required:
				l.problems.add(Problem{Key: path, Message: "is required", Origin: sink.origin, Hint: hintFor(k)})
			default:
				l.preset(values, path, k)
			}
		})
	}
	l.load(confmap.Provider(values, "."))
}

// addArchive adds the sink that development mode has when none is configured.
func (l *loader) addArchive() {
	l.declare("archive", LayerDefault, "dev")
	kind := setting{key: child(l.sinkKeys(), "kind"), layer: LayerDefault, origin: "dev"}
	path, value := l.note(sinkPath(0)+".kind", kind, []string{KindFile})
	l.load(confmap.Provider(map[string]any{path: value}, "."))
}

// declare adds a sink to the list and returns its place.
func (l *loader) declare(name string, layer Layer, origin string) int {
	l.sinks = append(l.sinks, declared{name, origin})
	index := len(l.sinks) - 1
	l.note(sinkPath(index)+".name", setting{key: child(l.sinkKeys(), "name"), layer: layer, origin: origin}, []string{name})
	return index
}

func hintFor(k *key) string {
	if len(k.oneOf) > 0 {
		return "set it to " + alternatives(k.oneOf)
	}
	return k.doc
}

// revealSecrets reads the files of those secrets that no higher layer replaces.
func (l *loader) revealSecrets() {
	values := map[string]any{}
	for path, winner := range l.winners {
		if !winner.file {
			continue
		}
		text, err := readSecret(winner.text)
		if err == nil {
			err = winner.key.verify(text)
		}
		if err != nil {
			l.problems.add(Problem{Key: path + "_file", Message: winner.text + " " + err.Error(), Origin: winner.origin, Hint: "check that the file exists and that the user of the gateway may read it"})
			continue
		}
		values[path] = text
	}
	l.load(confmap.Provider(values, "."))
}

// decode turns the merged texts into the typed value.
func (l *loader) decode() (*Config, error) {
	var config Config
	for index := range l.sinks {
		var sink Sink
		if err := l.unmarshal(sinkPath(index), &sink); err != nil {
			return nil, err
		}
		l.merged.Delete(sinkPath(index))
		config.Sinks = append(config.Sinks, sink)
	}
	if err := l.unmarshal("", &config); err != nil {
		return nil, err
	}
	for index := range config.Sinks {
		if sink := &config.Sinks[index]; sink.Kind == KindFile && sink.File.Dir == "" {
			path := sinkPath(index) + ".file.dir"
			winner := l.winners[path]
			winner.text = filepath.Join(config.DataDir, "out")
			l.winners[path], sink.File.Dir = winner, winner.text
		}
	}
	return &config, nil
}

func (l *loader) unmarshal(path string, target any) error {
	return l.merged.UnmarshalWithConf(path, target, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		ErrorUnused: true, // a path that is in no struct is a bug of this package
		DecodeHook: func(from, to reflect.Type, value any) (any, error) {
			text, isText := value.(string)
			if form := formOf(to); isText && form != nil {
				return form.parse(text)
			}
			return value, nil
		},
	}})
}
