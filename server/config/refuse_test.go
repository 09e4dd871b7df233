package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/config"
)

// TestLoad_RefusesFile holds every file of testdata/bad to the first problem that
// is reported of it.
func TestLoad_RefusesFile(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		key     string
		message string
		line    int
	}{
		"unknown_at_top":         {"htttp", "unknown key", 1},
		"unknown_at_depth_three": {"sinks[0].http.timeuot", "unknown key", 6},
		"unknown_in_batch":       {"sinks[0].batch.cuont", "unknown key", 2},
		"text_for_number":        {"mqtt.max_connections", "must be a whole number", 2},
		"number_for_text":        {"data_dir", "must be text", 1},
		"number_for_duration":    {"mqtt.full_grace", "must be a duration like 30s", 1},
		"bad_size":               {"ingest.max_payload", "must be a size like 64MiB", 1},
		"bad_share":              {"queue.max_bytes", "must be a size of at least 4MiB or a share from 1% to 95%", 1},
		"out_of_range":           {"simulate", "must be from 0 to 10000", 1},
		"no_choice":              {"log.level", "must be debug, info, warn or error", 1},
		"bad_address":            {"http.addr", "must be HOST:PORT, like 127.0.0.1:8080", 1},
		"section_is_text":        {"http", "must be a section of keys", 1},
		"list_is_section":        {"sinks", "must be a list of sinks", 1},
		"no_name":                {"sinks[0].name", "is required", 2},
		"no_kind":                {"sinks[0].kind", "is required", 2},
		"no_url":                 {"sinks[0].http.url", "is required", 2},
		"other_kinds_section":    {"sinks[0].http.url", "belongs to sinks of kind http, this one is of kind file", 2},
		"bad_sink_name":          {"sinks[0].name", "must be [a-z][a-z0-9-]{0,62}", 2},
		"bad_url":                {"sinks[0].http.url", "must be a URL like https://analytics.example/ingest, without a user, a password or a fragment", 2},
		"bad_start":              {"sinks[0].start", "must be now, oldest, or a time like 2026-11-22T18:00:00Z", 2},
		"null_value":             {"gateway_id", "has no value", 1},
		"list_for_secret":        {"sinks[0].http.token", "must be one line of text", 2},
		"headers_as_text":        {"sinks[0].http.headers", "must be a list", 2},
	}
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, want %d, error %v", len(files), len(want), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			problems := refused(t, config.Sources{File: file})
			problems[0].Hint = ""
			expected := config.Problem{Key: want[name].key, Message: want[name].message, Origin: fmt.Sprintf("%s:%d", file, want[name].line)}
			if diff := cmp.Diff([]config.Problem{expected}, problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoad_Refuses(t *testing.T) {
	t.Parallel()
	type problem = config.Problem
	inFile := func(text string) config.Sources {
		return config.Sources{File: write(t, "gateway.yaml", text)}
	}
	inEnviron := func(variables ...string) config.Sources { return config.Sources{Environ: variables} }
	for name, row := range map[string]struct {
		sources config.Sources
		want    []problem // Origin without the folder
	}{
		"MisspeltVariable": {inEnviron("GATEWAY_MQTT__FULL_GRACEE=1s"), []problem{
			{Key: "GATEWAY_MQTT__FULL_GRACEE", Message: "unknown variable of the environment", Hint: "did you mean GATEWAY_MQTT__FULL_GRACE?"}}},
		"OneUnderscoreInAVariable": {inEnviron("GATEWAY_HTTP_ADDR=127.0.0.1:1"), []problem{
			{Key: "GATEWAY_HTTP_ADDR", Message: "unknown variable of the environment", Hint: "did you mean GATEWAY_HTTP__ADDR?"}}},
		"MisspeltVariableOfASink": {inEnviron("GATEWAY_SINKS__UP__HTTP__TOKENN=canary-7f3a"), []problem{
			{Key: "GATEWAY_SINKS__UP__HTTP__TOKENN", Message: "unknown variable of the environment", Hint: "did you mean GATEWAY_SINKS__UP__HTTP__TOKEN?"}}},
		"WrongTypeInAVariable": {inEnviron("GATEWAY_SIMULATE=few"), []problem{
			{Key: "simulate", Message: "must be a whole number", Origin: "GATEWAY_SIMULATE"}}},
		"SinkOfTheEnvironmentWithoutKind": {inEnviron("GATEWAY_SINKS__UP__CONCURRENCY=2"), []problem{
			{Key: "sinks[0].kind", Message: "is required", Origin: "GATEWAY_SINKS__UP__CONCURRENCY", Hint: "set it to file or http"}}},
		"KeySetTwice": {inFile("simulate: 1\nsimulate: 2\n"), []problem{
			{Key: "simulate", Message: "is set a second time; the first is in line 1", Origin: "gateway.yaml:2", Hint: "keep one of the two"}}},
		"SinkNameTaken": {inFile("sinks:\n- {name: a, kind: file, file: {dir: x}}\n- {name: a, kind: file, file: {dir: y}}\n"), []problem{
			{Key: "sinks[1].name", Message: "a sink of the name a is already in gateway.yaml:2", Origin: "gateway.yaml:3", Hint: "give each sink a name of its own"}}},
		"SecretGivenTwice": {inFile("sinks:\n- name: a\n  kind: http\n  http:\n    url: http://x\n    token: canary-7f3a\n    token_file: y\n"), []problem{
			{Key: "sinks[0].http.token", Message: "is given both directly and as a file", Origin: "gateway.yaml:6, gateway.yaml:7", Hint: "keep one of the two"}}},
		"SecretFileMissing": {inFile("sinks:\n- {name: a, kind: http, http: {url: http://x, token_file: /no/such}}\n"), []problem{
			{Key: "sinks[0].http.token_file", Message: "/no/such cannot be opened: no such file or directory", Origin: "gateway.yaml:2", Hint: "check that the file exists and that the user of the gateway may read it"}}},
		"PasswordInAURL": {inFile("sinks:\n- {name: a, kind: http, http: {url: 'http://me:canary-7f3a@x'}}\n"), []problem{
			{Key: "sinks[0].http.url", Message: "must be a URL like https://analytics.example/ingest, without a user, a password or a fragment", Origin: "gateway.yaml:2"}}},
		"ReservedHeader": {inFile("sinks:\n- {name: a, kind: http, http: {url: http://x, headers: ['authorization: canary-7f3a']}}\n"), []problem{
			{Key: "sinks[0].http.headers", Message: "must be NAME: VALUE, and no header that the sink sets itself", Origin: "gateway.yaml:2"}}},
		"Alias": {inFile("http: &door {addr: '127.0.0.1:1'}\nops: *door\n"), []problem{
			{Key: "ops", Message: "must be a section of keys", Origin: "gateway.yaml:2", Hint: "aliases are not read; write the value out"}}},
		"TwoListenersOnOneAddress": {inFile("http: {addr: '127.0.0.1:7'}\nops: {addr: '127.0.0.1:7'}\n"), []problem{
			{Key: "ops.addr", Message: "is also http.addr", Origin: "gateway.yaml:2", Hint: "give each listener a port of its own"}}},
		"TwoSinksInOneFolder": {inFile("sinks:\n- {name: a, kind: file}\n- {name: b, kind: file, file: {dir: data/./out}}\n"), []problem{
			{Key: "sinks[1].file.dir", Message: "data/out is also sinks[0].file.dir", Origin: "gateway.yaml:3", Hint: "give each file sink a folder of its own"}}},
		"TooManyLeases": {inFile("sinks:\n- {name: a, kind: file, concurrency: 64, batch: {count: 129}}\n"), []problem{
			{Key: "sinks[0].batch.count", Message: "times concurrency 64 is 8256, at most 8192 are allowed", Origin: "gateway.yaml:2", Hint: "lower one of the two"}}},
		"SimulateWithoutMQTT": {inFile("simulate: 3\nmqtt: {addr: ''}\n"), []problem{
			{Key: "simulate", Message: "simulated devices publish over mqtt.addr, which is empty", Origin: "gateway.yaml:1", Hint: "set --mqtt-addr, or --simulate 0"}}},
		"DevBeyondLoopback": {config.Sources{Flags: flagsOf(t, "--dev", "--http-addr", "0.0.0.0:8080", "--mqtt-addr", ":1883")}, []problem{
			{Key: "http.addr", Message: "is not a loopback address, and dev admits everybody", Origin: "--http-addr", Hint: "use 127.0.0.1, ::1 or localhost with --dev"},
			{Key: "mqtt.addr", Message: "is not a loopback address, and dev admits everybody", Origin: "--mqtt-addr", Hint: "use 127.0.0.1, ::1 or localhost with --dev"}}},
		"NoDoor": {config.Sources{Flags: flagsOf(t, "--http-addr", "")}, []problem{
			{Key: "http.addr", Message: "must not be empty", Origin: "--http-addr"}}},
		"LagOfARequiredSink": {inFile("sinks:\n  - {name: a, kind: file, max_lag_bytes: 1GiB}\n"), []problem{
			{Key: "sinks[0].max_lag_bytes", Message: "has no effect while required is true", Origin: "gateway.yaml:2", Hint: "set required: false as well, if its oldest messages may expire"}}},
		"SecondDocument": {inFile("simulate: 1\n---\nsimulate: 2\n"), []problem{
			{Message: "read gateway.yaml: line 2: a second document begins; one file holds one", Hint: "check the file that --config names"}}},
		"NoSuchFile": {config.Sources{File: "/no/such/gateway.yaml"}, []problem{
			{Message: "read /no/such/gateway.yaml: no such file or directory", Hint: "check the file that --config names"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := refused(t, row.sources)
			folder := filepath.Dir(row.sources.File) + "/"
			for i := range got {
				got[i].Origin = strings.ReplaceAll(got[i].Origin, folder, "")
				if folder != "/no/such/" {
					got[i].Message = strings.ReplaceAll(got[i].Message, folder, "")
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A queue is told no budget that it could not keep to; what other sizes may be is
// another matter.
func TestLoad_LeastQueue(t *testing.T) {
	t.Parallel()
	problems := refused(t, config.Sources{Environ: []string{"GATEWAY_QUEUE__MAX_BYTES=4095KiB"}})
	if want := "must be a size of at least 4MiB or a share from 1% to 95%"; len(problems) != 1 || problems[0].Key != "queue.max_bytes" || problems[0].Message != want {
		t.Errorf("got %v", problems)
	}
	for _, least := range []string{"4MiB", "1%"} {
		if _, _, err := config.Load(config.Sources{Environ: []string{"GATEWAY_QUEUE__MAX_BYTES=" + least, "GATEWAY_RETENTION__DELIVERED_BYTES=1MiB"}}); err != nil {
			t.Error(err)
		}
	}
}

func TestLoad_ReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x: 1\n", 500)
	problems := refused(t, config.Sources{File: write(t, "gateway.yaml", "simulate: -1\nhttp: {addr: x}\n"+text)})
	if len(problems) != 51 || problems[0].Key != "simulate" || problems[1].Key != "http.addr" || problems[50].Message != "more problems follow" {
		t.Errorf("got %d problems %v, want the first 50 and a last line", len(problems), problems)
	}
}

func TestError_Error(t *testing.T) {
	t.Parallel()
	_, _, err := config.Load(config.Sources{File: "testdata/bad/unknown_at_depth_three.yaml"})
	want := "config: sinks[0].http.timeuot: unknown key (testdata/bad/unknown_at_depth_three.yaml:6)\n  hint: did you mean timeout?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestConfig_CheckServe(t *testing.T) {
	t.Parallel()
	open, _ := load(t, config.Sources{})
	if err := open.CheckServe(); err == nil || !strings.Contains(err.Error(), "identity, which is not built yet") || !strings.Contains(err.Error(), "--dev") {
		t.Errorf("got %v, want a refusal that names identity and --dev", err)
	}
	development, _ := load(t, config.Sources{Flags: flagsOf(t, "--dev")})
	if err := development.CheckServe(); err != nil {
		t.Errorf("got %v, want none", err)
	}
}
