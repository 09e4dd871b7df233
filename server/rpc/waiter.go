package rpc

import (
	"context"
	"sync"

	"combotto.io/gateway/server/edge"
)

// result is what became of one message of a request.
type result struct {
	receipt edge.Receipt
	err     error
}

// waiter gathers the answers to the messages of one request. The token of a
// submission is its index.
type waiter struct {
	results []result
	done    chan struct{} // closed when nothing is outstanding

	mu          sync.Mutex
	outstanding int
}

func newWaiter(messages int) *waiter {
	return &waiter{results: make([]result, messages), done: make(chan struct{}), outstanding: messages}
}

// Reply implements [edge.Replier]. Nothing is gathered for a flush: a waiting
// request is woken by its last answer.
func (w *waiter) Reply(token uint64, receipt edge.Receipt, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results[token] = result{receipt, err}
	if w.outstanding--; w.outstanding == 0 {
		close(w.done)
	}
	return false
}

// Flush implements [edge.Replier].
func (w *waiter) Flush() {}

// offer submits one message; a refusal is its answer. Ingest counts what can
// never be valid; what the queue does not take now is given up here.
func (w *waiter) offer(ctx context.Context, s *Server, index int, submission *edge.Submission) {
	submission.Replier, submission.Token = w, uint64(index)
	err := s.Submitter.Offer(ctx, submission)
	if err == nil {
		return
	}
	if refusal := edge.AsError(err); !refusal.Permanent() {
		s.doors[submission.Record.Source].Refuse(string(refusal.Reason), 1)
	}
	w.Reply(uint64(index), edge.Receipt{}, err)
}

// wait returns the answers to all messages. When ctx ends first, the caller is
// gone: messages that were taken stay taken, and nobody hears of it.
func (w *waiter) wait(ctx context.Context) ([]result, error) {
	select {
	case <-w.done:
		return w.results, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
