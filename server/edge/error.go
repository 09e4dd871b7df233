package edge

import (
	"errors"
	"fmt"
	"time"
)

// Code says what the caller can do about an error. It is the only part of an
// error that decides an answer; package wire owns the tables that turn it into
// a Connect code, an HTTP status and an MQTT reason.
type Code uint8

// The codes. There is no code for success: success is a nil error. Keep the
// list short: a new code needs a caller that acts on it.
const (
	Internal        Code = iota // our bug or our disk; details are in the log only
	Malformed                   // cannot be parsed: fix the encoding
	Invalid                     // parsed, but means nothing valid: fix the content
	TooLarge                    // make it smaller
	Unsupported                 // content type or content encoding
	Unauthenticated             // show who you are
	Forbidden                   // you may not
	NotFound
	Conflict     // the same key was used for something else
	Precondition // not in this state: see the message
	Busy         // your quota: slow down, then try again
	Full         // the gateway's storage: try again later
	Stopping     // the gateway is going down: try again elsewhere or later
)

// Reason is the closed list of why a message was refused at the door. It is a
// label of gateway_ingest_rejected_total and the reason of an ingress dead
// letter.
type Reason string

// The reasons.
const (
	ReasonMalformed     Reason = "malformed"      // not JSON, not protobuf, truncated
	ReasonEncoding      Reason = "encoding"       // invalid UTF-8, unknown content type
	ReasonDuplicateKey  Reason = "duplicate_key"  // the same JSON key twice
	ReasonDepth         Reason = "depth"          // nested too deeply
	ReasonMissingField  Reason = "missing_field"  // a required field is absent
	ReasonWrongType     Reason = "wrong_type"     // a field has another type
	ReasonOutOfRange    Reason = "out_of_range"   // too long, too many, too big, bad characters
	ReasonSchemaVersion Reason = "schema_version" // a version this gateway does not know
	ReasonDevice        Reason = "device"         // another device's id, or not a device id
	ReasonTooLarge      Reason = "too_large"      // above ingest.max_payload
	ReasonUnauthorized  Reason = "unauthorized"   // who you are, or what you may
	ReasonConflict      Reason = "conflict"       // explicit key used for another payload
	ReasonBusy          Reason = "busy"           // this device's quota
	ReasonFull          Reason = "full"           // no room
	ReasonStopping      Reason = "stopping"       // shutting down
	ReasonInternal      Reason = "internal"       // our fault
)

// Reasons lists every reason once.
var Reasons = [...]Reason{
	ReasonMalformed, ReasonEncoding, ReasonDuplicateKey, ReasonDepth, ReasonMissingField, ReasonWrongType,
	ReasonOutOfRange, ReasonSchemaVersion, ReasonDevice, ReasonTooLarge, ReasonUnauthorized, ReasonConflict,
	ReasonBusy, ReasonFull, ReasonStopping, ReasonInternal,
}

// Error is an error that is safe to show to the caller. Everything that is not
// an Error is shown as "internal error" with a request id, and logged.
type Error struct {
	Code    Code
	Reason  Reason // set for refusals at a door, else empty
	Field   string // the offending field as a path, when one is known
	Message string // written for the caller, no trailing period
	Hint    string // what to check, which command
	// Details are facts for programs, such as the sink that holds a full queue's
	// room: a few, by names like "sink", and safe to show like the message.
	Details    map[string]string
	RetryAfter time.Duration // when to try again, where it is known; else package wire has a default per code
	Err        error         // the cause, for logs only
}

func (e *Error) Error() string {
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", text, e.Err)
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent reports whether the same message will always be refused, so that
// resending it is useless.
func (e *Error) Permanent() bool {
	switch e.Code {
	case Malformed, Invalid, TooLarge, Unsupported, Conflict:
		return true
	}
	return false
}

// AsError returns err as an [Error]. Any other error becomes Internal with err
// as its hidden cause.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, Reason: ReasonInternal, Message: "internal error", Err: err}
}

// Refuse builds the error for a message that can never be accepted as it is.
func Refuse(code Code, reason Reason, field, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)}
}

// NewFull builds the error for a message that finds no room.
func NewFull() *Error {
	return &Error{
		Code: Full, Reason: ReasonFull, Message: "the gateway's storage is full",
		Hint: "free space on the disk, raise queue.max_bytes, or see which sink holds records back: gatewayctl status",
	}
}

// NewStopping builds the error for a message that comes when nothing is taken
// any more.
func NewStopping() *Error {
	return &Error{
		Code: Stopping, Reason: ReasonStopping, Message: "the gateway is stopping",
		Hint: "send again once it has started; what was acknowledged is stored",
	}
}
