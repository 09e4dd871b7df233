package httpsink_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	analyticsv1 "combotto.io/gateway/gen/go/gateway/analytics/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sink/httpsink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a sink that posts to url, with the settings changed.
func open(t *testing.T, url string, change ...func(*httpsink.Settings)) *httpsink.Sink {
	t.Helper()
	settings := httpsink.Settings{Gateway: "gw-1", Sink: "analytics", URL: url}
	for _, c := range change {
		c(&settings)
	}
	sink, err := httpsink.New(settings, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	return sink
}

// receive starts a receiver that lives as long as the test.
func receive(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// batch returns deliveries with the positions first to first+count-1.
// batch is sealed, as dispatch does it for this sink.
func batch(first, count int) []edge.Delivery {
	deliveries := make([]edge.Delivery, count)
	for i := range deliveries {
		record := edgetest.Record("dev-1", first+i)
		record.Position = edge.Position(first + i)
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, record.Position, 0, 1)
		deliveries[i] = edge.Delivery{Record: record, Sealed: true}
	}
	return deliveries
}

// request is what a receiver saw.
type request struct {
	header http.Header
	body   []byte
	host   string
}

// capture returns the request that one delivery makes.
func capture(t *testing.T, deliveries []edge.Delivery, change ...func(*httpsink.Settings)) request {
	t.Helper()
	requests := make(chan request, 1)
	url := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.ContentLength != int64(len(body)) {
			t.Errorf("%s of %d bytes, announced %d: %v", r.Method, len(body), r.ContentLength, err)
		}
		requests <- request{r.Header, body, r.Host}
	})
	if outcome := open(t, url, change...).Deliver(t.Context(), deliveries); outcome.Class != edge.Delivered || outcome.Status != "200" {
		t.Fatalf("got %+v, want Delivered", outcome)
	}
	return <-requests
}

