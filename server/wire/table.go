package wire

import (
	"net/http"
	"time"

	"connectrpc.com/connect"

	"combotto.io/gateway/server/edge"
)

// answer is how each protocol words one code of [edge.Error].
type answer struct {
	title   string // of problem+json
	connect connect.Code
	http    int
	mqtt    byte          // reason code of PUBACK and PUBREC in MQTT 5
	retry   time.Duration // when to try again, where the error does not say; 0 means that trying again is useless
}

// Reason codes of MQTT 5 that an acknowledgement may carry.
const (
	mqttUnspecified    = 0x80
	mqttImplementation = 0x83
	mqttNotAuthorized  = 0x87
	mqttQuotaExceeded  = 0x97
	mqttPayloadInvalid = 0x99
)

// answers is the one table of refusals.
//
// TooLarge is not resource_exhausted, which promises that the same request may
// succeed later. A conflict is 422, as the draft for Idempotency-Key asks.
// NotFound is 0x87 in MQTT, so that a stranger cannot probe for devices.
var answers = [...]answer{
	edge.Internal:        {"internal error", connect.CodeInternal, http.StatusInternalServerError, mqttUnspecified, 0},
	edge.Malformed:       {"malformed", connect.CodeInvalidArgument, http.StatusBadRequest, mqttPayloadInvalid, 0},
	edge.Invalid:         {"invalid", connect.CodeInvalidArgument, http.StatusUnprocessableEntity, mqttPayloadInvalid, 0},
	edge.TooLarge:        {"too large", connect.CodeInvalidArgument, http.StatusRequestEntityTooLarge, mqttPayloadInvalid, 0},
	edge.Unsupported:     {"unsupported encoding", connect.CodeInvalidArgument, http.StatusUnsupportedMediaType, mqttPayloadInvalid, 0},
	edge.Unauthenticated: {"not authenticated", connect.CodeUnauthenticated, http.StatusUnauthorized, mqttNotAuthorized, 0},
	edge.Forbidden:       {"not allowed", connect.CodePermissionDenied, http.StatusForbidden, mqttNotAuthorized, 0},
	edge.NotFound:        {"not found", connect.CodeNotFound, http.StatusNotFound, mqttNotAuthorized, 0},
	edge.Conflict:        {"conflict", connect.CodeAlreadyExists, http.StatusUnprocessableEntity, mqttImplementation, 0},
	edge.Precondition:    {"wrong state", connect.CodeFailedPrecondition, http.StatusConflict, mqttImplementation, 0},
	edge.Busy:            {"too many requests", connect.CodeResourceExhausted, http.StatusTooManyRequests, mqttQuotaExceeded, time.Second},
	edge.Full:            {"full", connect.CodeUnavailable, http.StatusServiceUnavailable, mqttQuotaExceeded, 5 * time.Second},
	edge.Stopping:        {"stopping", connect.CodeUnavailable, http.StatusServiceUnavailable, mqttUnspecified, 5 * time.Second},
}

func answerTo(code edge.Code) answer {
	if int(code) >= len(answers) {
		code = edge.Internal
	}
	return answers[code]
}

// ConnectCode returns the Connect and gRPC code for an error's code.
func ConnectCode(code edge.Code) connect.Code { return answerTo(code).connect }

// MQTTReason returns the reason code with which MQTT 5 acknowledges a message
// that was refused. Publishers take any of them as final, so a door that is
// stopping, or that refuses for a reason which will pass, does better to close
// the connection before it acknowledges.
func MQTTReason(code edge.Code) byte { return answerTo(code).mqtt }

// RetryAfter returns when a caller may try again: what the error says, else a
// default. 0 means that trying again is useless.
func RetryAfter(err error) time.Duration {
	refused := edge.AsError(err)
	fallback := answerTo(refused.Code).retry
	if fallback > 0 && refused.RetryAfter > 0 {
		return refused.RetryAfter
	}
	return fallback
}
