package rpc

import (
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// bodyBudget bounds the bodies of all requests that are under way, as they
// arrive: a caller that sends slowly holds what it has sent, and no more.
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
		body := &limitedBody{ReadCloser: r.Body, budget: budget, done: func() { _ = deadline.SetReadDeadline(time.Time{}) }}
		defer body.release()
		r.Body = body
		next.ServeHTTP(w, r)
	})
}

// limitedBody takes from the budget what it reads, until the request is done.
type limitedBody struct {
	io.ReadCloser
	budget *semaphore.Weighted
	held   int64
	done   func() // called at the end of the body
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.budget.TryAcquire(int64(n)) {
		return 0, wire.ConnectError(errBusy(), "")
	}
	b.held += int64(n)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *limitedBody) release() { b.budget.Release(b.held) }

func errBusy() *edge.Error {
	return &edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "too many requests are under way", RetryAfter: time.Second}
}
