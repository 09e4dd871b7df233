package rpc

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/zstd"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

const contentTypeNDJSON = "application/x-ndjson"

// ingest answers POST /ingest/{device_id}.
func (s *Server) ingest(w http.ResponseWriter, r *http.Request) {
	device := edge.DeviceID(r.PathValue("device_id"))
	messages, encoding, single, err := s.messages(w, r, device)
	if err != nil {
		s.doors[edge.SourceHTTP].Refuse(string(edge.AsError(err).Reason), 1)
		s.refuse(w, r, err)
		return
	}
	results, err := s.submit(r, device, encoding, messages, single)
	switch {
	case err != nil: // the client is gone
	case single:
		s.answerOne(w, r, results[0])
	default:
		s.answerMany(w, r, results)
	}
}

// messages reads the payloads that a request carries for a device.
func (s *Server) messages(w http.ResponseWriter, r *http.Request, device edge.DeviceID) (payloads [][]byte, encoding edge.Encoding, single bool, err error) {
	if err := callerOf(r.Context()).mayPublish(device); err != nil {
		return nil, 0, false, err
	}
	body, err := s.readBody(w, r)
	if err != nil {
		return nil, 0, false, err
	}
	payloads, encoding, single, err = split(r, body)
	if encoding == edge.EncodingAuto {
		encoding = s.settings.DefaultEncoding
	}
	return payloads, encoding, single, err
}

// readBody reads the request's body and takes its content encoding off.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	encoding := r.Header.Get("Content-Encoding")
	switch encoding {
	case "", "identity", "gzip", "zstd":
	default:
		return nil, edge.Refuse(edge.Unsupported, edge.ReasonEncoding, "", "content encoding %.40q; send identity, gzip or zstd", encoding)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, edge.MaxBatchBytes))
	switch {
	case err != nil:
		return nil, bodyError(err)
	case encoding == "" || encoding == "identity":
		return body, nil
	}
	// Only now: a caller that sends slowly would hold what its body expands to.
	if err := s.expanders.enter(r.Context()); err != nil {
		return nil, err
	}
	defer s.expanders.leave()
	return expand(encoding, body, shareOf(r.Context()))
}

// expand takes a content encoding off. What that yields is taken from the budget as
// it comes.
func expand(encoding string, compressed []byte, share *share) ([]byte, error) {
	var reader io.Reader = bytes.NewReader(compressed)
	if encoding == "gzip" {
		decoder, err := gzip.NewReader(reader)
		if err != nil {
			return nil, bodyError(err)
		}
		reader = decoder
	} else {
		decoder, err := zstd.NewReader(reader, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*edge.MaxBatchBytes), zstd.WithDecoderMaxWindow(edge.MaxBatchBytes))
		if err != nil {
			return nil, bodyError(err)
		}
		defer decoder.Close()
		reader = decoder
	}
	body, err := io.ReadAll(io.LimitReader(charged{reader, share}, edge.MaxBatchBytes+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if len(body) > edge.MaxBatchBytes {
		return nil, tooLarge()
	}
	return body, nil
}

func tooLarge() error {
	return edge.Refuse(edge.TooLarge, edge.ReasonTooLarge, "", "body above %d bytes", edge.MaxBatchBytes)
}

func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return tooLarge()
	}
	if connect.CodeOf(err) == connect.CodeUnavailable {
		return errBusy()
	}
	refusal := edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "the body cannot be read")
	refusal.Err = err
	return refusal
}

// split cuts a body into the payloads of its messages. A body that is one
// object is a single message and is answered as such.
func split(r *http.Request, body []byte) (payloads [][]byte, encoding edge.Encoding, single bool, err error) {
	contentType := r.Header.Get("Content-Type")
	if mediaType, _, err := mime.ParseMediaType(contentType); err == nil && mediaType == contentTypeNDJSON {
		payloads, err := splitLines(body)
		return payloads, edge.EncodingJSON, false, err
	}
	if encoding, err = wire.EncodingOf(contentType); err != nil {
		return nil, 0, false, err
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); encoding != edge.EncodingProtobuf && len(trimmed) > 0 && trimmed[0] == '[' {
		payloads, err := splitArray(trimmed)
		return payloads, edge.EncodingJSON, false, err
	}
	return [][]byte{body}, encoding, true, nil
}

func splitLines(body []byte) ([][]byte, error) {
	var payloads [][]byte
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			payloads = append(payloads, line)
		}
	}
	return payloads, checkCount(len(payloads))
}

