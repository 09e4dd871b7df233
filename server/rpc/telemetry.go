package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/wire"
)

// maxUnanswered bounds the requests of one PublishStream that wait for their
// commit; above it the stream is not read.
const maxUnanswered = 64

// telemetryService implements gateway.telemetry.v1.TelemetryService.
type telemetryService struct {
	telemetryv1connect.UnimplementedTelemetryServiceHandler
	server *Server
}

// Publish stores messages and answers for each of them.
func (t *telemetryService) Publish(ctx context.Context, request *telemetryv1.PublishRequest) (*telemetryv1.PublishResponse, error) {
	if err := refuseTTL(request.GetTtl() != nil); err != nil {
		return nil, err
	}
	answers, err := t.offer(ctx, request.GetMessages())
	if err != nil {
		return nil, err
	}
	results, err := answers.wait(ctx)
	if err != nil {
		return nil, err
	}
	if err := wholeFailure(results); err != nil {
		return nil, err
	}
	return &telemetryv1.PublishResponse{Results: t.results(ctx, results)}, nil
}

// refuseTTL refuses what this gateway does not do yet, rather than to promise
// an expiry that will not happen.
func refuseTTL(asked bool) error {
	if asked {
		return connect.NewError(connect.CodeUnimplemented, errors.New("ttl is not supported by this version of the gateway: leave it out"))
	}
	return nil
}

// offer hands the messages of one request to ingest.
func (t *telemetryService) offer(ctx context.Context, messages []*telemetryv1.PublishMessage) (*waiter, error) {
	if err := checkCount(len(messages)); err != nil {
		return nil, err
	}
	receivedAt, trace := time.Now().UTC(), observe.FromContext(ctx).TraceParent()
	decoder, answers := wire.NewDecoder(), newWaiter(len(messages))
	for i, message := range messages {
		submission, err := t.submission(ctx, decoder, message)
		if err != nil {
			t.server.doors[edge.SourceRPC].Refuse(string(edge.AsError(err).Reason), 1)
			answers.Reply(uint64(i), edge.Receipt{}, err)
			continue
		}
		submission.Record.ReceivedAt = receivedAt
		if submission.Record.TraceParent == "" {
			submission.Record.TraceParent = trace
		}
		answers.offer(ctx, t.server, i, submission)
	}
	return answers, nil
}

// submission reads one message of a request.
func (t *telemetryService) submission(ctx context.Context, decoder *wire.Decoder, message *telemetryv1.PublishMessage) (*edge.Submission, error) {
	device := edge.DeviceID(message.GetDeviceId())
	if err := callerOf(ctx).mayPublish(device); err != nil {
		return nil, err
	}
	submission := &edge.Submission{Record: edge.Record{Device: device, Source: edge.SourceRPC, TraceParent: message.GetTraceparent()}}
	record := &submission.Record
	if key := message.GetRequestId(); key != "" {
		record.Identity = edge.Identity{MessageID: key, Explicit: true}
	}
	encoding := t.server.settings.DefaultEncoding
	switch content := message.GetContent().(type) {
	case *telemetryv1.PublishMessage_Telemetry:
		payload, err := wire.TelemetryPayload(content.Telemetry)
		if err != nil {
			return nil, err
		}
		record.Payload, encoding = payload, edge.EncodingProtobuf
	case *telemetryv1.PublishMessage_Payload:
		record.Payload = content.Payload.GetData()
		if said := wire.EncodingFrom(content.Payload.GetEncoding()); said != edge.EncodingAuto {
			encoding = said
		}
	default:
		return nil, edge.Refuse(edge.Invalid, edge.ReasonMissingField, "content", "telemetry or payload is required")
	}
	submission.Telemetry, record.Encoding, submission.Fault = decoder.Decode(encoding, record.Payload)
	return submission, nil
}

// wholeFailure returns the error of a request of which nothing was stored and
// which is worth sending again; a caller then sees it as what it is.
func wholeFailure(results []result) error {
	var retry error
	for _, answer := range results {
		if answer.err == nil || edge.AsError(answer.err).Permanent() {
			return nil
		}
		retry = answer.err
	}
	return retry
}

func (t *telemetryService) results(ctx context.Context, results []result) []*telemetryv1.PublishResult {
	answers := make([]*telemetryv1.PublishResult, len(results))
	for i, answer := range results {
		if answer.err != nil {
			refusal := wire.NewRefusal(t.server.visible(ctx, answer.err), requestID(ctx))
			answers[i] = &telemetryv1.PublishResult{Outcome: &telemetryv1.PublishResult_Refusal{Refusal: refusal}}
			continue
		}
		receipt := &telemetryv1.PublishReceipt{CorrelationId: answer.receipt.Correlation.String(), Duplicate: answer.receipt.Duplicate}
		answers[i] = &telemetryv1.PublishResult{Outcome: &telemetryv1.PublishResult_Receipt{Receipt: receipt}}
	}
	return answers
}

// unanswered is one request of a stream that waits for its commit.
type unanswered struct {
	request *telemetryv1.PublishStreamRequest
	answers *waiter
}

// PublishStream stores messages over a stream and answers each request in
// order, after its commit.
func (t *telemetryService) PublishStream(ctx context.Context, stream *connect.BidiStream[telemetryv1.PublishStreamRequest, telemetryv1.PublishStreamResponse]) error {
	ctx, cancel := t.server.streamContext(ctx)
	defer cancel()
	waiting := make(chan unanswered, maxUnanswered)
	received := make(chan error, 1)
	go func() {
		defer close(waiting)
		received <- t.receive(ctx, stream, waiting)
	}()
	for {
		select {
		case next, more := <-waiting:
			if !more {
				return <-received
			}
			if err := t.answer(ctx, stream, next); err != nil {
				return err
			}
		case <-ctx.Done():
			return connect.NewError(connect.CodeUnavailable, errors.New("the gateway is stopping: send what was not answered again, with the same request_ids"))
		}
	}
}

// answer waits for the commit of one request of a stream and answers it.
func (t *telemetryService) answer(ctx context.Context, stream *connect.BidiStream[telemetryv1.PublishStreamRequest, telemetryv1.PublishStreamResponse], next unanswered) error {
	results, err := next.answers.wait(ctx)
	if err != nil {
		return err
	}
	return stream.Send(&telemetryv1.PublishStreamResponse{
		StreamId: next.request.GetStreamId(), Sequence: next.request.GetSequence(), Results: t.results(ctx, results),
	})
}

// receive reads a stream until it ends. The handler's return makes a pending
// Receive fail, so the goroutine ends with the call.
func (t *telemetryService) receive(ctx context.Context, stream *connect.BidiStream[telemetryv1.PublishStreamRequest, telemetryv1.PublishStreamResponse], waiting chan<- unanswered) error {
	body := streamBodyOf(ctx)
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := body.arrived(request); err != nil {
			return err
		}
		if err := refuseTTL(request.GetTtl() != nil); err != nil {
			return err
		}
		answers, err := t.offer(ctx, request.GetMessages())
		if err != nil {
			return err
		}
		body.share.release() // what the queue has taken it bounds itself
		select {
		case waiting <- unanswered{request, answers}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// streamContext ends with the call or when the server begins to stop.
func (s *Server) streamContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { unlink(); cancel() }
}
