package httpsink

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"combotto.io/gateway/server/edge"
)

// replyMax is how much of a reply is read. What is longer costs its connection.
const replyMax = 64 << 10

// judge decides what a reply means.
func judge(ctx context.Context, response *http.Response, batch []edge.Delivery) edge.Outcome {
	outcome := edge.Outcome{Class: classOf(response.StatusCode), Status: strconv.Itoa(response.StatusCode)}
	body, err := io.ReadAll(io.LimitReader(response.Body, replyMax))
	if outcome.Class == edge.Delivered {
		return judgeAccepted(ctx, outcome, reply{plain(body), encodingOf(response.Header), err}, batch)
	}
	// The status has decided; the body is for people.
	outcome.Excerpt = edge.Excerpt(string(body))
	if outcome.Class == edge.Unavailable {
		outcome.RetryAfter = retryAfter(response.Header)
	}
	if location := response.Header.Get("Location"); location != "" {
		outcome.Excerpt = edge.Excerpt("redirects are not followed; Location: " + location)
	}
	return outcome
}

// judgeAccepted looks for rejected records in the reply of a 2xx.
func judgeAccepted(ctx context.Context, outcome edge.Outcome, answer reply, batch []edge.Delivery) edge.Outcome {
	if outcome.Status != "200" && outcome.Status != "207" || !answer.mayReject() {
		return outcome
	}
	if answer.err != nil {
		broken := unreachable(ctx, answer.err)
		broken.Excerpt = edge.Excerpt("the reply of a " + outcome.Status + " broke off: " + broken.Excerpt)
		return broken
	}
	if answer.encoding != "" {
		return doubt(outcome, batch, "the reply is encoded as "+answer.encoding+", though identity was asked for")
	}
	rejected, says := parseRejections(answer.body)
	refused, known := match(rejected, batch, outcome.Status)
	excerpt := edge.Excerpt(string(answer.body))
	switch {
	case says == unclear:
		return doubt(outcome, batch, "the reply does not tell whether it rejects records: "+excerpt)
	case says == listed && known:
		outcome.Refused = refused
	case len(batch) == 1:
		// A record was rejected, and there is no other.
		outcome.Refused = []edge.Refused{{Index: 0, Status: outcome.Status, Excerpt: excerpt}}
	default:
		outcome.Class = edge.Rejected
	}
	if outcome.Class == edge.Rejected || len(outcome.Refused) > 0 {
		outcome.Excerpt = excerpt
	}
	return outcome
}

// doubt decides about a reply that may reject records or accept them all. The
// batch is divided, since the reply to less may be clearer. A record alone may
// neither count as delivered, which could lose it, nor become a dead letter,
// since it may have been accepted: the lane pauses until an operator has seen
// to the receiver, and tries the record again now and then.
func doubt(outcome edge.Outcome, batch []edge.Delivery, excerpt string) edge.Outcome {
	outcome.Class = edge.Rejected
	if len(batch) == 1 {
		outcome.Class = edge.Misconfigured
	}
	outcome.Excerpt = edge.Excerpt(excerpt)
	return outcome
}

// classOf is the table of the package comment.
func classOf(status int) edge.Class {
	switch {
	case status >= 200 && status < 300:
		return edge.Delivered
	case status >= 500:
		switch status {
		case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNotExtended:
			return edge.Misconfigured
		}
		return edge.Unavailable
	}
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return edge.Rejected
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusLocked, http.StatusFailedDependency,
		http.StatusTooEarly, http.StatusTooManyRequests:
		return edge.Unavailable
	}
	return edge.Misconfigured
}

// retryAfter reads seconds or a date. A date is compared with the receiver's
// own clock where it says what that is, since the gateway's may be wrong.
func retryAfter(header http.Header) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, at.Sub(now))
}

// unreachable sorts the errors of a request that got no whole answer.
func unreachable(ctx context.Context, err error) edge.Outcome {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // without the URL, which may hold a secret
	}
	outcome := edge.Outcome{Class: edge.Unavailable, Status: "network error", Excerpt: edge.Excerpt(err.Error())}
	timeout, isNet := errors.AsType[net.Error](err)
	errno, isErrno := errors.AsType[syscall.Errno](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isTLS(err):
		outcome.Class, outcome.Status = edge.Misconfigured, "tls"
	case errors.Is(ctx.Err(), context.Canceled):
		outcome.Status = "stopped"
	case ctx.Err() != nil:
		outcome.Status = "timeout"
	case isDNS && dns.IsNotFound:
		outcome.Status = "no such host"
	case isDNS:
		outcome.Status = "name lookup failed"
	case isErrno:
		outcome.Status = errno.Error()
	case isNet && timeout.Timeout():
		outcome.Status = "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		outcome.Status = "connection closed"
	}
	return outcome
}

// isTLS tells whether the two sides cannot agree on a secure connection, which
// waiting does not mend. An alert has no exported type; its operation tells.
func isTLS(err error) bool {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	operation, ok := errors.AsType[*net.OpError](err)
	return ok && (operation.Op == "remote error" || operation.Op == "local error")
}
