// Package e2e_test drives the real programs as their users do: real MQTT, HTTP
// and gRPC clients, real files, real signals. It knows CONTRACTS.md and nothing
// of the code. See package harness for what a test may rely on.
package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// binaries are built once for all tests.
var binaries *harness.Binaries

func TestMain(m *testing.M) { os.Exit(harness.Main(m, &binaries)) }

// newGateway prepares a gateway that is killed when the test ends, and whose
// log is shown when the test fails.
func newGateway(t *testing.T) *harness.Gateway {
	t.Helper()
	gateway, err := binaries.NewGateway(t.TempDir())
	harness.Must(t, err)
	gateway.KillAtEnd(t)
	return gateway
}

// newReceiver opens an HTTP destination that is closed when the test ends.
func newReceiver(t *testing.T, answer func(harness.Request) harness.Answer) *harness.Receiver {
	t.Helper()
	receiver, err := harness.NewReceiver(answer)
	harness.Must(t, err)
	harness.AtEnd(t, receiver.Close)
	return receiver
}

// startReceiver starts a receiver process that is killed when the test ends,
// and returns where it writes.
func startReceiver(t *testing.T, address, file string) *harness.Process {
	t.Helper()
	process, err := binaries.StartReceiver(t.Context(), address, file)
	harness.Must(t, err)
	harness.AtEnd(t, process.Kill)
	return process
}

// startLoad starts the generator against a gateway; it is killed when the test
// ends.
func startLoad(t *testing.T, gateway *harness.Gateway, name string, args ...string) *harness.Load {
	t.Helper()
	load, err := binaries.StartLoad(gateway.Dir, name, gateway.MQTTAddr, args...)
	harness.Must(t, err)
	harness.AtEnd(t, load.Kill)
	return load
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := harness.FreeAddress()
	harness.Must(t, err)
	return address
}

// readFileSink reads what the file sink holds.
func readFileSink(t *testing.T, gateway *harness.Gateway) *harness.Arrivals {
	t.Helper()
	arrivals := harness.NewArrivals()
	harness.Must(t, harness.ReadFileSink(gateway.OutDir(), arrivals.Add))
	return arrivals
}

// readReceived reads what a receiver process wrote.
func readReceived(t *testing.T, file string) *harness.Arrivals {
	t.Helper()
	arrivals := harness.NewArrivals()
	harness.Must(t, harness.ReadReceived(file, arrivals.Add))
	return arrivals
}

// post sends a body and returns status and answer.
func post(t *testing.T, url, contentType string, body []byte, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(harness.Within(t, 30*time.Second), http.MethodPost, url, bytes.NewReader(body))
	harness.Must(t, err)
	request.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	harness.Must(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	harness.Must(t, err)
	return response.StatusCode, string(answer)
}

// call calls a Connect procedure with JSON and decodes the answer.
func call[T any](t *testing.T, gateway *harness.Gateway, procedure, request string) T {
	t.Helper()
	var answer T
	status, body := post(t, gateway.URL("/"+procedure), "application/json", []byte(request))
	if status != http.StatusOK {
		t.Fatalf("%s answers %d: %s", procedure, status, body)
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s answers %s: %v", procedure, body, err)
	}
	return answer
}

// metrics reads /metrics: value by name with labels, as they are written there.
func metrics(t *testing.T, gateway *harness.Gateway) map[string]float64 {
	t.Helper()
	values, err := gateway.Metrics(harness.Within(t, 10*time.Second))
	harness.Must(t, err)
	return values
}

// awaitDrained waits until nothing is owed to any sink any more.
func awaitDrained(t *testing.T, gateway *harness.Gateway, limit time.Duration) {
	t.Helper()
	harness.Must(t, gateway.AwaitDrained(harness.Within(t, limit)))
}

// stop ends the gateway in order.
func stop(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	code, err := gateway.Stop(t.Context())
	harness.Must(t, err)
	if code != 0 {
		t.Errorf("SIGTERM: exit code %d, want 0", code)
	}
}

// deadLetters asks the gateway for what it has given up, in words.
func deadLetters(t *testing.T, gateway *harness.Gateway) []json.RawMessage {
	t.Helper()
	type page struct {
		DeadLetters []json.RawMessage `json:"deadLetters"`
	}
	return call[page](t, gateway, "gateway.dlq.v1.DLQService/ListDeadLetters", `{"pageSize": 1000}`).DeadLetters
}

// inDir joins a name to the gateway's folder.
func inDir(gateway *harness.Gateway, name string) string { return filepath.Join(gateway.Dir, name) }
