package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"combotto.io/gateway/server/config"
)

// FuzzLoad gives the loader any file and any variable. It must not panic, must
// explain what it accepts, and must not accept values that the composition root
// cannot work with.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text), "GATEWAY_SINKS__UP__KIND=file")
		}
	}
	path := filepath.Join(f.TempDir(), "gateway.yaml")
	f.Fuzz(func(t *testing.T, text, variable string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, explanation, err := config.Load(config.Sources{File: path, Environ: []string{variable}})
		if err != nil {
			if lines := strings.Split(err.Error(), "\n"); !strings.HasPrefix(lines[0], "config: ") || loaded != nil || explanation != nil {
				t.Errorf("got %v and %v with error %v", loaded, explanation, err)
			}
			return
		}
		if loaded.HTTP.Addr == "" || loaded.MQTT.MaxConnections < 1 || loaded.Ingest.MaxPayload < 1 || len(explanation.Values) < 15 {
			t.Errorf("accepted %+v", loaded)
		}
		for _, sink := range loaded.Sinks {
			if sink.Name == "" || sink.Concurrency < 1 || sink.Batch.Count < 1 || sink.Kind == config.KindHTTP && sink.HTTP.URL == "" || sink.Kind == config.KindFile && sink.File.Dir == "" {
				t.Errorf("accepted the sink %+v", sink)
			}
		}
	})
}
