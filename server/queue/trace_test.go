package queue_test

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

// collector receives spans as a real one does.
type collector struct {
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request coltracepb.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// TestQueue_Trace appends two sampled messages, one that is not sampled and one
// that nobody traces, in one commit.
func TestQueue_Trace(t *testing.T) {
	collector := &collector{}
	server := httptest.NewServer(collector)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	observer, err := observe.New(t.Context(), observe.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := queue.Open(t.Context(), queue.Settings{Path: path}, observer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.EnsureSinks(t.Context(), specs(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	parents := []string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01",
		"00-2af7651916cd43dd8448eb211c80319c-d7ad6b7169203331-00", "",
	}
	entries := edgetest.Entries(4, 4, 1)
	for i := range entries {
		entries[i].Record.TraceParent = parents[i]
	}
	edgetest.Append(t, q, entries...)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := observer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	expectLinks(t, collector.spans, parents, path)
}

// expectLinks looks at the spans of the commit, and at the records after a
// restart: each still carries its append span, or what it came with, for the
// delivery to continue.
func expectLinks(t *testing.T, spans []*tracepb.Span, parents []string, path string) {
	t.Helper()
	appends, commits := map[string]*tracepb.Span{}, []*tracepb.Span{}
	for _, span := range spans {
		switch span.GetName() {
		case "append":
			appends[hex.EncodeToString(span.GetTraceId())] = span
		case "commit":
			commits = append(commits, span)
		}
	}
	if len(appends) != 2 || len(commits) != 1 {
		t.Fatalf("%d append spans, %d commit spans; want 2 and 1", len(appends), len(commits))
	}
	restarted := start(t, queue.Settings{Path: path}, 1)
	var want, got []string
	for i, delivery := range restarted.lease(t, 1, 4) {
		got = append(got, delivery.Record.TraceParent)
		if i > 1 {
			want = append(want, parents[i])
			continue
		}
		span := appends[parents[i][3:35]]
		want = append(want, "00-"+parents[i][3:35]+"-"+hex.EncodeToString(span.GetSpanId())+"-01")
		if parent := hex.EncodeToString(span.GetParentSpanId()); parent != parents[i][36:52] {
			t.Errorf("append %d is a child of %s, want %s", i, parent, parents[i][36:52])
		}
		if !linked(span, commits[0]) || !linked(commits[0], span) {
			t.Errorf("append %d and its commit are not linked to each other", i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func linked(from, to *tracepb.Span) bool {
	for _, link := range from.GetLinks() {
		if string(link.GetSpanId()) == string(to.GetSpanId()) && string(link.GetTraceId()) == string(to.GetTraceId()) {
			return true
		}
	}
	return false
}

var _ edge.Appender = (*queue.Queue)(nil)
var _ edge.Leaser = (*queue.Queue)(nil)
