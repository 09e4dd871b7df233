package analytics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	analyticsv1 "combotto.io/gateway/gen/go/gateway/analytics/v1"
)

// bodyMax bounds one request: 10,000 records of 3 KiB.
const bodyMax = 32 << 20

// result answers a request.
type result struct {
	Accepted   int        `json:"accepted"`
	Duplicates int        `json:"duplicates"`
	Rejected   []rejected `json:"rejected,omitempty"`
}

type rejected struct {
	CorrelationID string `json:"correlation_id"`
	Status        int    `json:"status"`
	Reason        string `json:"reason"`
}

// refusal is why a request as a whole is not taken.
type refusal struct {
	status     int
	reason     string
	retryAfter time.Duration
}

func (r *refusal) Error() string { return r.reason }

// post is the HTTP door.
func (r *Receiver) post(w http.ResponseWriter, request *http.Request) {
	// The body is read in any case: an answer that comes before its end is a
	// broken connection to many clients.
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, bodyMax))
	result, err := r.take(request.Context(), func() ([]record, error) {
		if err != nil {
			return nil, &refusal{status: http.StatusRequestEntityTooLarge, reason: err.Error()}
		}
		return parseBody(request.Header.Get("Content-Type"), body)
	})
	if refused, ok := errors.AsType[*refusal](err); ok {
		if refused.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(refused.retryAfter.Seconds()+0.5)))
		}
		http.Error(w, refused.reason, refused.status)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, result)
}

func parseBody(contentType string, body []byte) (records []record, err error) {
	media, _, _ := mime.ParseMediaType(contentType)
	switch media {
	case "application/x-ndjson":
		records, err = parseLines(body)
	case "application/json":
		records, err = parseArray(body)
	case "application/protobuf", "application/x-protobuf":
		var message analyticsv1.IngestRequest
		if err = proto.Unmarshal(body, &message); err == nil {
			records, err = parseMessage(&message)
		}
	default:
		return nil, &refusal{status: http.StatusUnsupportedMediaType, reason: fmt.Sprintf("content type %q is not supported", media)}
	}
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, reason: err.Error()}
	}
	return records, nil
}

// service is the Connect and gRPC door.
type service struct{ receiver *Receiver }

// Ingest implements analyticsv1connect.AnalyticsServiceHandler.
func (s service) Ingest(ctx context.Context, request *analyticsv1.IngestRequest) (*analyticsv1.IngestResponse, error) {
	result, err := s.receiver.take(ctx, func() ([]record, error) {
		records, err := parseMessage(request)
		if err != nil {
			return nil, &refusal{status: http.StatusBadRequest, reason: err.Error()}
		}
		return records, nil
	})
	if refused, ok := errors.AsType[*refusal](err); ok {
		return nil, connect.NewError(codeOf(refused.status), refused)
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	response := &analyticsv1.IngestResponse{Accepted: uint32(result.Accepted)}
	for _, r := range result.Rejected {
		response.Rejected = append(response.Rejected, &analyticsv1.RejectedRecord{
			CorrelationId: r.CorrelationID, Status: uint32(r.Status), Reason: r.Reason,
		})
	}
	return response, nil
}

// codeOf translates the status of a scripted fault.
func codeOf(status int) connect.Code {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return connect.CodeInvalidArgument
	case http.StatusUnauthorized:
		return connect.CodeUnauthenticated
	case http.StatusForbidden:
		return connect.CodePermissionDenied
	case http.StatusNotFound:
		return connect.CodeNotFound
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return connect.CodeResourceExhausted
	case http.StatusNotImplemented:
		return connect.CodeUnimplemented
	}
	return connect.CodeUnavailable
}

// take is one request, whatever the door: fail as scripted, read, accept.
func (r *Receiver) take(ctx context.Context, read func() ([]record, error)) (result, error) {
	faults := r.currentFaults()
	r.count(func(c *Counts) { c.Requests++ })
	err := faults.strike(ctx)
	var records []record
	if err == nil {
		records, err = read()
	}
	if err == nil {
		err = faults.refuseWhole(records)
	}
	if err != nil {
		r.count(func(c *Counts) { c.Failed++ })
		return result{}, err
	}
	return r.accept(records, faults)
}

// accept records, remembers and counts what the script does not reject.
func (r *Receiver) accept(records []record, faults Faults) (result, error) {
	var answer result
	var lines []byte
	accepted := records[:0]
	for _, record := range records {
		if reason := faults.rejects(&record); reason != "" {
			answer.Rejected = append(answer.Rejected, rejected{record.CorrelationID, http.StatusUnprocessableEntity, reason})
			continue
		}
		accepted = append(accepted, record)
		lines = append(append(lines, record.line...), '\n')
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.record != nil && len(lines) > 0 {
		if _, err := r.record.Write(lines); err != nil {
			r.counts.Failed++
			return result{}, fmt.Errorf("record batch: %w", err)
		}
	}
	for i := range accepted {
		if r.ids.seen(accepted[i].key()) {
			answer.Duplicates++
			continue
		}
		r.track(&accepted[i])
	}
	answer.Accepted = len(accepted)
	r.counts.Received += int64(len(records))
	r.counts.Rejected += int64(len(answer.Rejected))
	r.counts.Duplicates += int64(answer.Duplicates)
	r.counts.Unique += int64(answer.Accepted - answer.Duplicates)
	return answer, nil
}

func (r *Receiver) count(change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
}
