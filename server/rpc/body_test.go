package rpc_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// trickle sends a body that does not end, and returns what ends it.
func (b *bench) trickle(t *testing.T, path string, bytes int) (status chan int, end func()) {
	t.Helper()
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", jsonType)
	status = make(chan int, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			status <- 0 // the server cut it off
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		status <- response.StatusCode
	}()
	go func() { _, _ = writer.Write([]byte(strings.Repeat(" ", bytes))) }() // ends with the pipe
	return status, func() { _ = writer.CloseWithError(io.ErrUnexpectedEOF) }
}

// TestServer_BodyBudget holds bodies back until their budget is used up: whoever
// comes then is told to come again, and is served once they are gone.
func TestServer_BodyBudget(t *testing.T) {
	b := newBench(t)
	const bodies, bytes = 20, 7 << 20 // more than the budget
	var ends []func()
	refused := make(chan int, bodies)
	for i := range bodies {
		path := "/ingest/dev-1"
		if i%2 == 0 {
			path = "/gateway.telemetry.v1.TelemetryService/Publish"
		}
		status, end := b.trickle(t, path, bytes)
		ends = append(ends, end)
		go func() { refused <- <-status }()
	}
	if status := <-refused; status != http.StatusServiceUnavailable && status != 0 {
		t.Errorf("a body beyond the budget: status %d", status)
	}
	for _, end := range ends {
		end()
	}
	for range bodies - 1 {
		<-refused
	}
	if got := b.do(t, "POST", "/ingest/dev-1", telemetry); got.status != http.StatusAccepted {
		t.Errorf("after they are gone: %d %s", got.status, got.body)
	}
}
