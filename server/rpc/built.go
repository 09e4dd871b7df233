package rpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	"combotto.io/gateway/gen/go/gateway/dlq/v1/dlqv1connect"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
)

// built are the procedures of the contracts that this version answers. All
// others answer UNIMPLEMENTED, whatever the request says.
var built = map[string]bool{
	telemetryv1connect.TelemetryServicePublishProcedure:       true,
	telemetryv1connect.TelemetryServicePublishStreamProcedure: true,
	telemetryv1connect.TelemetryServiceTailProcedure:          true,
	adminv1connect.AdminServiceGetStatusProcedure:             true,
	adminv1connect.AdminServiceGetMessageProcedure:            true,
	adminv1connect.AdminServiceGetConfigProcedure:             true,
	adminv1connect.AdminServiceGetForecastProcedure:           true,
	adminv1connect.AdminServiceVerifyLedgerProcedure:          true,
	adminv1connect.AdminServiceListLossesProcedure:            true,
	adminv1connect.AdminServiceBackupQueueProcedure:           true,
	sinkv1connect.SinkServiceListSinksProcedure:               true,
	sinkv1connect.SinkServiceDeleteSinkProcedure:              true,
	dlqv1connect.DLQServiceListDeadLettersProcedure:           true,
	dlqv1connect.DLQServiceGetDeadLetterProcedure:             true,
	dlqv1connect.DLQServiceRequeueDeadLettersProcedure:        true,
}

// builtInterceptor answers for procedures that are not built, before their
// request is validated: nobody should mend a request for nothing.
type builtInterceptor struct{}

func (builtInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if err := checkBuilt(request.Spec()); err != nil {
			return nil, err
		}
		return next(ctx, request)
	}
}

func (builtInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, stream connect.StreamingHandlerConn) error {
		if err := checkBuilt(stream.Spec()); err != nil {
			return err
		}
		return next(ctx, stream)
	}
}

func (builtInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next // this process makes no calls through it
}

func checkBuilt(spec connect.Spec) error {
	if built[spec.Procedure] {
		return nil
	}
	return connect.NewError(connect.CodeUnimplemented, errors.New(spec.Procedure+" is not built yet"))
}
