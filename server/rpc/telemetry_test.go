package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/rpc"
)

// client speaks one of the three protocols, over HTTP/2 without TLS.
func (b *bench) client(t *testing.T, options ...connect.ClientOption) telemetryv1connect.TelemetryServiceClient {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return telemetryv1connect.NewTelemetryServiceClient(&http.Client{Transport: transport}, b.url, options...)
}

func typed(device string, value int64) *telemetryv1.PublishMessage {
	return &telemetryv1.PublishMessage{DeviceId: device, Content: &telemetryv1.PublishMessage_Telemetry{Telemetry: &telemetryv1.Telemetry{
		SchemaVersion: 1, Metrics: []*telemetryv1.Metric{{Name: "t", Value: &telemetryv1.Metric_Integer{Integer: value}}},
	}}}
}

func raw(device, payload string) *telemetryv1.PublishMessage {
	return &telemetryv1.PublishMessage{DeviceId: device, Content: &telemetryv1.PublishMessage_Payload{Payload: &telemetryv1.Payload{Data: []byte(payload)}}}
}

func request(messages ...*telemetryv1.PublishMessage) *telemetryv1.PublishRequest {
	return &telemetryv1.PublishRequest{Messages: messages}
}

func TestTelemetryService_Publish(t *testing.T) {
	for name, options := range map[string][]connect.ClientOption{
		"Connect":     nil,
		"ConnectJSON": {connect.WithProtoJSON()},
		"GRPC":        {connect.WithGRPC()},
		"GRPCWeb":     {connect.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			response, err := b.client(t, options...).Publish(t.Context(), request(typed("dev-1", 1), raw("dev-2", telemetry), raw("dev-2", invalid), typed("a/b", 1)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, result := range response.GetResults() {
				if result.GetReceipt() != nil {
					got = append(got, fmt.Sprintf("stored %d", len(result.GetReceipt().GetCorrelationId())))
					continue
				}
				got = append(got, result.GetRefusal().GetReason()+" "+result.GetRefusal().GetField())
			}
			if diff := cmp.Diff([]string{"stored 36", "stored 36", "missing_field metrics", "device device_id"}, got); diff != "" {
				t.Error(diff)
			}
			deliveries, err := b.queue.Lease(t.Context(), sink, edge.LeaseLimit{Records: 9, Bytes: 1 << 20})
			if err != nil || len(deliveries) != 2 {
				t.Fatalf("stored %v, %v", deliveries, err)
			}
			if record := deliveries[1].Record; record.Source != edge.SourceRPC || record.Encoding != edge.EncodingJSON || string(record.Payload) != telemetry {
				t.Errorf("stored %+v", record)
			}
			var stored telemetryv1.Telemetry
			if err := proto.Unmarshal(deliveries[0].Record.Payload, &stored); err != nil || !proto.Equal(&stored, typed("", 1).GetTelemetry()) {
				t.Errorf("stored %v, %v", &stored, err)
			}
		})
	}
}

func TestTelemetryService_Publish_Identity(t *testing.T) {
	t.Run("RequestIDStandsForMessageID", func(t *testing.T) {
		b := newBench(t)
		message := typed("dev-1", 1)
		message.RequestId = "r-1"
		var ids []string
		for range 2 {
			response, err := b.client(t).Publish(t.Context(), request(message))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, response.GetResults()[0].GetReceipt().GetCorrelationId())
		}
		if ids[0] != ids[1] || b.stored() != 1 {
			t.Errorf("got %v, %d stored", ids, b.stored())
		}
	})
}

func TestTelemetryService_Publish_Refuses(t *testing.T) {
	for name, test := range map[string]struct {
		request *telemetryv1.PublishRequest
		code    connect.Code
	}{
		"NoMessage":     {request(), connect.CodeInvalidArgument},
		"TooMany":       {request(make([]*telemetryv1.PublishMessage, 1001)...), connect.CodeInvalidArgument},
		"TTL":           {&telemetryv1.PublishRequest{Messages: request(typed("d", 1)).Messages, Ttl: durationpb.New(1e9)}, connect.CodeUnimplemented},
		"NineMegabytes": {request(raw("dev-1", strings.Repeat("x", 9<<20))), connect.CodeResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.client(t).Publish(t.Context(), test.request)
			if connect.CodeOf(err) != test.code || b.stored() != 0 {
				t.Errorf("got %v, %d stored", err, b.stored())
			}
		})
	}
	t.Run("AFullGatewayAnswersUnavailable", func(t *testing.T) {
		b := newBench(t, func(d *rpc.Dependencies) {
			d.Submitter = refusing{&edge.Error{Code: edge.Full, Reason: edge.ReasonFull, Message: "full", RetryAfter: 5e9}}
		})
		_, err := b.client(t, connect.WithGRPC()).Publish(t.Context(), request(typed("dev-1", 1)))
		failure, ok := errors.AsType[*connect.Error](err)
		if !ok || failure.Code() != connect.CodeUnavailable {
			t.Fatalf("got %v", err)
		}
		for _, detail := range failure.Details() {
			if value, err := detail.Value(); err == nil {
				if retry, ok := value.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().GetSeconds() == 5 {
					return
				}
			}
		}
		t.Errorf("no RetryInfo of 5 s in %v", failure.Details())
	})
	t.Run("HidesCauses", func(t *testing.T) {
		b := newBench(t, func(d *rpc.Dependencies) { d.Submitter = refusing{errors.New("secret path")} })
		_, err := b.client(t).Publish(t.Context(), request(typed("dev-1", 1)))
		if connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTelemetryService_PublishStream(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := b.client(t, connect.WithGRPC()).PublishStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 200 // more than may wait for an answer
	sent := make(chan error, 1)
	go func() {
		for i := range requests {
			if err := stream.Send(&telemetryv1.PublishStreamRequest{StreamId: "s", Sequence: uint64(i), Messages: request(typed("dev-1", int64(i)), raw("dev-1", "{")).Messages}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseRequest()
	}()
	for i := range requests {
		response, err := stream.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if response.GetSequence() != uint64(i) || response.GetStreamId() != "s" || response.GetResults()[0].GetReceipt() == nil || response.GetResults()[1].GetRefusal() == nil {
			t.Fatalf("answer %d is %v", i, response)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseResponse(); err != nil {
		t.Error(err)
	}
	if b.stored() != requests {
		t.Errorf("%d stored", b.stored())
	}
}

func TestTelemetryService_PublishStream_EndsWithTheServer(t *testing.T) {
	b := newBench(t)
	stream, err := b.client(t, connect.WithGRPC()).PublishStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&telemetryv1.PublishStreamRequest{StreamId: "s", Messages: request(typed("dev-1", 1)).Messages}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	b.server.StopStreams()
	if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
}
