package rpc

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"runtime"
	"sync"
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
// what it has sent, and no more. The messages that arrive on streams have a budget of
// their own, of the same size.
const bodyBudget = 64 << 20

// limitBodies gives each body a deadline and a share of the budget. A stream lives as
// long as its caller likes: each of its messages has them.
func limitBodies(next http.Handler) http.Handler {
	bodies, arriving := semaphore.NewWeighted(bodyBudget), semaphore.NewWeighted(bodyBudget)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		deadline := func(at time.Time) { _ = controller.SetReadDeadline(at) } // a recorder in a test has none
		switch r.URL.Path {
		case telemetryv1connect.TelemetryServiceTailProcedure: // its one message is small, and its caller an operator
		case telemetryv1connect.TelemetryServicePublishStreamProcedure:
			body := &streamBody{ReadCloser: r.Body, share: share{budget: arriving}, deadline: deadline}
			defer body.share.end()
			r = r.WithContext(context.WithValue(r.Context(), streamBodyKey{}, body))
			r.Body = body
		default:
			deadline(time.Now().Add(readBodyTimeout))
			taken := &share{budget: bodies}
			defer taken.end()
			r = r.WithContext(context.WithValue(r.Context(), shareKey{}, taken))
			r.Body = &limitedBody{charged: charged{r.Body, taken}, Closer: r.Body, done: func() { deadline(time.Time{}) }}
		}
		next.ServeHTTP(w, r)
	})
}

// share is what a request has taken of a budget, until it is done.
type share struct {
	budget *semaphore.Weighted

	mu    sync.Mutex
	held  int64
	ended bool
}

type shareKey struct{}

// shareOf returns the share of a request that is no stream, or nil.
func shareOf(ctx context.Context) *share {
	found, _ := ctx.Value(shareKey{}).(*share)
	return found
}

func (s *share) take(bytes int) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.budget.TryAcquire(int64(bytes)) {
		return wire.ConnectError(errBusy(), "")
	}
	s.held += int64(bytes)
	return nil
}

// release gives everything back.
func (s *share) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget.Release(s.held)
	s.held = 0
}

// end gives everything back for good: of a stream, another goroutine may still read.
func (s *share) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.release()
}

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

// smallMessage is how much of a stream's message costs nothing: what a device sends
// goes on while others hold the budget.
const smallMessage = 4 << 10

// streamBody is the body of a stream of messages. One goroutine reads it, and says
// when it has taken a message.
type streamBody struct {
	io.ReadCloser
	share    share
	deadline func(time.Time)
	arriving int  // bytes of the message that arrives
	timed    bool // it has a deadline
}

type streamBodyKey struct{}

// streamBodyOf returns the body of a stream that comes through limitBodies.
func streamBodyOf(ctx context.Context) *streamBody { return ctx.Value(streamBodyKey{}).(*streamBody) }

func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.arriving += n; b.arriving <= smallMessage {
		return n, err
	}
	if busy := b.share.take(n); busy != nil {
		return 0, busy
	}
	if !b.timed {
		b.timed = true
		b.setDeadline(time.Now().Add(readBodyTimeout))
	}
	return n, err
}

// setDeadline does nothing after the call: net/http would panic.
func (b *streamBody) setDeadline(at time.Time) {
	b.share.mu.Lock()
	defer b.share.mu.Unlock()
	if !b.share.ended {
		b.deadline(at)
	}
}

// arrived ends the deadline of a message, and takes what it has expanded to.
func (b *streamBody) arrived(message proto.Message) error {
	expanded := proto.Size(message) - b.arriving
	b.arriving = 0
	if b.timed {
		b.timed = false
		b.setDeadline(time.Time{})
	}
	if expanded <= smallMessage {
		return nil
	}
	return b.share.take(expanded)
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
	return next // its body takes each message
}

func (budgetInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next // this process makes no calls through it
}

func errBusy() *edge.Error {
	return &edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "too many requests are under way", RetryAfter: time.Second}
}
