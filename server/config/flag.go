package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/posflag"
	"github.com/spf13/pflag"
)

// AddFlags adds the flags of those keys that have one.
func AddFlags(flags *pflag.FlagSet) {
	walk(describe(reflect.TypeFor[Config]()), "", func(_ string, k *key) {
		switch usage := strings.TrimSuffix(k.doc, "."); {
		case k.flag == "":
		case k.form.name == "boolean":
			flags.Bool(k.flag, k.preset == "true", usage)
		case k.form.name == "number":
			number, _ := strconv.Atoi(k.preset) // a test parses every default
			flags.Int(k.flag, number, usage)
		default:
			flags.String(k.flag, k.preset, usage)
		}
	})
}

// loadFlags gives the provider the merged layers and leaves out flags that were
// not given: else the default of a flag would hide the file and the environment.
func (l *loader) loadFlags(flags *pflag.FlagSet) {
	paths, keys := map[string]string{}, map[string]*key{}
	walk(l.keys, "", func(path string, k *key) { paths[k.flag], keys[k.flag] = path, k })
	l.load(posflag.ProviderWithFlag(flags, ".", l.merged, func(flag *pflag.Flag) (string, any) {
		if keys[flag.Name] == nil || !flag.Changed {
			return "", nil
		}
		given := setting{key: keys[flag.Name], layer: LayerFlag, origin: "--" + flag.Name}
		return l.note(paths[flag.Name], given, []string{flag.Value.String()})
	}))
}
