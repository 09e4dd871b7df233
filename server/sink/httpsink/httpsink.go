// Package httpsink posts batches of records to a URL.
//
//	POST URL
//	Content-Type: application/x-ndjson | application/json | application/protobuf
//	Accept-Encoding: identity
//	Idempotency-Key: {gateway}/{sink}/{first position}-{last position}
//	Authorization: Bearer TOKEN          when a token is set
//	traceparent: ...                     of the first traced record
//
// The body is one JSON object per line, one JSON array, or one
// gateway.analytics.v1.IngestRequest. What the answer means:
//
//	2xx                                 the whole body is accepted
//	200, 207 with {"rejected": [...]}   accepted, but for the records that are named
//	200, 207 that cannot be understood  the batch is divided; with one record misconfigured
//	400, 413, 422                       rejected: the content is at fault
//	408, 409, 423, 424, 425, 429        unavailable; Retry-After is honoured
//	5xx but 501, 505, 510               unavailable; Retry-After is honoured
//	other 4xx, 3xx, 1xx, 501, 505, 510  misconfigured: the same for every record
//	refused, reset, timeout, no name    unavailable
//	TLS: certificate, name, version     misconfigured
//
// Choices that are not obvious. 409 answers a repeated Idempotency-Key whose
// first request is still being worked on, so that waiting is right. 415 refuses
// the format, which is a setting, and 405 and 501 refuse the method. 511 is a
// captive portal, which goes away. Whatever is not known to be about the content
// gives up no record.
//
// A rejection that names no record of the batch, or only counts them, makes the
// outcome Rejected: the batch is then divided until the answer is clear, and of
// one record alone it is clear.
//
// A reply of a 200 or 207 cannot be understood when nobody can tell whether it
// rejects records: it has a Content-Encoding although identity was asked for; it
// is an object that is longer than 64 KiB, or whose "rejected" comes twice, is no
// list, number or null, or stands where the JSON is faulty; or it is an array
// that mentions "rejected", "correlation_id" or "status". The batch is divided,
// since the reply to less may be clearer. A record alone is neither taken as
// delivered, which could lose it, nor made a dead letter, since it may have been
// accepted: it is Misconfigured, so that the lane pauses, says why and tries
// again now and then. The receiver has to be mended; it may get the record again
// until then.
//
// A reply that breaks off inside JSON is Unavailable. Any other body of a 2xx is
// ignored, and no body is read beyond 64 KiB. A record that cannot be encoded is
// refused as unwritable.
//
// Only a sealed batch carries an Idempotency-Key: it has the same members, and so
// the same body, whenever it comes again. One that is not sealed might have others,
// and of requeued records the receiver may remember the refusal that made them
// dead.
//
// Redirects are not followed, cookies are not kept, and proxies are not taken
// from the environment: what leaves a gateway goes where its configuration says.
// Deliver makes one attempt; net/http may repeat it, with the same key, when a
// connection that was kept open turns out to be closed by the other side.
//
// Deliver is safe for concurrent use. Tests run it against net/http/httptest.
package httpsink

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/wire"
)

// Format is how a batch is written.
type Format string

// The formats.
const (
	NDJSON   Format = "ndjson"
	JSON     Format = "json"
	Protobuf Format = "protobuf"
)

const (
	connectTimeout    = 10 * time.Second // the attempt as a whole ends with its context
	idleTimeout       = 90 * time.Second
	connectionsMax    = 16       // when the settings leave it open
	replyHeaderBytes  = 64 << 10 // headers of a reply
	userAgentFallback = "dev"
	statusUnwritable  = "unwritable" // of a record, or of a batch that was not sent at all
)

// Settings say where to post, and as whom.
type Settings struct {
	Gateway     edge.GatewayID
	Sink        string // name, for the Idempotency-Key
	URL         string // http or https
	Format      Format // empty is NDJSON
	Token       string // sent as Bearer; empty sends none
	Headers     map[string]string
	Connections int         // to the receiver, at most; 0 is 16
	TLS         *tls.Config // nil: the system's roots, TLS 1.2 or newer
	Version     string      // of the gateway, for User-Agent
}

// Sink posts to one URL. It implements [edge.Sink].
type Sink struct {
	settings  Settings
	url       *url.URL
	header    http.Header // sent with every request
	client    *http.Client
	transport *http.Transport
	renderers sync.Pool // of *wire.Renderer, which serve one batch at a time
}

