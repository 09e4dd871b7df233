package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// The exit codes.
const (
	exitDone         = 0
	exitFailed       = 1
	exitUsage        = 2
	exitNotReachable = 3
	exitFound        = 4
)

// failure ends the command with an exit code.
type failure struct {
	code    int
	message string // empty: everything was said already
	hint    string // what to check, or which command to type; may be empty
}

func (f *failure) Error() string { return f.message }

func (f *failure) print(w io.Writer) {
	if f.message != "" {
		fmt.Fprintln(w, "gatewayctl:", f.message)
	}
	if f.hint != "" {
		fmt.Fprintln(w, "  hint:", f.hint)
	}
}

func usage(message, hint string) error {
	return &failure{code: exitUsage, message: message, hint: hint}
}

// explain turns what a call came to into a failure. The hint for something that
// was not found is the caller's: only it knows what was looked for.
func (a *application) explain(err error, notFound string) error {
	code, message := connect.CodeOf(err), err.Error()
	if answer, ok := errors.AsType[*connect.Error](err); ok {
		message = answer.Message()
	}
	answered := connect.IsWireError(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || code == connect.CodeDeadlineExceeded:
		return &failure{exitNotReachable, fmt.Sprintf("no answer from %s within %s", a.url, a.timeout), "a busy gateway may need a longer --timeout"}
	case !answered && code == connect.CodeUnavailable:
		return &failure{exitNotReachable, "the gateway at " + a.url + " is not reachable: " + printable(message), "check that it runs, and that --url or " + urlVariable + " is its http.addr; start one with: gateway serve --dev"}
	case !answered:
		return &failure{exitFailed, printable(message), "what answers at " + a.url + " may be no gateway: check --url"}
	}
	hint := hintOf(err)
	if hint == "" {
		hint = hintFor(code, notFound)
	}
	return &failure{exitFailed, code.String() + ": " + printable(message), hint}
}

// hintOf returns the hint that the gateway gave with an error, if it gave one.
func hintOf(err error) string {
	answer, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ""
	}
	for _, detail := range answer.Details() {
		value, err := detail.Value()
		if err != nil {
			continue // a detail of a newer gateway
		}
		if info, ok := value.(*errdetails.ErrorInfo); ok {
			return printable(info.GetMetadata()["hint"])
		}
	}
	return ""
}

func hintFor(code connect.Code, notFound string) string {
	switch code {
	case connect.CodeNotFound:
		return notFound
	case connect.CodeInvalidArgument:
		return "the command's --help says what it takes"
	case connect.CodeUnimplemented:
		return "this gateway does not have this yet; gatewayctl status shows its version"
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return "this gateway wants to know who is calling"
	case connect.CodeUnavailable:
		return "the gateway is full or stopping; gatewayctl status shows which"
	case connect.CodeInternal, connect.CodeUnknown:
		return "the gateway's log has the cause"
	}
	return ""
}
