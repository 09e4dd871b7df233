package rpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/rpc"
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

// TestServer_BodyBudget_SlowCompressed withholds the end of a compressed body: until
// then the server holds what has arrived, and not what that expands to.
func TestServer_BodyBudget_SlowCompressed(t *testing.T) {
	b := newBench(t)
	large := "[" + telemetry + strings.Repeat(" ", edge.MaxBatchBytes-len(telemetry)-2) + "]"
	for encoding, body := range map[string]string{"gzip": gzipped(large), "zstd": zstandard(large)} {
		const most = 1 << 20
		var before, then runtime.MemStats
		end := len(body) - 8
		slow := io.MultiReader(strings.NewReader(body[:end]), readFunc(func([]byte) (int, error) {
			runtime.ReadMemStats(&then)
			return 0, io.EOF
		}), strings.NewReader(body[end:]))
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/ingest/dev-1", slow)
		request.Header.Set("Content-Type", jsonType)
		request.Header.Set("Content-Encoding", encoding)
		recorder := httptest.NewRecorder()
		runtime.ReadMemStats(&before)
		b.server.Handler().ServeHTTP(recorder, request)
		if recorder.Code != http.StatusAccepted {
			t.Errorf("%s: %d %s", encoding, recorder.Code, recorder.Body)
		}
		if allocated := then.TotalAlloc - before.TotalAlloc; allocated > most {
			t.Errorf("%s: %d bytes are allocated for %d that have arrived", encoding, allocated, end)
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// heldSubmitter takes nothing before the gate opens, and tells who has come.
type heldSubmitter struct {
	edge.Submitter
	gate chan struct{}
	come chan struct{}
}

func (s heldSubmitter) Offer(ctx context.Context, submission *edge.Submission) error {
	select {
	case s.come <- struct{}{}:
	default: // everybody has come
	}
	<-s.gate
	return s.Submitter.Offer(ctx, submission)
}

// TestServer_BodyBudget_Expanded sends small bodies that expand to more than the
// budget, all at once: whoever is beyond it is told to come again.
func TestServer_BodyBudget_Expanded(t *testing.T) {
	const bodies, expanded = 10, 7 << 20 // more than the budget
	many := &telemetryv1.PublishRequest{}
	for range expanded / edge.MaxPayloadBytes {
		many.Messages = append(many.Messages, &telemetryv1.PublishMessage{DeviceId: "dev-1", Content: &telemetryv1.PublishMessage_Payload{
			Payload: &telemetryv1.Payload{Data: make([]byte, edge.MaxPayloadBytes)}}})
	}
	call, err := proto.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]struct{ path, contentType, body string }{
		"Ingest":  {"/ingest/dev-1", jsonType, gzipped("[" + telemetry + strings.Repeat(" ", expanded-len(telemetry)-2) + "]")},
		"Publish": {"/gateway.telemetry.v1.TelemetryService/Publish", "application/proto", gzipped(string(call))},
	} {
		t.Run(name, func(t *testing.T) {
			gate, come := make(chan struct{}), make(chan struct{}, bodies)
			b := newBench(t, func(d *rpc.Dependencies) { d.Submitter = heldSubmitter{d.Submitter, gate, come} })
			statuses := make(chan int, bodies)
			for range bodies {
				go func() {
					post, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+request.path, bytes.NewReader([]byte(request.body)))
					post.Header.Set("Content-Type", request.contentType)
					post.Header.Set("Content-Encoding", "gzip")
					response, err := http.DefaultClient.Do(post)
					if err != nil {
						statuses <- 0
						return
					}
					_ = response.Body.Close()
					statuses <- response.StatusCode
				}()
			}
			refused := 0
			for range bodies {
				select {
				case status := <-statuses:
					if refused++; status != http.StatusServiceUnavailable {
						t.Errorf("beyond the budget: %d, want 503", status)
					}
				case <-come:
				}
			}
			if refused == 0 || refused > bodies/2 {
				t.Errorf("%d of %d bodies were refused, want those beyond the budget", refused, bodies)
			}
			close(gate)
			for range bodies - refused {
				if status := <-statuses; status/100 != 2 {
					t.Errorf("within the budget: %d", status)
				}
			}
		})
	}
}

// TestServer_BodyBudget_Stream withholds the ends of messages of streams: the streams
// beyond the budget are ended, small messages go on, and when the slow callers are
// gone there is room again, for one message after the other.
func TestServer_BodyBudget_Stream(t *testing.T) {
	b := newBench(t)
	const streams, size = 10, 7 << 20 // more than the budget
	ended := make(chan string, streams)
	rest := make(chan struct{})
	for range streams {
		go func() { ended <- b.slowStream(t.Context(), size, rest) }()
	}
	if got := <-ended; !strings.Contains(got, `"code":"unavailable"`) {
		t.Errorf("the stream beyond the budget ends with %q, want it told to come again", got)
	}
	exchange := func(messages ...*telemetryv1.PublishMessage) {
		t.Helper()
		stream, err := b.client(t).PublishStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := stream.Send(&telemetryv1.PublishStreamRequest{StreamId: "s", Messages: messages}); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.CloseRequest(); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseResponse(); err != nil {
			t.Fatal(err)
		}
	}
	exchange(raw("dev-1", telemetry))
	close(rest)
	for range streams - 1 { // more than one may have been refused
		if got := <-ended; !strings.Contains(got, `"code":"invalid_argument"`) && !strings.Contains(got, `"code":"unavailable"`) {
			t.Errorf("a slow stream ends with %q, want its message found invalid", got)
		}
	}
	var large []*telemetryv1.PublishMessage
	for range 7 << 20 / edge.MaxPayloadBytes {
		large = append(large, raw("dev-1", padded(edge.MaxPayloadBytes)))
	}
	for range 4 {
		exchange(large...)
	}
}

// slowStream sends a message of nothing, the last byte of it once rest is closed, and
// returns what the server says when it has ended the call.
func (b *bench) slowStream(ctx context.Context, size int, rest chan struct{}) string {
	reader, writer := io.Pipe()
	defer reader.Close()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+telemetryv1connect.TelemetryServicePublishStreamProcedure, reader)
	if err != nil {
		return err.Error()
	}
	post.Header.Set("Content-Type", "application/connect+proto")
	go func() {
		message := make([]byte, 5+size)
		binary.BigEndian.PutUint32(message[1:], uint32(size))
		_, _ = writer.Write(message[:len(message)-1])
		<-rest
		_, _ = writer.Write(message[len(message)-1:])
		_ = writer.Close()
	}()
	response, err := transport.RoundTrip(post)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%s %v", said, err)
}
