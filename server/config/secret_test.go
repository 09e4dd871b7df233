package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"combotto.io/gateway/server/config"
)

const canary = "canary-7f3a"

func httpSink(rest string) string {
	return "sinks:\n- {name: up, kind: http, http: {url: http://up, " + rest + "}}\n"
}

func TestSecret_File(t *testing.T) {
	t.Parallel()
	token := func(t *testing.T, content string) (string, error) {
		t.Helper()
		path := write(t, "token", content)
		loaded, _, err := config.Load(config.Sources{File: write(t, "gateway.yaml", httpSink("token_file: "+path))})
		if err != nil {
			return "", err
		}
		return loaded.Sinks[0].HTTP.Token.Reveal(), nil
	}
	for content, want := range map[string]string{
		canary: canary, canary + "\n": canary, canary + "\r\n": canary, " " + canary + " \n": " " + canary + " ",
	} {
		if got, err := token(t, content); got != want || err != nil {
			t.Errorf("contents %q: got %q, error %v, want %q", content, got, err, want)
		}
	}
	for content, want := range map[string]string{
		"": "is empty", "\n": "is empty", canary + "\n\n": "must be one line of text", strings.Repeat("x", 64<<10+1): "is larger than 64KiB",
	} {
		if _, err := token(t, content); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("contents of %d bytes: got %v, want %q and no secret", len(content), err, want)
		}
	}
}

func TestSecret_Layers(t *testing.T) {
	t.Parallel()
	path := write(t, "token", "from-file\n")
	direct := config.Sources{File: write(t, "gateway.yaml", httpSink("token: direct")), Environ: []string{"GATEWAY_SINKS__UP__HTTP__TOKEN_FILE=" + path}}
	loaded, explanation := load(t, direct)
	if got := loaded.Sinks[0].HTTP.Token.Reveal(); got != "from-file" {
		t.Errorf("got %q, want the file of the higher layer", got)
	}
	want := config.Value{Key: "sinks.up.http.token", Text: "[redacted]", Layer: config.LayerEnvironment, Origin: "GATEWAY_SINKS__UP__HTTP__TOKEN_FILE, from " + path, Secret: true}
	if diff := cmp.Diff(want, valueOf(t, explanation, "sinks.up.http.token")); diff != "" {
		t.Error(diff)
	}
	replaced := config.Sources{File: write(t, "gateway.yaml", httpSink("token_file: /no/such")), Environ: []string{"GATEWAY_SINKS__UP__HTTP__TOKEN=direct"}}
	loaded, _ = load(t, replaced)
	if got := loaded.Sinks[0].HTTP.Token.Reveal(); got != "direct" {
		t.Errorf("got %q, want the text of the higher layer, whatever the file", got)
	}
}

// TestSecret_Canary prints a configuration that holds a secret in every way that
// there is, and looks for the secret.
func TestSecret_Canary(t *testing.T) {
	t.Parallel()
	loaded, explanation := load(t, config.Sources{File: "testdata/good/full.yaml"})
	if got := loaded.Sinks[1].HTTP.Token.Reveal(); got != canary {
		t.Fatalf("got %q, want the canary to be loaded", got)
	}
	hidden := struct{ inside *config.Config }{loaded}
	unexported := struct{ token config.Secret }{loaded.Sinks[1].HTTP.Token}
	var out bytes.Buffer
	for _, value := range []any{*loaded, loaded, loaded.Sinks, loaded.Sinks[1].HTTP, loaded.Sinks[1].HTTP.Token, hidden, unexported, explanation, *explanation} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("loaded", "value", value)
		slog.New(slog.NewTextHandler(&out, nil)).Info("loaded", "value", value)
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	text, err := yaml.Marshal(loaded)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	out.Write(config.Schema())
	if err := explanation.Render(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing is redacted: the test looks at the wrong place")
	}
	assertNoCanary(t, out.String())
}

// TestSecret_CanaryInErrors puts the canary into files that are refused.
func TestSecret_CanaryInErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		httpSink("token: [" + canary + "]"), httpSink("token: {a: " + canary + "}"), httpSink(`token: "` + canary + `\n"`), httpSink(`token: "` + canary),
		httpSink("token: " + canary + ", format: x"), httpSink("tokenn: " + canary), httpSink("timeout: " + canary), httpSink("token: " + canary + ", token_file: x"),
		httpSink("token: *" + canary), httpSink("token: !" + canary + " x"), httpSink("token: " + canary + "\ttoken: " + canary), "token: |\n " + canary + "\n x: ]\n",
	} {
		_, _, err := config.Load(config.Sources{File: write(t, "gateway.yaml", text)})
		if err == nil {
			t.Errorf("%s is accepted", text)
			continue
		}
		if strings.Contains(text, "*") || strings.Contains(text, "!") {
			continue // the name of an alias or of a tag is no value
		}
		assertNoCanary(t, err.Error())
	}
	_, _, err := config.Load(config.Sources{Environ: []string{"GATEWAY_SINKS__UP__HTTP__TOKEN=" + canary, "GATEWAY_TOKEN=" + canary}})
	assertNoCanary(t, err.Error())
}

func assertNoCanary(t *testing.T, text string) {
	t.Helper()
	if at := strings.Index(text, canary); at >= 0 {
		t.Errorf("the secret is shown: %q", text[max(at-80, 0):min(at+80, len(text))])
	}
	if strings.Contains(text, fmt.Sprintf("%x", canary)) {
		t.Error("the secret is shown in hexadecimal")
	}
}
