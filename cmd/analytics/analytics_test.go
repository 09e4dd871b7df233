package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun_ExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, test := range map[string]struct {
		arguments []string
		want      int
		says      string
	}{
		"Help":           {[]string{"-help"}, 0, "-record"},
		"UnknownFlag":    {[]string{"--nonsense"}, 2, "nonsense"},
		"Argument":       {[]string{"extra"}, 2, "extra"},
		"BadFault":       {[]string{"--fail-status", "200"}, 2, "300 to 599"},
		"BadRemember":    {[]string{"--remember", "0"}, 2, "remember"},
		"AddressTaken":   {[]string{"--addr", taken.Addr().String()}, 1, "in use"},
		"RecordUnusable": {[]string{"--record", t.TempDir()}, 1, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if got := run(t.Context(), test.arguments, io.Discard, &stderr); got != test.want || !strings.Contains(stderr.String(), test.says) {
				t.Errorf("exit code %d and %q, want %d and %q", got, stderr.String(), test.want, test.says)
			}
		})
	}
}

func TestRun_Serves(t *testing.T) {
	record := filepath.Join(t.TempDir(), "records.ndjson")
	output, stdout := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, []string{"--addr", "127.0.0.1:0", "--record", record, "--fail-device", "dev-2"}, stdout, io.Discard)
	}()
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(strings.TrimPrefix(line, "receiving on "))
	first := `{"correlation_id":"019ab000-0000-7000-8000-000000000001","device_id":"dev-1"}` + "\n"
	second := `{"correlation_id":"019ab000-0000-7000-8000-000000000002","device_id":"dev-2"}` + "\n"
	response, err := http.Post(url, "application/x-ndjson", strings.NewReader(first+second))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	stop()
	if code := <-exited; response.StatusCode != http.StatusOK || code != 0 {
		t.Errorf("status %d, exit code %d", response.StatusCode, code)
	}
	if text, err := os.ReadFile(record); err != nil || string(text) != first {
		t.Errorf("recorded %q, %v, want only the first record", text, err)
	}
	http.DefaultClient.CloseIdleConnections()
}