// New returns a sink, or says what is wrong with the settings. It does not
// connect.
func New(settings Settings, _ *observe.Observer) (*Sink, error) {
	settings.Format = cmp.Or(settings.Format, NDJSON)
	settings.Connections = cmp.Or(settings.Connections, connectionsMax)
	target, err := url.Parse(settings.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("http sink %s: read url: %w", settings.Sink, err)
	case target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return nil, fmt.Errorf("http sink %s: url must be absolute, with the scheme http or https", settings.Sink)
	case !slices.Contains([]Format{NDJSON, JSON, Protobuf}, settings.Format):
		return nil, fmt.Errorf("http sink %s: format %q is none of ndjson, json, protobuf", settings.Sink, settings.Format)
	}
	s := &Sink{settings: settings, url: target, header: newHeader(settings), transport: newTransport(settings)}
	s.client = &http.Client{
		Transport:     s.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.renderers.New = func() any { return wire.NewRenderer(settings.Gateway) }
	return s, nil
}

func newTransport(settings Settings) *http.Transport {
	config := settings.TLS
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Transport{
		Proxy:                  nil, // see the package comment
		DialContext:            (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // a reply is read up to a limit, which must not hide a bomb
		MaxConnsPerHost:        settings.Connections,
		MaxIdleConns:           settings.Connections,
		MaxIdleConnsPerHost:    settings.Connections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: replyHeaderBytes,
	}
}

// newHeader returns what every request carries. What the sink itself sends wins
// over the settings' headers.
func newHeader(settings Settings) http.Header {
	header := make(http.Header)
	header.Set("User-Agent", "combotto-gateway/"+cmp.Or(settings.Version, userAgentFallback))
	for name, value := range settings.Headers {
		header.Set(name, value)
	}
	header.Set("Content-Type", contentTypes[settings.Format])
	header.Set("Accept", "application/json, */*;q=0.1")
	header.Set("Accept-Encoding", "identity") // none at all would allow any
	if settings.Token != "" {
		header.Set("Authorization", "Bearer "+settings.Token)
	}
	return header
}

// Deliver implements [edge.Sink].
func (s *Sink) Deliver(ctx context.Context, batch []edge.Delivery) edge.Outcome {
	key := s.key(batch)
	body, unwritable := s.encode(batch, key)
	if len(unwritable) == len(batch) {
		return edge.Outcome{Class: edge.Delivered, Status: statusUnwritable, Refused: unwritable}
	}
	response, err := s.client.Do(s.request(ctx, batch, key, body))
	if err != nil {
		return unreachable(ctx, err)
	}
	defer response.Body.Close()
	outcome := judge(ctx, response, batch)
	if outcome.Class == edge.Delivered {
		outcome.Refused = merge(unwritable, outcome.Refused)
	}
	return outcome
}

// request builds the attempt. Building cannot fail: New has parsed the URL.
func (s *Sink) request(ctx context.Context, batch []edge.Delivery, key string, body []byte) *http.Request {
	request := (&http.Request{
		Method: http.MethodPost, URL: s.url, Host: cmp.Or(s.header.Get("Host"), s.url.Host),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: maps.Clone(s.header),
	}).WithContext(ctx)
	setBody(request, body)
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	if parent := traceParent(ctx, batch); parent != "" {
		request.Header.Set("Traceparent", parent)
	}
	return request
}

// traceParent prefers the span of this attempt, which dispatch puts into the
// context, to the first sampled record's.
func traceParent(ctx context.Context, batch []edge.Delivery) string {
	if current := observe.FromContext(ctx); current.Sampled {
		return current.TraceParent()
	}
	for i := range batch {
		parent, ok := observe.ParseTraceParent(batch[i].Record.TraceParent)
		if ok && parent.Sampled {
			return parent.TraceParent()
		}
	}
	return ""
}

// Close implements [edge.Sink].
func (s *Sink) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// merge returns the refusals of both lists, each record's first, in the order
// of the batch.
func merge(unwritable, rejected []edge.Refused) []edge.Refused {
	if len(unwritable) == 0 {
		return rejected
	}
	all := slices.Concat(unwritable, rejected)
	byIndex := func(a, b edge.Refused) int { return cmp.Compare(a.Index, b.Index) }
	slices.SortStableFunc(all, byIndex)
	return slices.CompactFunc(all, func(a, b edge.Refused) bool { return a.Index == b.Index })
}
