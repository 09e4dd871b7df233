package wire_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// TestTable writes out how each code is answered, because clients depend on it.
func TestTable(t *testing.T) {
	type row struct {
		connect connect.Code
		http    int
		mqtt    byte
		retry   bool
	}
	want := map[edge.Code]row{
		edge.Internal:        {connect.CodeInternal, 500, 0x80, false},
		edge.Malformed:       {connect.CodeInvalidArgument, 400, 0x99, false},
		edge.Invalid:         {connect.CodeInvalidArgument, 422, 0x99, false},
		edge.TooLarge:        {connect.CodeInvalidArgument, 413, 0x99, false},
		edge.Unsupported:     {connect.CodeInvalidArgument, 415, 0x99, false},
		edge.Unauthenticated: {connect.CodeUnauthenticated, 401, 0x87, false},
		edge.Forbidden:       {connect.CodePermissionDenied, 403, 0x87, false},
		edge.NotFound:        {connect.CodeNotFound, 404, 0x87, false},
		edge.Conflict:        {connect.CodeAlreadyExists, 422, 0x83, false},
		edge.Precondition:    {connect.CodeFailedPrecondition, 409, 0x83, false},
		edge.Busy:            {connect.CodeResourceExhausted, 429, 0x97, true},
		edge.Full:            {connect.CodeUnavailable, 503, 0x97, true},
		edge.Stopping:        {connect.CodeUnavailable, 503, 0x80, true},
		edge.Stopping + 1:    {connect.CodeInternal, 500, 0x80, false}, // a code that is not there
	}
	// Reason codes that MQTT 5 allows in PUBACK and PUBREC.
	allowed := []byte{0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
	for code := edge.Internal; code <= edge.Stopping+1; code++ {
		got := row{wire.ConnectCode(code), wire.NewProblem(&edge.Error{Code: code}, "").Status, wire.MQTTReason(code), wire.RetryAfter(&edge.Error{Code: code}) > 0}
		if got != want[code] {
			t.Errorf("code %d: got %+v, want %+v", code, got, want[code])
		}
		if !slices.Contains(allowed, got.mqtt) {
			t.Errorf("code %d: 0x%x does not belong in an acknowledgement", code, got.mqtt)
		}
		if permanent := (&edge.Error{Code: code}).Permanent(); permanent && got.retry {
			t.Errorf("code %d is permanent, and the sender is told to try again", code)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	tests := map[string]struct {
		err  error
		want time.Duration
	}{
		"Said":      {&edge.Error{Code: edge.Full, RetryAfter: 90 * time.Second}, 90 * time.Second},
		"Default":   {edge.NewFull(), 5 * time.Second},
		"Pointless": {&edge.Error{Code: edge.Invalid, RetryAfter: time.Second}, 0},
		"Unknown":   {errors.New("disk on fire"), 0},
	}
	for name, test := range tests {
		if got := wire.RetryAfter(test.err); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// refused carries everything that an error can, the parts for the log included.
var refused = &edge.Error{
	Code: edge.Full, Reason: edge.ReasonFull, Field: "queue", Message: "the gateway is full", Hint: "see gatewayctl status",
	Details:    map[string]string{"sink": "analytics"},
	RetryAfter: 1500 * time.Millisecond, Err: errors.New("secret cause"),
}

func TestProblem_Write(t *testing.T) {
	recorder := httptest.NewRecorder()
	wire.NewProblem(refused, "r-1").Write(recorder)
	if diff := cmp.Diff([]string{"503", "application/problem+json", "2"},
		[]string{recorder.Result().Status[:3], recorder.Header().Get("Content-Type"), recorder.Header().Get("Retry-After")}); diff != "" {
		t.Error(diff)
	}
	want := `{"type":"urn:combotto:problem:full","title":"full","status":503,"detail":"queue: the gateway is full","field":"queue","hint":"see gatewayctl status","request_id":"r-1"}`
	if diff := cmp.Diff(want, recorder.Body.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNewProblem_Unexpected(t *testing.T) {
	recorder := httptest.NewRecorder()
	wire.NewProblem(errors.New("open /etc/secret: denied"), "").Write(recorder)
	want := `{"type":"urn:combotto:problem:internal","title":"internal error","status":500,"detail":"internal error"}`
	if diff := cmp.Diff(want, recorder.Body.String()); diff != "" {
		t.Error(diff)
	}
	if got := recorder.Header().Get("Retry-After"); got != "" {
		t.Errorf("Retry-After: %s", got)
	}
}

func TestConnectError(t *testing.T) {
	got := wire.ConnectError(refused, "r-1")
	if got.Code() != connect.CodeUnavailable || got.Message() != "queue: the gateway is full" {
		t.Errorf("got %v: %s", got.Code(), got.Message())
	}
	var details []proto.Message
	for _, detail := range got.Details() {
		message, err := detail.Value()
		if err != nil {
			t.Fatal(err)
		}
		details = append(details, message)
	}
	want := []proto.Message{
		&errdetails.ErrorInfo{Reason: "FULL", Domain: "combotto.io", Metadata: map[string]string{"request_id": "r-1", "hint": "see gatewayctl status", "sink": "analytics"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "queue", Description: "the gateway is full", Reason: "FULL"}}},
		&errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: 1, Nanos: 500_000_000}},
	}
	if diff := cmp.Diff(want, details, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestConnectError_Cause(t *testing.T) {
	for _, err := range []error{refused, errors.New("secret cause"), context.Canceled} {
		if got := wire.ConnectError(err, "").Error(); strings.Contains(got, "secret") {
			t.Errorf("the cause is shown: %s", got)
		}
	}
	if got := wire.ConnectError(context.DeadlineExceeded, ""); got.Code() != connect.CodeInternal {
		t.Errorf("got %v", got)
	}
}

func TestNewRefusal(t *testing.T) {
	want := &telemetryv1.Refusal{
		Code: telemetryv1.ErrorCode_ERROR_CODE_UNAVAILABLE, Reason: "full", Field: "queue", Message: "the gateway is full",
		RetryAfter: &durationpb.Duration{Seconds: 1, Nanos: 500_000_000}, RequestId: "r-1",
	}
	if diff := cmp.Diff(want, wire.NewRefusal(refused, "r-1"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	long := wire.NewRefusal(&edge.Error{Code: edge.Invalid, Message: strings.Repeat("é", 400) + "\xff", Field: strings.Repeat("f", 300)}, "")
	if len(long.GetMessage()) != 512 || len(long.GetField()) != 256 {
		t.Errorf("%d and %d bytes", len(long.GetMessage()), len(long.GetField()))
	}
	if _, err := proto.Marshal(long); err != nil {
		t.Error(err)
	}
}
