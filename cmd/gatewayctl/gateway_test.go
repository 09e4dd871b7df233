package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	dlqv1 "combotto.io/gateway/gen/go/gateway/dlq/v1"
	"combotto.io/gateway/gen/go/gateway/dlq/v1/dlqv1connect"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
)

// fakeGateway answers what a test put in and keeps what it was asked.
type fakeGateway struct {
	adminv1connect.UnimplementedAdminServiceHandler
	dlqv1connect.UnimplementedDLQServiceHandler
	sinkv1connect.UnimplementedSinkServiceHandler
	telemetryv1connect.UnimplementedTelemetryServiceHandler

	status   *adminv1.Status
	journey  *adminv1.MessageJourney
	forecast *adminv1.Forecast
	verified *adminv1.VerifyLedgerResponse
	values   []*adminv1.ConfigValue
	letters  []*dlqv1.DeadLetter
	losses   []*adminv1.Loss
	events   []*telemetryv1.TailResponse
	holding  chan struct{} // not nil: Tail closes it after the events and goes on until the caller leaves
	failWith error

	message    *adminv1.GetMessageRequest
	forecasted *adminv1.GetForecastRequest
	listed     []*dlqv1.ListDeadLettersRequest
	requeued   []*dlqv1.RequeueDeadLettersRequest
	lost       []*adminv1.ListLossesRequest
	deleted    []*sinkv1.DeleteSinkRequest
	tailed     *telemetryv1.TailRequest
	prefix     string
	backup     *adminv1.BackupQueueRequest
}

func (g *fakeGateway) BackupQueue(_ context.Context, request *adminv1.BackupQueueRequest) (*adminv1.BackupQueueResponse, error) {
	g.backup = request
	return &adminv1.BackupQueueResponse{Path: request.Path, SizeBytes: 3 << 20, MessageCount: 117, DeadLetterCount: 2}, g.failWith
}

func (g *fakeGateway) GetStatus(context.Context, *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	return &adminv1.GetStatusResponse{Status: g.status}, g.failWith
}

func (g *fakeGateway) GetForecast(_ context.Context, request *adminv1.GetForecastRequest) (*adminv1.GetForecastResponse, error) {
	g.forecasted = request
	return &adminv1.GetForecastResponse{Forecast: g.forecast}, g.failWith
}

func (g *fakeGateway) VerifyLedger(context.Context, *adminv1.VerifyLedgerRequest) (*adminv1.VerifyLedgerResponse, error) {
	return g.verified, g.failWith
}

func (g *fakeGateway) GetMessage(_ context.Context, request *adminv1.GetMessageRequest) (*adminv1.GetMessageResponse, error) {
	g.message = request
	return &adminv1.GetMessageResponse{Journey: g.journey}, g.failWith
}

func (g *fakeGateway) GetConfig(_ context.Context, request *adminv1.GetConfigRequest) (*adminv1.GetConfigResponse, error) {
	g.prefix = request.KeyPrefix
	return &adminv1.GetConfigResponse{Values: g.values}, g.failWith
}

// ListDeadLetters answers pages of at most two.
func (g *fakeGateway) ListDeadLetters(_ context.Context, request *dlqv1.ListDeadLettersRequest) (*dlqv1.ListDeadLettersResponse, error) {
	g.listed = append(g.listed, request)
	start := len(request.PageToken) // the token has one letter per dead letter that was listed
	end := min(start+min(int(request.PageSize), 2), len(g.letters))
	response := &dlqv1.ListDeadLettersResponse{DeadLetters: g.letters[start:end]}
	if end < len(g.letters) {
		response.NextPageToken = strings.Repeat("x", end)
	}
	return response, g.failWith
}

func (g *fakeGateway) GetDeadLetter(_ context.Context, request *dlqv1.GetDeadLetterRequest) (*dlqv1.GetDeadLetterResponse, error) {
	for _, letter := range g.letters {
		if letter.DeadLetterId == request.DeadLetterId {
			return &dlqv1.GetDeadLetterResponse{DeadLetter: letter}, nil
		}
	}
	return nil, connect.NewError(connect.CodeNotFound, errNoDeadLetter)
}

func (g *fakeGateway) RequeueDeadLetters(_ context.Context, request *dlqv1.RequeueDeadLettersRequest) (*dlqv1.RequeueDeadLettersResponse, error) {
	g.requeued = append(g.requeued, request)
	count := len(request.DeadLetterIds)
	if request.Filter != "" {
		count = len(g.letters)
	}
	return &dlqv1.RequeueDeadLettersResponse{Count: uint64(count)}, g.failWith
}

// ListLosses answers pages of one.
func (g *fakeGateway) ListLosses(_ context.Context, request *adminv1.ListLossesRequest) (*adminv1.ListLossesResponse, error) {
	g.lost = append(g.lost, request)
	start := len(request.PageToken)
	end := min(start+1, len(g.losses))
	response := &adminv1.ListLossesResponse{Losses: g.losses[start:end]}
	if end < len(g.losses) {
		response.NextPageToken = strings.Repeat("x", end)
	}
	return response, g.failWith
}

