package wire

import (
	"net/http"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"combotto.io/gateway/server/edge"
)

// Problem is the body of a refusal over HTTP (RFC 9457).
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Field     string `json:"field,omitzero"`
	Hint      string `json:"hint,omitzero"` // for whoever runs the gateway
	RequestID string `json:"request_id,omitzero"`

	retryAfter time.Duration
}

// ProblemType is the content type of a Problem.
const ProblemType = "application/problem+json"

// NewProblem describes an error to an HTTP client. Causes stay out of it.
func NewProblem(err error, requestID string) Problem {
	refused := edge.AsError(err)
	worded := answerTo(refused.Code)
	return Problem{
		Type:       "urn:combotto:problem:" + reasonOf(refused),
		Title:      worded.title,
		Status:     worded.http,
		Detail:     detail(refused),
		Field:      refused.Field,
		Hint:       refused.Hint,
		RequestID:  requestID,
		retryAfter: RetryAfter(refused),
	}
}

// Write answers a request with the problem, and with Retry-After where trying
// again makes sense.
func (p Problem) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", ProblemType)
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((p.retryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(p.Status)
	_ = jsonv2.MarshalWrite(w, p) // the client is gone
}

// reasonOf returns a word for the error that programs can rely on.
func reasonOf(refused *edge.Error) string {
	if refused.Reason != "" {
		return string(refused.Reason)
	}
	switch refused.Code {
	case edge.Unauthenticated, edge.Forbidden:
		return string(edge.ReasonUnauthorized)
	case edge.NotFound:
		return "not_found"
	case edge.Precondition:
		return "precondition"
	}
	return string(edge.ReasonInternal)
}

// detail is what the caller may read: the message, and its field.
func detail(refused *edge.Error) string {
	if refused.Field == "" {
		return refused.Message
	}
	return refused.Field + ": " + refused.Message
}
