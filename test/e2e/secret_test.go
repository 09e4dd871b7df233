package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// TestSecret gives a sink a token, in each way that there is, and expects it at
// the destination and nowhere else.
func TestSecret(t *testing.T) {
	const canary = "canary-7f3a9c"
	for name, configure := range map[string]func(*harness.Gateway) (line string){
		"InTheFile": func(*harness.Gateway) string { return "token: " + canary },
		"InAFileOfItsOwn": func(g *harness.Gateway) string {
			path := filepath.Join(g.Dir, "token")
			harness.Must(t, os.WriteFile(path, []byte(canary+"\n"), 0o600))
			return "token_file: " + path
		},
		"InTheEnvironment": func(g *harness.Gateway) string {
			g.Env = append(g.Env, "GATEWAY_SINKS__CLOUD__HTTP__TOKEN="+canary)
			return "format: ndjson"
		},
	} {
		t.Run(name, func(t *testing.T) {
			var authorized atomic.Bool
			destination := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				authorized.Store(r.Header.Get("Authorization") == "Bearer "+canary)
				w.WriteHeader(http.StatusUnauthorized) // so that the error is logged and shown as well
			})}
			address := serveHTTP(t, destination)
			gateway := newGateway(t)
			gateway.SetSinks("  - {name: cloud, kind: http, http: {url: \"http://" + address + "/\", " + configure(gateway) + "}}\n")
			harness.Must(t, gateway.Start(t.Context()))
			if status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/json", []byte(message)); status != http.StatusAccepted {
				t.Fatalf("status %d: %s", status, answer)
			}
			harness.Must(t, harness.Poll(harness.Within(t, 20*time.Second), "a delivery with the token", func() (bool, error) { return authorized.Load(), nil }))

			shown := map[string]string{
				"gatewayctl config explain": ctl(t, gateway, "config", "explain"),
				"gatewayctl status":         ctlAny(t, gateway, "status", "--output", "json"),
				"gateway config explain":    explain(t, gateway),
				"log":                       gateway.Process().Log(),
			}
			for _, path := range []string{"/", "/metrics", "/readyz", "/version"} {
				shown[path] = get(t, gateway.URL(path))
			}
			for _, method := range []string{"gateway.admin.v1.AdminService/GetConfig", "gateway.sink.v1.SinkService/ListSinks", "gateway.admin.v1.AdminService/GetStatus"} {
				_, shown[method] = post(t, gateway.URL("/"+method), "application/json", []byte("{}"))
			}
			for place, text := range shown {
				if text == "" || strings.Contains(text, canary) {
					t.Errorf("%s shows the secret, or nothing at all: %q", place, text)
				}
			}
			if !strings.Contains(shown["gatewayctl config explain"], "redacted") && !strings.Contains(shown["gatewayctl config explain"], "secret") {
				t.Errorf("explain does not say that there is a secret:\n%s", shown["gatewayctl config explain"])
			}
		})
	}
}

// serveHTTP serves on a free address until the test ends.
func serveHTTP(t *testing.T, server *http.Server) string {
	t.Helper()
	server.Addr = freeAddress(t)
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	t.Cleanup(func() {
		_ = server.Close() // it ends with ErrServerClosed either way
		<-ended
	})
	return server.Addr
}

// explain runs gateway config explain on the configuration of a gateway.
func explain(t *testing.T, gateway *harness.Gateway) string {
	t.Helper()
	command := exec.CommandContext(harness.Within(t, 30*time.Second), binaries.Path("gateway"), "config", "explain", "--dev", "--config", filepath.Join(gateway.Dir, "gateway.yaml"))
	command.Env = append(os.Environ(), gateway.Env...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	harness.Must(t, command.Run())
	return output.String()
}

// ctlAny runs gatewayctl and returns what it printed, however it ended: status
// exits with 4 when something needs attention.
func ctlAny(t *testing.T, gateway *harness.Gateway, args ...string) string {
	t.Helper()
	command := exec.CommandContext(harness.Within(t, 30*time.Second), binaries.Path("gatewayctl"), append([]string{"--url", gateway.URL("")}, args...)...)
	output, _ := command.CombinedOutput()
	return string(output)
}

// get returns the body behind a URL, whatever the status.
func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(harness.Within(t, 10*time.Second), http.MethodGet, url, http.NoBody)
	harness.Must(t, err)
	response, err := http.DefaultClient.Do(request)
	harness.Must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	harness.Must(t, err)
	return string(body)
}
