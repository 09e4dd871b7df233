package rpc

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/wire"
)

// Caller is who makes a request, and what they may do.
type Caller struct {
	Name     string
	Operator bool          // may read and administer
	Device   edge.DeviceID // may publish for this device only; empty with Operator means any
}

// Authenticator tells who is calling. It fails with an [edge.Error] of code
// Unauthenticated or Forbidden; there is no default that admits anybody.
type Authenticator interface {
	Authenticate(r *http.Request) (Caller, error)
}

type callerKey struct{}

type requestKey struct{}

// identify gives each request an id, which appears in errors and in the log.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := uuid.NewString()
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		ctx := context.WithValue(r.Context(), requestKey{}, id)
		if trace, ok := observe.ParseTraceParent(r.Header.Get("Traceparent")); ok {
			ctx = observe.ContextWith(ctx, trace)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// authenticate stops requests of callers that nobody knows, before anything of
// their body is read, decompressed or decoded.
func (s *Server) authenticate(next http.Handler) http.Handler {
	writer := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.Authenticator.Authenticate(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
		case writer.IsSupported(r):
			_ = writer.Write(w, r, wire.ConnectError(edge.AsError(err), requestID(r.Context()))) // the client is gone
		default:
			s.refuse(w, r, err)
		}
	})
}

// callerOf returns the caller that authenticate found. Without one nobody may
// do anything.
func callerOf(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)
	return caller
}

// mayPublish refuses a caller that may not publish for the device.
func (c Caller) mayPublish(device edge.DeviceID) error {
	if c.Device == device && device != "" || c.Operator && c.Device == "" {
		return nil
	}
	return &edge.Error{Code: edge.Forbidden, Reason: edge.ReasonUnauthorized, Message: "the caller may not publish for this device"}
}

// mustOperate refuses a caller that is no operator.
func mustOperate(ctx context.Context) error {
	if callerOf(ctx).Operator {
		return nil
	}
	return &edge.Error{Code: edge.Forbidden, Reason: edge.ReasonUnauthorized, Message: "this call is for operators"}
}

// errorInterceptor writes every error for the reader of the protocol: the text
// of a cause never leaves the process.
type errorInterceptor struct{ server *Server }

func (i errorInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		response, err := next(ctx, request)
		return response, i.server.connectError(ctx, err)
	}
}

func (i errorInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, stream connect.StreamingHandlerConn) error {
		return i.server.connectError(ctx, next(ctx, stream))
	}
}

func (i errorInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next // this process makes no calls through it
}

func (s *Server) connectError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if already, ok := errors.AsType[*connect.Error](err); ok {
		return already
	}
	if ctx.Err() != nil {
		return connect.NewError(connect.CodeCanceled, errors.New("the caller is gone"))
	}
	return wire.ConnectError(s.visible(ctx, err), requestID(ctx))
}

func (s *Server) recovered(ctx context.Context, spec connect.Spec, _ http.Header, cause any) error {
	s.Observer.Log.ErrorContext(ctx, "handler panicked", "procedure", spec.Procedure, "request_id", requestID(ctx), "panic", cause)
	return &edge.Error{Code: edge.Internal, Reason: edge.ReasonInternal, Message: "internal error"}
}
