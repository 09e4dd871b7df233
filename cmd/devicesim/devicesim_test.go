package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/server/fleet"
)

func TestRun(t *testing.T) {
	t.Run("UsageErrorsExitWithTwoAndNameTheFlag", func(t *testing.T) {
		for name, args := range map[string][]string{
			"devices":   {"--devices", "0"},
			"behaviour": {"--behaviour", "lazy"},
			"interval":  {"--interval", "soon"},
			"broker":    {"--broker", "http://127.0.0.1"},
			"duration":  {"--duration", "-1s"},
			"extra":     {"extra"},
			"colour":    {"--colour"},
		} {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), name) {
				t.Errorf("%v: exit %d, %s", args, code, stderr.String())
			}
		}
	})

	t.Run("HelpAndVersionExitWithZero", func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"--help"}, &stdout, &stderr); code != exitFinished || !strings.Contains(stderr.String(), "-behaviour") {
			t.Errorf("--help: exit %d, %s", code, stderr.String())
		}
		if code := run(t.Context(), []string{"--version"}, &stdout, &stderr); code != exitFinished || stdout.Len() == 0 {
			t.Errorf("--version: exit %d, %s", code, stdout.String())
		}
	})

	t.Run("BrokerThatIsNeverReachedExitsWithOneAndSaysSo", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var stdout, stderr bytes.Buffer
		// Port 1 of loopback refuses at once.
		code := run(ctx, []string{"--broker", "mqtt://127.0.0.1:1", "--devices", "2", "--behaviour", "offline", "--interval", "10ms"}, &stdout, &stderr)
		if code != exitFailed || !strings.Contains(stdout.String(), "no board reached the broker") {
			t.Errorf("exit %d, %s", code, stdout.String())
		}
		summary := lastSummary(t, stdout.String())
		if summary.Devices != 2 || summary.Connects != 0 || summary.ConnectErrors == 0 {
			t.Errorf("summary %+v", summary)
		}
	})
}

// lastSummary finds the final account in the log.
func lastSummary(t *testing.T, log string) fleet.Stats {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry struct {
			Message string      `json:"msg"`
			Fleet   fleet.Stats `json:"fleet"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry.Message == "finished" {
			return entry.Fleet
		}
	}
	t.Fatalf("no final summary in %s", log)
	return fleet.Stats{}
}
