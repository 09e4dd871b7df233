package rpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/ingest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sink = edge.SinkID(1)

// bench is a server on a loopback port in front of a real pipeline and a queue
// in memory.
type bench struct {
	url      string
	queue    *edgetest.Queue
	health   *rpc.Health
	observer *observe.Observer
	server   *rpc.Server
}

// admitAll is the authenticator of most tests; caller may be narrowed.
type admit struct {
	caller rpc.Caller
	err    error
}

func (a admit) Authenticate(*http.Request) (rpc.Caller, error) { return a.caller, a.err }

var operator = admit{caller: rpc.Caller{Name: "test", Operator: true}}

// newBench serves until the test ends.
func newBench(t *testing.T, change ...func(*rpc.Dependencies)) *bench {
	t.Helper()
	b := &bench{queue: edgetest.NewQueue(sink), health: rpc.NewHealth("queue"), observer: observe.NewDiscard()}
	b.health.Report("queue", func() rpc.Part { return rpc.Part{Ready: true} })
	plan := edge.NewPlan([]edge.PlannedSink{{ID: sink, Name: "archive"}})
	dependencies := rpc.Dependencies{
		Authenticator: operator, Submitter: ingest.New(ingest.Settings{MaxPayloadBytes: edge.MaxPayloadBytes}, plan, b.queue, b.observer),
		MQTTConnections: func() int { return 0 }, Health: b.health, Observer: b.observer,
	}
	for _, f := range change {
		f(&dependencies)
	}
	server, err := rpc.New(rpc.Settings{GatewayID: "gw-1", Version: rpc.Version{Version: "1.2.3"}}, dependencies)
	if err != nil {
		t.Fatal(err)
	}
	b.server = server
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	httpServer := rpc.NewHTTPServer(server.Handler(), b.observer.Log)
	ended := make(chan error, 1)
	go func() { ended <- httpServer.Serve(listener) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.StopStreams()
		if err := rpc.Shutdown(httpServer); err != nil {
			t.Error(err)
		}
		<-ended
	})
	b.url = "http://" + listener.Addr().String()
	return b
}

// answer is what came back of a request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *bench) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func (b *bench) stored() int { return b.queue.Account(sink).Due }

// refused sums the refusals of the HTTP door, whatever their reason.
func (b *bench) refused() (sum uint64) {
	for _, reason := range edge.Reasons {
		sum += b.observer.Metrics.Counter("ingest_rejected_total", "http", string(reason)).Value()
	}
	return sum
}

const (
	telemetry = `{"schema_version":1,"metrics":{"t":1}}`
	invalid   = `{"schema_version":1,"metrics":{}}`
	jsonType  = "application/json"
)

func gzipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

func zstandard(text string) string {
	encoder, _ := zstd.NewWriter(nil)
	return string(encoder.EncodeAll([]byte(text), nil))
}

// padded is valid telemetry of exactly size bytes.
func padded(size int) string {
	head := `{"schema_version":1,"metrics":{"t":1}`
	return head + strings.Repeat(" ", size-len(head)-1) + "}"
}

