package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/reference/configuration.md")

const referenceFile = "../../docs/reference/configuration.md"

// TestReference holds the reference page to the keys.
func TestReference(t *testing.T) {
	t.Parallel()
	page := reference()
	if *update {
		if err := os.WriteFile(referenceFile, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page, string(written)); diff != "" {
		t.Errorf("run: go test ./server/config -run TestReference -update\n%s", diff)
	}
}

const preamble = `# Configuration

<!-- Made from server/config: go test ./server/config -run TestReference -update -->

Four layers, each over the one before it: defaults, file (YAML, ` + "`--config FILE`" + `), environment, flags.
One key has one name in each: ` + "`http.addr`, `GATEWAY_HTTP__ADDR`, `--http-addr`" + `.

- An unknown key or variable, a wrong type and a value out of bounds are refused at start, all of them at once, each with
  the file and line, the variable or the flag that set it. The gateway then exits with 2.
- Durations are written like ` + "`30s` or `1h30m`" + `, sizes like ` + "`64MiB`" + ` (units of 1024) or as a number of bytes.
- Lists are separated by commas in the environment.
- A sink is addressed by its name in the environment, in capitals and with ` + "`_` for `-`: `GATEWAY_SINKS__COLD_STORE__HTTP__URL`" + `
  is the URL of the sink ` + "`cold-store`" + `. A name that the file does not have adds a sink.
- A secret is never shown. Each secret can be read from a file instead: ` + "`token_file`" + ` for ` + "`token`" + `, with the file's contents
  less one newline at the end. Setting both in one layer is refused; a higher layer replaces either.
- ` + "`gateway config explain`" + ` shows every effective value and what set it, ` + "`gatewayctl config explain`" + ` asks a running gateway,
  and ` + "`gateway config schema`" + ` prints the JSON Schema of the file for editors.
- Variables that Kubernetes sets for a service of the name gateway (` + "`GATEWAY_SERVICE_HOST`, `GATEWAY_PORT`" + ` and the like) are ignored.
`

// reference writes the page.
func reference() string {
	keys := describe(reflect.TypeFor[Config]())
	page := &strings.Builder{}
	page.WriteString(preamble)
	table(page, "Gateway", "", "", keys)
	for _, section := range keys {
		if section.form == nil && !section.list {
			table(page, section.name, section.doc, section.name+".", section.keys)
		}
	}
	sinks := child(keys, "sinks")
	table(page, "sinks", sinks.doc, "sinks[].", sinks.keys)
	for _, section := range sinks.keys {
		if section.form == nil {
			table(page, "sinks[]."+section.name, section.doc, "sinks[]."+section.name+".", section.keys)
		}
	}
	return page.String()
}

func table(page *strings.Builder, title, doc, prefix string, keys []*key) {
	fmt.Fprintf(page, "\n## %s\n\n", title)
	if doc != "" {
		fmt.Fprintf(page, "%s\n\n", doc)
	}
	page.WriteString("| key | type | default | what it does | environment, flag |\n|---|---|---|---|---|\n")
	for _, k := range keys {
		if k.form == nil {
			continue
		}
		fmt.Fprintf(page, "| `%s%s` | %s | %s | %s | %s |\n", prefix, k.name, typeOf(k), presetOf(k), k.doc+bounds(k), places(prefix, k))
	}
}

func typeOf(k *key) string {
	switch {
	case k.oneOf != nil:
		return "`" + strings.Join(k.oneOf, "`, `") + "`"
	case k.list:
		return "list of " + k.form.name
	}
	return k.form.name
}

func presetOf(k *key) string {
	switch {
	case k.preset != "":
		return "`" + k.preset + "`"
	case k.required:
		return "required"
	}
	return "empty"
}

func bounds(k *key) string {
	if k.min == "" {
		return ""
	}
	return fmt.Sprintf(" From %s to %s.", k.min, k.max)
}

func places(prefix string, k *key) string {
	if prefix == "sinks[]." && k.name == "name" {
		return "part of the variable's name"
	}
	text := "`" + variableName(strings.ReplaceAll(prefix, "sinks[]", "sinks.name")+k.name) + "`"
	if k.flag != "" {
		text += ", `--" + k.flag + "`"
	}
	return text
}