func (g *fakeGateway) DeleteSink(_ context.Context, request *sinkv1.DeleteSinkRequest) (*sinkv1.DeleteSinkResponse, error) {
	g.deleted = append(g.deleted, request)
	return &sinkv1.DeleteSinkResponse{DiscardedCount: 42}, g.failWith
}

func (g *fakeGateway) Tail(ctx context.Context, request *telemetryv1.TailRequest, stream *connect.ServerStream[telemetryv1.TailResponse]) error {
	g.tailed = request
	for _, event := range g.events {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	if g.holding != nil {
		close(g.holding)
		<-ctx.Done()
	}
	return g.failWith
}

// result is what a command came to.
type result struct {
	Code           int
	Stdout, Stderr string
}

// serve starts the fake.
func serve(t *testing.T, g *fakeGateway) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(adminv1connect.NewAdminServiceHandler(g))
	mux.Handle(dlqv1connect.NewDLQServiceHandler(g))
	mux.Handle(sinkv1connect.NewSinkServiceHandler(g))
	mux.Handle(telemetryv1connect.NewTelemetryServiceHandler(g))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// command runs a command line against the fake, with input on standard input.
func command(t *testing.T, g *fakeGateway, input string, arguments ...string) result {
	t.Helper()
	return runCommand(t.Context(), input, append([]string{"--url", serve(t, g)}, arguments...)...)
}

func runCommand(ctx context.Context, input string, arguments ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, arguments, strings.NewReader(input), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

var start = time.Date(2026, 11, 22, 18, 0, 0, 123e6, time.UTC)

func at(offset time.Duration) *timestamppb.Timestamp { return timestamppb.New(start.Add(offset)) }

func healthy() *adminv1.Status {
	return &adminv1.Status{
		GatewayId: "site-7", Version: "0.1.0", Uptime: durationpb.New(90 * time.Minute), Ready: true, Development: true,
		Components: []*adminv1.Component{{Name: "queue", State: adminv1.ComponentState_COMPONENT_STATE_READY}},
		Listeners:  []*adminv1.Listener{{Name: "http", Address: "127.0.0.1:8080", Url: "http://127.0.0.1:8080"}},
		IngestTotals: []*adminv1.IngestTotal{
			{Source: telemetryv1.Source_SOURCE_MQTT, Result: adminv1.IngestResult_INGEST_RESULT_ACCEPTED, Count: 120},
		},
		Queue: &adminv1.QueueStatus{DepthMessages: 3, StoredMessages: 120, SizeBytes: 3 << 20, WalBytes: 1536, LimitBytes: 40 << 30, OldestAge: durationpb.New(250 * time.Millisecond)},
		Sinks: []*sinkv1.SinkStatus{{
			SinkId: "1", Name: "archive", Kind: sinkv1.SinkKind_SINK_KIND_FILE, State: sinkv1.SinkState_SINK_STATE_ACTIVE,
			DepthMessages: 3, InFlightMessages: 2, DeliveredCount: 117, OldestAge: durationpb.New(250 * time.Millisecond), LastSuccessTime: at(0),
		}},
		IngressDeadLetterCount: 4, MqttConnectionCount: 5,
	}
}

func record() *telemetryv1.Record {
	sequence := uint64(42)
	return &telemetryv1.Record{
		CorrelationId: "019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b", GatewayId: "site-7", DeviceId: "dev-1", ReceiveTs: at(0), BootId: "a91f", Sequence: &sequence,
		SchemaVersion: 1, Source: telemetryv1.Source_SOURCE_MQTT, Metrics: []*telemetryv1.Metric{
			{Name: "temperature_c", Value: &telemetryv1.Metric_Number{Number: 23.5}},
			{Name: "count", Value: &telemetryv1.Metric_Integer{Integer: 7}},
			{Name: "door_open", Value: &telemetryv1.Metric_Boolean{Boolean: false}},
			{Name: "mode", Value: &telemetryv1.Metric_Text{Text: "eco"}},
		},
	}
}

func attempts() []*sinkv1.Attempt {
	return []*sinkv1.Attempt{
		{SinkName: "analytics", Number: 1, StartTime: at(time.Second), EndTime: at(time.Second + 12*time.Millisecond), Outcome: sinkv1.AttemptOutcome_ATTEMPT_OUTCOME_BUSY, Status: "503", Excerpt: "over\x1b[2Jloaded", BatchSize: 40},
		{SinkName: "analytics", Number: 2, StartTime: at(3 * time.Second), BatchSize: 40},
	}
}

var errNoDeadLetter = errors.New("no dead letter of this id")

func expect(t *testing.T, want, got result) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// text drops the indentation of a raw string and its first and last line break,
// so that expected output can stand in line with the code.
func text(raw string) string {
	lines := strings.Split(strings.Trim(raw, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.TrimSuffix(strings.Join(lines, "\n"), "\n") + "\n"
}

// trimmed takes the padding from the ends of lines.
func trimmed(got result) result {
	lines := strings.Split(got.Stdout, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	got.Stdout = strings.Join(lines, "\n")
	return got
}
