package main

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	"combotto.io/gateway/gen/go/gateway/dlq/v1/dlqv1connect"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
)

// maxAnswerBytes bounds one message of the gateway: a page of 1,000 records of
// 64 KiB is larger than anything that a gateway sends.
const maxAnswerBytes = 64 << 20

func (a *application) admin() adminv1connect.AdminServiceClient {
	return adminv1connect.NewAdminServiceClient(http.DefaultClient, a.url, connect.WithReadMaxBytes(maxAnswerBytes))
}

func (a *application) deadLetters() dlqv1connect.DLQServiceClient {
	return dlqv1connect.NewDLQServiceClient(http.DefaultClient, a.url, connect.WithReadMaxBytes(maxAnswerBytes))
}

func (a *application) sinks() sinkv1connect.SinkServiceClient {
	return sinkv1connect.NewSinkServiceClient(http.DefaultClient, a.url, connect.WithReadMaxBytes(maxAnswerBytes))
}

func (a *application) telemetry() telemetryv1connect.TelemetryServiceClient {
	return telemetryv1connect.NewTelemetryServiceClient(http.DefaultClient, a.url, connect.WithReadMaxBytes(maxAnswerBytes))
}

// call makes one call under the deadline of --timeout.
func call[Request, Response any](ctx context.Context, a *application, method func(context.Context, *Request) (*Response, error), request *Request, notFound string) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	response, err := method(ctx, request)
	if err != nil {
		return nil, a.explain(err, notFound)
	}
	return response, nil
}