func TestServer_Ingest(t *testing.T) {
	array := func(elements ...string) string { return "[" + strings.Join(elements, ",") + "]" }
	many := func(n int) string {
		return array(strings.Split(strings.Repeat(telemetry+"\n", n-1)+telemetry, "\n")...)
	}
	for name, test := range map[string]struct {
		path, body string
		headers    []string
		status     int
		want       string // part of the answer
		stored     int
	}{
		"OneObject":          {"dev-1", telemetry, []string{"Content-Type", jsonType}, 202, `"duplicate":false`, 1},
		"Charset":            {"dev-1", telemetry, []string{"Content-Type", jsonType + "; charset=utf-8"}, 202, `"correlation_id":"`, 1},
		"NoContentType":      {"dev-1", telemetry, nil, 202, `"correlation_id":"`, 1},
		"Protobuf":           {"dev-1", "\x08\x01\x3a\x05\x0a\x01t\x18\x02", []string{"Content-Type", "application/protobuf"}, 202, `"correlation_id":"`, 1},
		"Gzip":               {"dev-1", gzipped(telemetry), []string{"Content-Encoding", "gzip"}, 202, `"correlation_id":"`, 1},
		"Zstd":               {"dev-1", zstandard(telemetry), []string{"Content-Encoding", "zstd"}, 202, `"correlation_id":"`, 1},
		"Array":              {"dev-1", array(telemetry, telemetry), []string{"Content-Type", jsonType}, 202, `"results":[{"correlation_id"`, 2},
		"ArrayWithSpaces":    {"dev-1", " \n[ " + telemetry + " ]\n", []string{"Content-Type", jsonType}, 202, `"results"`, 1},
		"ArraySomeRefused":   {"dev-1", array(telemetry, invalid), []string{"Content-Type", jsonType}, 207, `"status":422`, 1},
		"ArrayAllRefused":    {"dev-1", array(invalid, invalid), []string{"Content-Type", jsonType}, 422, `"results":[{"error"`, 0},
		"ArrayEmpty":         {"dev-1", "[]", []string{"Content-Type", jsonType}, 422, "1 to 1000", 0},
		"ArrayOf1000":        {"dev-1", many(1000), []string{"Content-Type", jsonType}, 202, `"results"`, 1000},
		"ArrayOf1001":        {"dev-1", many(1001), []string{"Content-Type", jsonType}, 422, "1 to 1000", 0},
		"ArrayTruncated":     {"dev-1", "[" + telemetry, []string{"Content-Type", jsonType}, 400, "not JSON", 0},
		"ArrayAndMore":       {"dev-1", "[" + telemetry + "] {}", []string{"Content-Type", jsonType}, 400, "follows the array", 0},
		"NDJSON":             {"dev-1", telemetry + "\n\r\n" + telemetry + "\r\n", []string{"Content-Type", "application/x-ndjson"}, 202, `"results"`, 2},
		"NDJSONOneBadLine":   {"dev-1", telemetry + "\n{\n" + telemetry, []string{"Content-Type", "application/x-ndjson"}, 207, `"status":400`, 2},
		"NDJSONEmpty":        {"dev-1", "\n\n", []string{"Content-Type", "application/x-ndjson"}, 422, "1 to 1000", 0},
		"NotJSON":            {"dev-1", "{", []string{"Content-Type", jsonType}, 400, `"type":"urn:combotto:problem:malformed"`, 0},
		"Empty":              {"dev-1", "", []string{"Content-Type", jsonType}, 400, "empty", 0},
		"Invalid":            {"dev-1", invalid, []string{"Content-Type", jsonType}, 422, `"field":"metrics"`, 0},
		"UnknownVersion":     {"dev-1", `{"schema_version":9,"metrics":{"t":1}}`, []string{"Content-Type", jsonType}, 422, "problem:schema_version", 0},
		"OtherDevice":        {"dev-1", `{"schema_version":1,"device_id":"dev-2","metrics":{"t":1}}`, nil, 422, "problem:device", 0},
		"BadDeviceID":        {"dev+1", telemetry, nil, 422, `"field":"device_id"`, 0},
		"Form":               {"dev-1", telemetry, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "application/json", 0},
		"Brotli":             {"dev-1", telemetry, []string{"Content-Encoding", "br"}, 415, "gzip or zstd", 0},
		"NotGzip":            {"dev-1", telemetry, []string{"Content-Encoding", "gzip"}, 400, "cannot be read", 0},
		"NotZstd":            {"dev-1", telemetry, []string{"Content-Encoding", "zstd"}, 400, "cannot be read", 0},
		"LimitMinusOne":      {"dev-1", padded(edge.MaxPayloadBytes - 1), nil, 202, `"correlation_id"`, 1},
		"Limit":              {"dev-1", padded(edge.MaxPayloadBytes), nil, 202, `"correlation_id"`, 1},
		"LimitPlusOne":       {"dev-1", padded(edge.MaxPayloadBytes + 1), nil, 413, "problem:too_large", 0},
		"BodyTooLarge":       {"dev-1", padded(edge.MaxBatchBytes + 1), nil, 413, "problem:too_large", 0},
		"GzipBomb":           {"dev-1", gzipped(padded(edge.MaxBatchBytes + 1)), []string{"Content-Encoding", "gzip"}, 413, "problem:too_large", 0},
		"ZstdBomb":           {"dev-1", zstandard(padded(edge.MaxBatchBytes + 1)), []string{"Content-Encoding", "zstd"}, 413, "problem:too_large", 0},
		"BadIdempotencyKey":  {"dev-1", telemetry, []string{"Idempotency-Key", "a b"}, 422, "request_id", 0},
		"LongIdempotencyKey": {"dev-1", telemetry, []string{"Idempotency-Key", strings.Repeat("k", 65)}, 422, "request_id", 0},
		"CrossSiteRequest":   {"dev-1", telemetry, []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross-origin", 0},
		"DuplicateKey":       {"dev-1", `{"schema_version":1,"schema_version":1,"metrics":{"t":1}}`, nil, 400, "problem:duplicate_key", 0},
		"DeepNesting":        {"dev-1", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), nil, 400, "problem:depth", 0},
		"InvalidUTF8":        {"dev-1", "{\"schema_version\":1,\"metrics\":{\"t\":\"\xff\"}}", nil, 400, "problem:encoding", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			got := b.do(t, "POST", "/ingest/"+test.path, test.body, test.headers...)
			if got.status != test.status || !strings.Contains(got.body, test.want) {
				t.Errorf("got %d %s, want %d with %s", got.status, got.body, test.status, test.want)
			}
			if refused := b.refused(); b.stored() != test.stored || (refused > 0) != (test.status != 202) && test.want != "cross-origin" {
				t.Errorf("%d stored, want %d; %d counted as refused", b.stored(), test.stored, refused)
			}
			if problem := got.header.Get("Content-Type"); got.status >= 400 && test.want != "cross-origin" && !strings.Contains(got.body, "results") && problem != "application/problem+json" {
				t.Errorf("content type %q", problem)
			}
		})
	}
}

