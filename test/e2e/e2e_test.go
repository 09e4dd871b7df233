// Package e2e_test drives the real programs as their users do: real MQTT, HTTP
// and gRPC clients, real files, real signals. It knows CONTRACTS.md and nothing
// of the code. See package harness for what a test may rely on.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// binaries are built once for all tests.
var binaries *harness.Binaries

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) (code int) {
	var err error
	if binaries, err = harness.Build(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := binaries.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// must stops the test when a step of its preparation did not work.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within returns a context that ends after a while, or with the test.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// skipShort skips tests that take more than a few seconds.
func skipShort(t *testing.T, takes string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("takes %s: left out by -short", takes)
	}
}

// newGateway prepares a gateway that is killed when the test ends, and whose
// log is shown when the test fails.
func newGateway(t *testing.T) *harness.Gateway {
	t.Helper()
	gateway, err := binaries.NewGateway(t.TempDir())
	must(t, err)
	t.Cleanup(func() {
		if err := gateway.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() && gateway.Process() != nil {
			t.Logf("the end of the gateway's log:\n%s", gateway.Process().LogTail())
		}
	})
	return gateway
}

// newReceiver opens an HTTP destination that is closed when the test ends.
func newReceiver(t *testing.T, answer func(harness.Request) harness.Answer) *harness.Receiver {
	t.Helper()
	receiver, err := harness.NewReceiver(answer)
	must(t, err)
	t.Cleanup(func() {
		if err := receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	return receiver
}

// startReceiver starts a receiver process that is killed when the test ends,
// and returns where it writes.
func startReceiver(t *testing.T, address, file string) *harness.Process {
	t.Helper()
	process, err := binaries.StartReceiver(t.Context(), address, file)
	must(t, err)
	t.Cleanup(func() {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
	})
	return process
}

// startLoad starts the generator against a gateway; it is killed when the test
// ends.
func startLoad(t *testing.T, gateway *harness.Gateway, name string, args ...string) *harness.Load {
	t.Helper()
	load, err := binaries.StartLoad(gateway.Dir, name, gateway.MQTTAddr, args...)
	must(t, err)
	t.Cleanup(func() {
		if err := load.Kill(); err != nil {
			t.Error(err)
		}
	})
	return load
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := harness.FreeAddress()
	must(t, err)
	return address
}

// readFileSink reads what the file sink holds.
func readFileSink(t *testing.T, gateway *harness.Gateway) *harness.Arrivals {
	t.Helper()
	arrivals := harness.NewArrivals()
	must(t, harness.ReadFileSink(gateway.OutDir(), arrivals.Add))
	return arrivals
}

// readReceived reads what a receiver process wrote.
func readReceived(t *testing.T, file string) *harness.Arrivals {
	t.Helper()
	arrivals := harness.NewArrivals()
	must(t, harness.ReadReceived(file, arrivals.Add))
	return arrivals
}

// post sends a body and returns status and answer.
func post(t *testing.T, url, contentType string, body []byte, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t, 30*time.Second), http.MethodPost, url, bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	must(t, err)
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
	values, err := gateway.Metrics(within(t, 10*time.Second))
	must(t, err)
	return values
}

// awaitDrained waits until nothing is owed to any sink any more.
func awaitDrained(t *testing.T, gateway *harness.Gateway, limit time.Duration) {
	t.Helper()
	ctx := within(t, limit)
	must(t, harness.Poll(ctx, "empty queues", func() (bool, error) {
		values, err := gateway.Metrics(ctx)
		if err != nil {
			return false, err
		}
		sinks, waiting := 0, 0.0
		for name, value := range values {
			if strings.HasPrefix(name, "gateway_queue_depth_messages{") {
				sinks++
				waiting += value
			}
		}
		return sinks > 0 && waiting == 0, fmt.Errorf("%.0f deliveries wait for %d sinks", waiting, sinks)
	}))
}

// stop ends the gateway in order.
func stop(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	code, err := gateway.Stop(t.Context())
	must(t, err)
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
