package harness

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector receives traces over OTLP/HTTP.
type Collector struct {
	server *httptest.Server

	mu    sync.Mutex
	spans []Span
}

// Span is what a collector keeps of a span.
type Span struct {
	TraceID, SpanID, ParentID string // hexadecimal
	Name                      string
	Failed                    bool
	Attributes                map[string]string
	Links                     []string // span ids
	Start, End                uint64   // nanoseconds since 1970
}

// NewCollector opens a collector.
func NewCollector() *Collector {
	c := &Collector{}
	c.server = httptest.NewServer(c)
	return c
}

// Endpoint is what OTEL_EXPORTER_OTLP_ENDPOINT should be.
func (c *Collector) Endpoint() string { return c.server.URL }

// Close ends the collector.
func (c *Collector) Close() { c.server.Close() }

// Spans returns what came so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

func (c *Collector) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var export collectorv1.ExportTraceServiceRequest
	if err := readExport(request, &export); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans = append(c.spans, newSpan(span))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // An empty answer is a valid one.
}

func readExport(request *http.Request, export *collectorv1.ExportTraceServiceRequest) error {
	body := request.Body
	if request.Header.Get("Content-Encoding") == "gzip" {
		inflated, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = inflated
	}
	bytes, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return proto.Unmarshal(bytes, export)
}

func newSpan(span *tracev1.Span) Span {
	kept := Span{
		TraceID: hex.EncodeToString(span.TraceId), SpanID: hex.EncodeToString(span.SpanId), ParentID: hex.EncodeToString(span.ParentSpanId),
		Name: span.Name, Failed: span.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR,
		Attributes: map[string]string{}, Start: span.StartTimeUnixNano, End: span.EndTimeUnixNano,
	}
	for _, attribute := range span.Attributes {
		kept.Attributes[attribute.Key] = attribute.Value.String()
	}
	for _, link := range span.Links {
		kept.Links = append(kept.Links, hex.EncodeToString(link.SpanId))
	}
	return kept
}
