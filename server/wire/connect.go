package wire

import (
	"errors"
	"maps"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
)

// ErrorDomain is the domain of google.rpc.ErrorInfo.
const ErrorDomain = "combotto.io"

// ConnectError describes an error to a Connect, gRPC or gRPC-Web client:
// ErrorInfo always, BadRequest where a field is to blame, RetryInfo where trying
// again makes sense. Causes stay out of it.
func ConnectError(err error, requestID string) *connect.Error {
	refused := edge.AsError(err)
	answer := connect.NewError(ConnectCode(refused.Code), errors.New(detail(refused)))
	info := &errdetails.ErrorInfo{Reason: strings.ToUpper(reasonOf(refused)), Domain: ErrorDomain, Metadata: map[string]string{}}
	maps.Copy(info.Metadata, refused.Details)
	if requestID != "" {
		info.Metadata["request_id"] = requestID
	}
	if refused.Hint != "" {
		info.Metadata["hint"] = refused.Hint
	}
	addDetail(answer, info)
	if refused.Field != "" {
		addDetail(answer, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: refused.Field, Description: refused.Message, Reason: info.Reason},
		}})
	}
	if retryAfter := RetryAfter(refused); retryAfter > 0 {
		addDetail(answer, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	return answer
}

func addDetail(answer *connect.Error, message proto.Message) {
	if added, err := connect.NewErrorDetail(message); err == nil { // it fails on invalid UTF-8 only: better no detail than no answer
		answer.AddDetail(added)
	}
}

// NewRefusal describes the refusal of one message of several.
func NewRefusal(err error, requestID string) *telemetryv1.Refusal {
	refused := edge.AsError(err)
	message := &telemetryv1.Refusal{
		Code:      telemetryv1.ErrorCode(ConnectCode(refused.Code)), // the numbers are the same
		Reason:    reasonOf(refused),
		Field:     clip(refused.Field, 256),
		Message:   clip(refused.Message, 512),
		RequestId: requestID,
	}
	if retryAfter := RetryAfter(refused); retryAfter > 0 {
		message.RetryAfter = durationpb.New(retryAfter)
	}
	return message
}

// clip cuts text to a number of bytes and keeps it valid UTF-8.
func clip(text string, bytes int) string {
	if len(text) > bytes {
		text = text[:bytes]
	}
	return strings.ToValidUTF8(text, "")
}