func splitArray(body []byte) ([][]byte, error) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := decoder.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	var payloads [][]byte
	for decoder.PeekKind() != ']' {
		value, err := decoder.ReadValue()
		if err != nil {
			return nil, notJSON(err)
		}
		if payloads = append(payloads, bytes.Clone(value)); len(payloads) > edge.MaxBatchMessages {
			return nil, checkCount(len(payloads))
		}
	}
	if _, err := decoder.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := decoder.ReadToken(); err != io.EOF {
		return nil, edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "something follows the array")
	}
	return payloads, checkCount(len(payloads))
}

func notJSON(err error) error {
	return edge.Refuse(edge.Malformed, edge.ReasonMalformed, "", "not JSON: %v", err)
}

func checkCount(messages int) error {
	if messages == 0 || messages > edge.MaxBatchMessages {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "", "1 to %d messages are allowed in one request", edge.MaxBatchMessages)
	}
	return nil
}

// submit hands every message to ingest and waits for the commit.
func (s *Server) submit(r *http.Request, device edge.DeviceID, encoding edge.Encoding, payloads [][]byte, single bool) ([]result, error) {
	key, receivedAt := r.Header.Get("Idempotency-Key"), time.Now().UTC()
	decoder := wire.NewDecoder()
	answers := newWaiter(len(payloads))
	for i, payload := range payloads {
		submission := edge.Submission{Record: edge.Record{
			Device: device, Source: edge.SourceHTTP, ReceivedAt: receivedAt, Payload: payload,
			TraceParent: r.Header.Get("Traceparent"),
		}}
		submission.Telemetry, submission.Record.Encoding, submission.Fault = decoder.Decode(encoding, payload)
		if key != "" {
			submission.Record.Identity = edge.Identity{MessageID: key, Explicit: true}
			if !single {
				submission.Record.Identity.MessageID = key + "/" + strconv.Itoa(i)
			}
		}
		answers.offer(r.Context(), s, i, &submission)
	}
	return answers.wait(r.Context())
}

// receiptJSON is the answer to one accepted message.
type receiptJSON struct {
	CorrelationID string `json:"correlation_id"`
	Duplicate     bool   `json:"duplicate"`
}

// refusalJSON is the answer to one refused message of several.
type refusalJSON struct {
	Error wire.Problem `json:"error"`
}

func (s *Server) answerOne(w http.ResponseWriter, r *http.Request, answer result) {
	if answer.err != nil {
		s.refuse(w, r, answer.err)
		return
	}
	writeJSON(w, http.StatusAccepted, receiptJSON{answer.receipt.Correlation.String(), answer.receipt.Duplicate})
}

// answerMany answers 202 when everything was accepted and 207 when something
// was. When nothing was, it answers 422, unless all of it failed for a reason
// that is worth a retry: then the answer is that reason's.
func (s *Server) answerMany(w http.ResponseWriter, r *http.Request, answers []result) {
	results, accepted := make([]any, len(answers)), 0
	var retry *edge.Error
	for i, answer := range answers {
		if answer.err == nil {
			results[i] = receiptJSON{answer.receipt.Correlation.String(), answer.receipt.Duplicate}
			accepted++
			continue
		}
		refusal := s.visible(r.Context(), answer.err)
		if !refusal.Permanent() {
			retry = refusal
		}
		results[i] = refusalJSON{wire.NewProblem(refusal, requestID(r.Context()))}
	}
	status := http.StatusMultiStatus
	switch {
	case accepted == len(answers):
		status = http.StatusAccepted
	case accepted == 0 && retry != nil:
		s.refuse(w, r, retry)
		return
	case accepted == 0:
		status = http.StatusUnprocessableEntity
	}
	writeJSON(w, status, map[string]any{"results": results})
}

// refuse answers with the problem of an error.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := s.visible(r.Context(), err)
	wire.NewProblem(refusal, requestID(r.Context())).Write(w)
}

// visible returns what the caller may see of an error; the rest is logged under
// the request's id.
func (s *Server) visible(ctx context.Context, err error) *edge.Error {
	refusal := edge.AsError(err)
	if refusal.Code == edge.Internal {
		s.Observer.Log.ErrorContext(ctx, "request failed", "request_id", requestID(ctx), "error", fmt.Sprint(err))
	}
	return refusal
}
