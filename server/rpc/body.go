package rpc

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// bodyBudget bounds the bodies of all requests that are under way: as they arrive,
// and what they expand to when they are compressed. A caller that sends slowly holds
// what it has sent, and no more.
const bodyBudget = 64 << 20

// streams are the calls that live as long as their caller likes.
var streams = map[string]bool{
	telemetryv1connect.TelemetryServicePublishStreamProcedure: true,
	telemetryv1connect.TelemetryServiceTailProcedure:          true,
}

// limitBodies gives each body a deadline and a share of the budget. A stream has
// neither: its messages are bounded one by one.
func limitBodies(next http.Handler) http.Handler {
	budget := semaphore.NewWeighted(bodyBudget)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if streams[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		deadline := http.NewResponseController(w)
		_ = deadline.SetReadDeadline(time.Now().Add(readBodyTimeout)) // a recorder in a test has none
		taken := &share{budget: budget}
		defer taken.release()
		r = r.WithContext(context.WithValue(r.Context(), shareKey{}, taken))
		r.Body = &limitedBody{charged: charged{r.Body, taken}, Closer: r.Body, done: func() { _ = deadline.SetReadDeadline(time.Time{}) }}
		next.ServeHTTP(w, r)
	})
}

// share is what a request has taken of the budget, until it is done.
type share struct {
	budget *semaphore.Weighted
	held   atomic.Int64
}

type shareKey struct{}

// shareOf returns the share of a request, nil for a stream.
func shareOf(ctx context.Context) *share {
	found, _ := ctx.Value(shareKey{}).(*share)
	return found
}

func (s *share) take(bytes int) error {
	if s == nil {
		return nil
	}
	if !s.budget.TryAcquire(int64(bytes)) {
		return wire.ConnectError(errBusy(), "")
	}
	s.held.Add(int64(bytes))
	return nil
}

func (s *share) release() { s.budget.Release(s.held.Swap(0)) }

// charged takes from the budget what is read.
type charged struct {
	io.Reader
	share *share
}

func (c charged) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if busy := c.share.take(n); busy != nil {
		return 0, busy
	}
	return n, err
}

// limitedBody is the body of a request.
type limitedBody struct {
	charged
	io.Closer
	done func() // called at the end of the body
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.charged.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

// expanders bounds how many bodies are expanded at a time, which no caller can slow
// down: as many as there are processors. Each takes what its window asks for beside
// what it yields.
type expanders chan struct{}

func newExpanders() expanders { return make(expanders, runtime.GOMAXPROCS(0)) }

// enter waits for the others. The caller leaves when it has expanded its body.
func (e expanders) enter(ctx context.Context) error {
	select {
	case e <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errBusy() // that nobody waits for
	}
}

func (e expanders) leave() { <-e }

// gzip makes what expands the messages of calls.
func (e expanders) gzip() connect.Decompressor { return &expander{expanders: e} }

// expander is among the others from its first byte until it is closed. What it reads
// from has arrived.
type expander struct {
	gzip.Reader
	expanders expanders
	entered   bool
}

func (e *expander) Read(p []byte) (int, error) {
	if !e.entered {
		e.expanders <- struct{}{}
		e.entered = true
	}
	return e.Reader.Read(p)
}

func (e *expander) Close() error {
	if e.entered {
		e.entered = false
		e.expanders.leave()
	}
	return e.Reader.Close()
}

// budgetInterceptor takes a call's message from the budget until it is answered:
// what it was as it arrived, compressed perhaps, is taken already.
type budgetInterceptor struct{}

func (budgetInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if message, ok := request.Any().(proto.Message); ok {
			if err := shareOf(ctx).take(proto.Size(message)); err != nil {
				return nil, err
			}
		}
		return next(ctx, request)
	}
}

func (budgetInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next // of a stream each message is bounded
}

func (budgetInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next // this process makes no calls through it
}

func errBusy() *edge.Error {
	return &edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "too many requests are under way", RetryAfter: time.Second}
}