func TestServer_Ingest_IdempotencyKey(t *testing.T) {
	b := newBench(t)
	id := func(got answer) string {
		var receipt struct {
			CorrelationID string `json:"correlation_id"`
			Results       []struct {
				CorrelationID string `json:"correlation_id"`
			}
		}
		if err := json.Unmarshal([]byte(got.body), &receipt); err != nil {
			t.Fatal(err)
		}
		for _, result := range receipt.Results {
			receipt.CorrelationID += result.CorrelationID + " "
		}
		return receipt.CorrelationID
	}
	first := b.do(t, "POST", "/ingest/dev-1", telemetry, "Idempotency-Key", "k")
	again := b.do(t, "POST", "/ingest/dev-1", telemetry, "Idempotency-Key", "k")
	if id(first) != id(again) || !strings.Contains(again.body, `"duplicate":true`) {
		t.Errorf("got %s, then %s", first.body, again.body)
	}
	other := b.do(t, "POST", "/ingest/dev-1", `{"schema_version":1,"metrics":{"t":2}}`, "Idempotency-Key", "k")
	if other.status != 422 || !strings.Contains(other.body, "problem:conflict") {
		t.Errorf("got %d %s", other.status, other.body)
	}
	array := "[" + telemetry + "," + telemetry + "]"
	if first, again := b.do(t, "POST", "/ingest/dev-1", array, "Idempotency-Key", "a"), b.do(t, "POST", "/ingest/dev-1", array, "Idempotency-Key", "a"); id(first) != id(again) {
		t.Errorf("got %s, then %s", first.body, again.body)
	}
	if b.stored() != 3 {
		t.Errorf("%d stored, want 3", b.stored())
	}
}

// refusing is a pipeline that takes nothing.
type refusing struct{ err error }

func (r refusing) Offer(context.Context, *edge.Submission) error { return r.err }

