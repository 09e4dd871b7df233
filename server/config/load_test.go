package config_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/edge"
)

// flagsOf parses a command line.
func flagsOf(t *testing.T, arguments ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return flags
}

// write puts text into a file of a new folder.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, sources config.Sources) (*config.Config, *config.Explanation) {
	t.Helper()
	loaded, explanation, err := config.Load(sources)
	if err != nil {
		t.Fatal(err)
	}
	return loaded, explanation
}

// refused loads and returns the problems, which there must be.
func refused(t *testing.T, sources config.Sources) []config.Problem {
	t.Helper()
	loaded, explanation, err := config.Load(sources)
	failure, ok := errors.AsType[*config.Error](err)
	if !ok || loaded != nil || explanation != nil {
		t.Fatalf("got %v, %v and error %v, want only a *config.Error", loaded, explanation, err)
	}
	return failure.Problems
}

func defaults() *config.Config {
	return &config.Config{
		DataDir: "./data",
		Log:     config.Log{Level: slog.LevelInfo},
		HTTP:    config.HTTP{Addr: "127.0.0.1:8080"},
		MQTT:    config.MQTT{Addr: "127.0.0.1:1883", FullGrace: 30 * time.Second, MaxConnections: 10000},
		Ingest:  config.Ingest{MaxPayload: edge.MaxPayloadBytes, DefaultEncoding: edge.EncodingAuto},
		Queue:   config.Queue{MaxBytes: config.Capacity{Percent: 80}},

		Retention: config.Retention{Delivered: 24 * time.Hour, DeliveredBytes: config.Capacity{Percent: 25}},
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()

	t.Run("NothingSetIsTheDefaults", func(t *testing.T) {
		loaded, _ := load(t, config.Sources{})
		if diff := cmp.Diff(defaults(), loaded); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("VariablesOfAServiceNamedGatewayAreIgnored", func(t *testing.T) {
		loaded, _ := load(t, config.Sources{Environ: []string{
			"GATEWAY_SERVICE_HOST=10.0.0.1", "GATEWAY_SERVICE_PORT=8080", "GATEWAY_SERVICE_PORT_HTTP=8080", "GATEWAY_PORT=tcp://10.0.0.1:8080",
			"GATEWAY_PORT_8080_TCP=tcp://10.0.0.1:8080", "GATEWAY_PORT_8080_TCP_ADDR=10.0.0.1", "GATEWAYCTL_URL=http://127.0.0.1:8080",
		}})
		if diff := cmp.Diff(defaults(), loaded); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("FileSetsEveryKey", func(t *testing.T) {
		loaded, _ := load(t, config.Sources{File: "testdata/good/full.yaml"})
		want := &config.Config{
			DataDir: "/var/lib/gateway", GatewayID: "site-7", Dev: true, Simulate: 5,
			Log:  config.Log{Level: slog.LevelDebug},
			HTTP: config.HTTP{Addr: "127.0.0.1:9080"},
			MQTT: config.MQTT{Addr: "[::1]:1883", WebSocketAddr: "localhost:9001", FullGrace: 45 * time.Second, MaxConnections: 500},
			Ops:  config.Ops{Addr: "127.0.0.1:9100"},

			Ingest:    config.Ingest{MaxPayload: 32 << 10, DefaultEncoding: edge.EncodingJSON},
			Queue:     config.Queue{MaxBytes: config.Capacity{Percent: 60}, CommitInterval: 10 * time.Millisecond},
			Retention: config.Retention{Delivered: 36 * time.Hour, DeliveredBytes: config.Capacity{Percent: 25}},
			Sinks: []config.Sink{{
				Name: "archive", Kind: config.KindFile, Start: edge.Start{Oldest: true}, Required: true, MaxLagBytes: config.Capacity{Percent: 25}, Concurrency: 4,
				Batch: config.Batch{Count: 1000, Bytes: 1 << 20, Linger: 50 * time.Millisecond},
				File:  config.FileSink{Dir: "/var/lib/gateway/out"},
			}, {
				Name: "analytics", Kind: config.KindHTTP, Concurrency: 2,
				Start:       edge.Start{At: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)},
				Required:    true,
				MaxLagBytes: config.Capacity{Percent: 25},
				Batch:       config.Batch{Count: 500, Bytes: 256 << 10, Linger: 20 * time.Millisecond},
				HTTP: config.HTTPSink{
					URL: "https://analytics.example/ingest", Format: "json", Token: config.NewSecret("canary-7f3a"),
					Headers: []config.Header{{Name: "X-Site", Value: "7"}, {Name: "X-Zone", Value: "b"}}, Timeout: 5 * time.Second,
				},
			}},
		}
		if diff := cmp.Diff(want, loaded); diff != "" {
			t.Error(diff)
		}
	})

}

// TestLoad_Sinks is about the sinks that are there although no file lists them.
func TestLoad_Sinks(t *testing.T) {
	t.Parallel()

	t.Run("DevWithoutSinksAddsAFileSink", func(t *testing.T) {
		loaded, explanation := load(t, config.Sources{Flags: flagsOf(t, "--dev", "--data-dir", "/tmp/d")})
		want := []config.Sink{{
			Name: "archive", Kind: config.KindFile, Required: true, MaxLagBytes: config.Capacity{Percent: 25}, Concurrency: 4, File: config.FileSink{Dir: "/tmp/d/out"},
			Batch: config.Batch{Count: 1000, Bytes: 1 << 20, Linger: 50 * time.Millisecond},
		}}
		if diff := cmp.Diff(want, loaded.Sinks); diff != "" {
			t.Error(diff)
		}
		if got := valueOf(t, explanation, "sinks.archive.file.dir"); got.Layer != config.LayerDefault || got.Text != "/tmp/d/out" {
			t.Errorf("got %+v, want the folder, set by the defaults", got)
		}
	})

	t.Run("DevWithASinkAddsNone", func(t *testing.T) {
		loaded, _ := load(t, config.Sources{File: "testdata/good/full.yaml", Flags: flagsOf(t, "--dev")})
		if len(loaded.Sinks) != 2 {
			t.Errorf("got %d sinks, want the 2 of the file", len(loaded.Sinks))
		}
	})

	t.Run("EnvironmentAddsASink", func(t *testing.T) {
		loaded, _ := load(t, config.Sources{File: "testdata/good/full.yaml", Environ: []string{
			"GATEWAY_SINKS__COLD_STORE__KIND=http", "GATEWAY_SINKS__COLD_STORE__HTTP__URL=http://cold.example", "GATEWAY_SINKS__ARCHIVE__CONCURRENCY=1",
		}})
		var names []string
		for _, sink := range loaded.Sinks {
			names = append(names, sink.Name)
		}
		if diff := cmp.Diff([]string{"archive", "analytics", "cold-store"}, names); diff != "" {
			t.Error(diff)
		}
		if loaded.Sinks[0].Concurrency != 1 || loaded.Sinks[2].HTTP.URL != "http://cold.example" {
			t.Errorf("got %+v, want the values of the environment", loaded.Sinks)
		}
	})

}

// TestLoad_Layers sets one key of each type in one layer after the other; each
// must win over those before it. A key without a flag has three layers.
func TestLoad_Layers(t *testing.T) {
	t.Parallel()
	file := write(t, "gateway.yaml", strings.Join([]string{
		`http: {addr: "127.0.0.1:2"}`, `simulate: 2`, `mqtt: {full_grace: 2s}`,
		`sinks: [{name: up, kind: http, http: {url: "http://up", token: file-token, headers: ["A: 2", "B: 2"]}}]`,
	}, "\n"))
	header := func(names ...string) (headers []config.Header) {
		for i := 0; i < len(names); i += 2 {
			headers = append(headers, config.Header{Name: names[i], Value: names[i+1]})
		}
		return headers
	}
	up := func(c *config.Config) config.HTTPSink {
		if len(c.Sinks) == 0 {
			return config.HTTPSink{}
		}
		return c.Sinks[0].HTTP
	}
	for _, row := range []struct {
		key       string
		read      func(*config.Config) any
		preset    any
		inFile    any
		variable  string
		inEnviron any
		flag      string
		byFlag    any
	}{
		{"http.addr", func(c *config.Config) any { return c.HTTP.Addr }, "127.0.0.1:8080", "127.0.0.1:2", "GATEWAY_HTTP__ADDR=127.0.0.1:3", "127.0.0.1:3", "--http-addr=127.0.0.1:4", "127.0.0.1:4"},
		{"simulate", func(c *config.Config) any { return c.Simulate }, 0, 2, "GATEWAY_SIMULATE=3", 3, "--simulate=4", 4},
		{"mqtt.full_grace", func(c *config.Config) any { return c.MQTT.FullGrace }, 30 * time.Second, 2 * time.Second, "GATEWAY_MQTT__FULL_GRACE=3s", 3 * time.Second, "", nil},
		{"sinks.up.http.headers", func(c *config.Config) any { return up(c).Headers }, header(), header("A", "2", "B", "2"), "GATEWAY_SINKS__UP__HTTP__HEADERS=A: 3,C: 3", header("A", "3", "C", "3"), "", nil},
		{"sinks.up.http.token", func(c *config.Config) any { return up(c).Token.Reveal() }, "", "file-token", "GATEWAY_SINKS__UP__HTTP__TOKEN=environment-token", "environment-token", "", nil},
	} {
		t.Run(row.key, func(t *testing.T) {
			expect := func(layer config.Layer, want any, sources config.Sources) {
				t.Helper()
				loaded, explanation := load(t, sources)
				if diff := cmp.Diff(want, row.read(loaded)); diff != "" {
					t.Errorf("%s: %s", layer, diff)
				}
				if layer == config.LayerDefault && strings.HasPrefix(row.key, "sinks.") {
					return // without the file there is no such sink
				}
				if got := valueOf(t, explanation, row.key); got.Layer != layer {
					t.Errorf("explained as %+v, want layer %s", got, layer)
				}
			}
			expect(config.LayerDefault, row.preset, config.Sources{Flags: flagsOf(t)})
			expect(config.LayerFile, row.inFile, config.Sources{File: file, Flags: flagsOf(t)})
			expect(config.LayerEnvironment, row.inEnviron, config.Sources{File: file, Environ: []string{row.variable}, Flags: flagsOf(t)})
			if row.flag != "" {
				expect(config.LayerFlag, row.byFlag, config.Sources{File: file, Environ: []string{row.variable}, Flags: flagsOf(t, row.flag)})
			}
		})
	}
}

func valueOf(t *testing.T, explanation *config.Explanation, key string) config.Value {
	t.Helper()
	for _, value := range explanation.Values {
		if value.Key == key {
			return value
		}
	}
	t.Fatalf("%s is not explained", key)
	return config.Value{}
}