func TestSink_Contract(t *testing.T) {
	for _, format := range []httpsink.Format{httpsink.NDJSON, httpsink.JSON, httpsink.Protobuf} {
		t.Run(string(format), func(t *testing.T) {
			edgetest.TestSink(t, func(t *testing.T) edge.Sink {
				url := receive(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
				return open(t, url, func(s *httpsink.Settings) { s.Format = format })
			})
		})
	}
}

func TestNew(t *testing.T) {
	for url, format := range map[string]httpsink.Format{
		"ftp://example.com": "", "example.com/ingest": "", "": "", "http://": "", "http://a b": "", "http://example.com": "csv",
	} {
		settings := httpsink.Settings{Sink: "cloud", URL: url, Format: format}
		if _, err := httpsink.New(settings, observe.NewDiscard()); err == nil || !strings.Contains(err.Error(), "cloud") {
			t.Errorf("url %q, format %q: got %v, want an error that names the sink", url, format, err)
		}
	}
}

func TestSink_Body(t *testing.T) {
	with := func(format httpsink.Format) func(*httpsink.Settings) {
		return func(s *httpsink.Settings) { s.Format = format }
	}
	// The second of three records cannot be written in any format.
	deliveries := batch(7, 3)
	deliveries[1].Record.Payload = []byte("{")
	want := []string{deliveries[0].Record.Correlation.String(), deliveries[2].Record.Correlation.String()}
	type object struct {
		CorrelationID string `json:"correlation_id"`
	}
	readers := map[httpsink.Format]func(t *testing.T, body []byte) (ids []string){
		httpsink.NDJSON: func(t *testing.T, body []byte) (ids []string) {
			for scanner := bufio.NewScanner(bytes.NewReader(body)); scanner.Scan(); {
				var record object
				if err := json.Unmarshal(scanner.Bytes(), &record); err != nil {
					t.Error(err)
				}
				ids = append(ids, record.CorrelationID)
			}
			return ids
		},
		httpsink.JSON: func(t *testing.T, body []byte) (ids []string) {
			var records []object
			if err := json.Unmarshal(body, &records); err != nil {
				t.Errorf("%s: %v", body, err)
			}
			for _, record := range records {
				ids = append(ids, record.CorrelationID)
			}
			return ids
		},
		httpsink.Protobuf: func(t *testing.T, body []byte) (ids []string) {
			var message analyticsv1.IngestRequest
			if err := proto.Unmarshal(body, &message); err != nil {
				t.Error(err)
			}
			if message.GatewayId != "gw-1" || message.Sink != "analytics" || message.IdempotencyKey != "gw-1/analytics/7-9" || len(message.ProtoReflect().GetUnknown()) > 0 {
				t.Errorf("got %v", &message)
			}
			for _, record := range message.Records {
				ids = append(ids, record.CorrelationId)
			}
			return ids
		},
	}
	for format, contentType := range map[httpsink.Format]string{
		httpsink.NDJSON: "application/x-ndjson", httpsink.JSON: "application/json", httpsink.Protobuf: "application/protobuf",
	} {
		t.Run(string(format), func(t *testing.T) {
			got := capture(t, deliveries, with(format))
			if diff := cmp.Diff(want, readers[format](t, got.body)); diff != "" || got.header.Get("Content-Type") != contentType {
				t.Errorf("%s: %s", got.header.Get("Content-Type"), diff)
			}
		})
	}
}

func TestSink_Headers(t *testing.T) {
	t.Run("Own", func(t *testing.T) {
		got := capture(t, batch(7, 3), func(s *httpsink.Settings) { s.Version = "1.2.3" }).header
		want := http.Header{
			"Accept": {"application/json, */*;q=0.1"}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/x-ndjson"},
			"Idempotency-Key": {"gw-1/analytics/7-9"}, "User-Agent": {"combotto-gateway/1.2.3"},
		}
		got.Del("Content-Length")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("Configured", func(t *testing.T) {
		got := capture(t, batch(1, 1), func(s *httpsink.Settings) {
			s.Token = "secret"
			s.Headers = map[string]string{"X-Tenant": "7", "Host": "virtual.example", "Authorization": "Basic x", "Content-Type": "text/plain", "Accept-Encoding": "gzip"}
		})
		if got.host != "virtual.example" || got.header.Get("X-Tenant") != "7" {
			t.Errorf("host %s, header %v", got.host, got.header)
		}
		// The sink's own headers win.
		if got.header.Get("Authorization") != "Bearer secret" || got.header.Get("Content-Type") != "application/x-ndjson" ||
			got.header.Get("Accept-Encoding") != "identity" {
			t.Errorf("got %v", got.header)
		}
	})
	t.Run("NoKeyForABatchThatIsNotSealed", func(t *testing.T) {
		unsealed := batch(7, 3)
		for i := range unsealed {
			unsealed[i].Sealed = false
		}
		if got := capture(t, unsealed).header; got.Get("Idempotency-Key") != "" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("TraceParent", func(t *testing.T) {
		const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		traced := batch(1, 3)
		traced[1].Record.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-aaaaaaaaaaaaaaaa-00"
		if got := capture(t, traced).header.Get("Traceparent"); got != "" {
			t.Errorf("unsampled: got %q", got)
		}
		traced[2].Record.TraceParent = sampled
		if got := capture(t, traced).header.Get("Traceparent"); got != sampled {
			t.Errorf("got %q, want %q", got, sampled)
		}
		attempt := observe.TraceContext{TraceID: [16]byte{1}, SpanID: [8]byte{2}, Sampled: true}
		requests := make(chan string, 1)
		url := receive(t, func(_ http.ResponseWriter, r *http.Request) { requests <- r.Header.Get("Traceparent") })
		open(t, url).Deliver(observe.ContextWith(t.Context(), attempt), traced)
		if got := <-requests; got != attempt.TraceParent() {
			t.Errorf("got %q, want the attempt's %q", got, attempt.TraceParent())
		}
	})
}

func TestSink_Rejections(t *testing.T) {
	three := batch(1, 3)
	id := func(i int) string { return three[i].Record.Correlation.String() }
	many := fmt.Sprintf(`{"rejected":[{"correlation_id":%q,"reason":"%s"}`, id(0), strings.Repeat("x", 100<<10))
	for name, test := range map[string]struct {
		status int
		body   string
		want   edge.Outcome
	}{
		"None":     {200, `{"accepted":3,"rejected":[]}`, edge.Outcome{Class: edge.Delivered}},
		"NoMember": {200, `{"ok":true}`, edge.Outcome{Class: edge.Delivered}},
		"Null":     {200, `{"rejected":null}`, edge.Outcome{Class: edge.Delivered}},
		"Zero":     {200, `{"rejected":0}`, edge.Outcome{Class: edge.Delivered}},
		"NotJSON":  {200, `{oops`, edge.Outcome{Class: edge.Delivered}},
		"HTML":     {200, "<html>welcome</html>", edge.Outcome{Class: edge.Delivered}},
		"Empty":    {204, "", edge.Outcome{Class: edge.Delivered}},
		"Other2xx": {202, `{"rejected":[{"correlation_id":"` + id(0) + `"}]}`, edge.Outcome{Class: edge.Delivered}},
		"ByNumberAndText": {207, ` {"a":{"rejected":[1]},"rejected":[
			{"correlation_id":"` + id(2) + `","status":"out_of_range","reason":"no"},
			{"correlation_id":"` + strings.ToUpper(id(0)) + `","status":422,"reason":"bad"}, {"correlation_id":"` + id(0) + `"}]}`,
			edge.Outcome{Class: edge.Delivered, Refused: []edge.Refused{
				{Index: 0, Status: "422", Excerpt: "bad"}, {Index: 2, Status: "out_of_range", Excerpt: "no"},
			}}},
		"ByteOrderMark": {200, "\xef\xbb\xbf\r\n" + `{"rejected":[{"correlation_id":"` + id(1) + `","status":422}]}`,
			edge.Outcome{Class: edge.Delivered, Refused: []edge.Refused{{Index: 1, Status: "422"}}}},
		"OurWord": {200, `{"rejected":[{"correlation_id":"` + id(1) + `","status":"unwritable"}]}`,
			edge.Outcome{Class: edge.Delivered, Refused: []edge.Refused{{Index: 1, Status: "unwritable"}}}},
		"Unknown":     {200, `{"rejected":[{"correlation_id":"` + batch(99, 1)[0].Record.Correlation.String() + `"}]}`, edge.Outcome{Class: edge.Rejected}},
		"Unnamed":     {200, `{"rejected":[{"status":422}]}`, edge.Outcome{Class: edge.Rejected}},
		"OnlyCounted": {200, `{"rejected":2}`, edge.Outcome{Class: edge.Rejected}},
		"Strings":     {200, `{"rejected":["` + id(0) + `"]}`, edge.Outcome{Class: edge.Rejected}},
		"TooLong":     {200, many + strings.Repeat(" ", 1<<10) + "]}", edge.Outcome{Class: edge.Rejected}},
	} {
		t.Run(name, func(t *testing.T) {
			url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			got := open(t, url).Deliver(t.Context(), three)
			test.want.Status = fmt.Sprint(test.status)
			if needed := test.want.Class == edge.Rejected || len(test.want.Refused) > 0; needed != (got.Excerpt != "") || len(got.Excerpt) > edge.MaxExcerptBytes {
				t.Errorf("excerpt of %d bytes", len(got.Excerpt))
			}
			got.Excerpt = ""
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if test.want.Class != edge.Rejected {
				return
			}
			// Divided until it is clear: one record alone is the one that is meant.
			alone := open(t, url).Deliver(t.Context(), three[:1])
			if alone.Class != edge.Delivered || len(alone.Refused) != 1 || alone.Refused[0].Index != 0 {
				t.Errorf("alone: got %+v, want it refused", alone)
			}
		})
	}
}

func TestSink_UnwritableAndRejected(t *testing.T) {
	three := batch(1, 3)
	three[1].Record.Payload = nil
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"rejected":[{"correlation_id":%q,"status":400},{"correlation_id":%q,"status":422}]}`, three[0].Record.Correlation, three[2].Record.Correlation)
	})
	var got []string
	for _, refused := range open(t, url).Deliver(t.Context(), three).Refused {
		got = append(got, fmt.Sprint(refused.Index, " ", refused.Status, " ", refused.Unwritable))
	}
	if diff := cmp.Diff([]string{"0 400 false", "1 unwritable true", "2 422 false"}, got); diff != "" {
		t.Error(diff)
	}
}