func TestServer_Ingest_RetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		after  string
	}{
		"Full":     {&edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "full", RetryAfter: 1500 * time.Millisecond}, 503, "2"},
		"Stopping": {&edge.Error{Code: edge.Stopping, Reason: edge.ReasonStopping, Message: "stopping", RetryAfter: time.Second}, 503, "1"},
		"Busy":     {&edge.Error{Code: edge.Busy, Reason: edge.ReasonBusy, Message: "slow down", RetryAfter: time.Second}, 429, "1"},
		"Internal": {io.ErrUnexpectedEOF, 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(d *rpc.Dependencies) { d.Submitter = refusing{test.err} })
			for _, body := range []string{telemetry, "[" + telemetry + "," + telemetry + "]"} {
				before := b.refused()
				got := b.do(t, "POST", "/ingest/dev-1", body)
				if b.refused() == before {
					t.Error("the refusal is not counted")
				}
				if got.status != test.status || got.header.Get("Retry-After") != test.after || strings.Contains(got.body, "EOF") {
					t.Errorf("got %d, Retry-After %q, %s", got.status, got.header.Get("Retry-After"), got.body)
				}
			}
		})
	}
}

func TestServer_Authentication(t *testing.T) {
	nobody := admit{err: &edge.Error{Code: edge.Unauthenticated, Reason: edge.ReasonUnauthorized, Message: "who are you"}}
	device := admit{caller: rpc.Caller{Name: "dev-1", Device: "dev-1"}}
	for name, test := range map[string]struct {
		who          admit
		method, path string
		status       int
	}{
		"NobodyIngests":          {nobody, "POST", "/ingest/dev-1", 401},
		"NobodyReadsMetrics":     {nobody, "GET", "/metrics", 401},
		"NobodySeesHome":         {nobody, "GET", "/", 401},
		"NobodyCalls":            {nobody, "POST", "/gateway.admin.v1.AdminService/GetStatus", 401},
		"NobodyReflects":         {nobody, "POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 401},
		"ProbesAreOpen":          {nobody, "GET", "/healthz", 200},
		"VersionIsOpen":          {nobody, "GET", "/version", 200},
		"ReadyIsOpen":            {nobody, "GET", "/readyz", 200},
		"DeviceIngestsForItself": {device, "POST", "/ingest/dev-1", 202},
		"DeviceNotForOthers":     {device, "POST", "/ingest/dev-2", 403},
		"DeviceIsNoOperator":     {device, "POST", "/gateway.admin.v1.AdminService/GetConfig", 403},
		"NobodyIsNoOperator":     {admit{}, "POST", "/gateway.admin.v1.AdminService/GetConfig", 403},
		"NobodyPublishes":        {admit{}, "POST", "/ingest/dev-1", 403},
		"UnknownPath":            {operator, "GET", "/nothing", 404},
		"WrongMethod":            {operator, "PUT", "/ingest/dev-1", 405},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(d *rpc.Dependencies) { d.Authenticator = test.who })
			body := telemetry
			if strings.HasPrefix(test.path, "/gateway.") || strings.HasPrefix(test.path, "/grpc.") {
				body = "{}"
			}
			if got := b.do(t, test.method, test.path, body, "Content-Type", jsonType); got.status != test.status {
				t.Errorf("got %d %s, want %d", got.status, got.body, test.status)
			}
		})
	}
}

func TestServer_Health(t *testing.T) {
	b := newBench(t)
	b.health.Report("queue", func() rpc.Part { return rpc.Part{Detail: "full"} })
	if got := b.do(t, "GET", "/readyz", ""); got.status != 503 || !strings.Contains(got.body, `"detail":"full"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := b.do(t, "GET", "/healthz", ""); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	b.health.Stop()
	if got := b.do(t, "GET", "/readyz", ""); got.status != 503 || !strings.Contains(got.body, rpc.PartStopping) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	b.health.Fail("the disk is gone")
	if got := b.do(t, "GET", "/healthz", ""); got.status != 500 || !strings.Contains(got.body, "the disk is gone") {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
