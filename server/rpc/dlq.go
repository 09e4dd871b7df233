package rpc

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/dlq/v1"
	"combotto.io/gateway/gen/go/gateway/dlq/v1/dlqv1connect"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// dlqService implements what is built of gateway.dlq.v1.DLQService.
type dlqService struct {
	dlqv1connect.UnimplementedDLQServiceHandler
	server *Server
}

// ListDeadLetters reads dead letters by sink, oldest first.
func (d *dlqService) ListDeadLetters(ctx context.Context, request *dlqv1.ListDeadLettersRequest) (*dlqv1.ListDeadLettersResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	filter, err := d.server.deadLetterFilter(request.GetFilter())
	if err != nil {
		return nil, err
	}
	var after edge.DeadLetterKey
	if token, err := parsePageToken(request.GetPageToken(), request.GetFilter()); err != nil {
		return nil, err
	} else if token != "" {
		if after, err = parseDeadLetterID(token); err != nil {
			return nil, err
		}
	}
	size := pageSize(request.GetPageSize())
	letters, err := d.server.DeadLetters.DeadLetters(ctx, filter, after, size+1)
	if err != nil {
		return nil, err
	}
	response := &dlqv1.ListDeadLettersResponse{}
	if len(letters) > size {
		letters = letters[:size]
		response.NextPageToken = formatPageToken(deadLetterID(&letters[size-1]), request.GetFilter())
	}
	names := d.server.sinkNames()
	for i := range letters {
		response.DeadLetters = append(response.DeadLetters, d.summary(&letters[i], names))
	}
	return response, nil
}

// GetDeadLetter reads one dead letter with its payload and attempts.
func (d *dlqService) GetDeadLetter(ctx context.Context, request *dlqv1.GetDeadLetterRequest) (*dlqv1.GetDeadLetterResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	key, err := parseDeadLetterID(request.GetDeadLetterId())
	if err != nil {
		return nil, err
	}
	letter, err := d.server.DeadLetters.DeadLetter(ctx, key)
	if err != nil {
		return nil, err
	}
	names := d.server.sinkNames()
	message := d.summary(&letter, names)
	message.Payload = wire.PayloadMessage(&letter.Record)
	for i := range letter.History {
		message.Attempts = append(message.Attempts, attemptMessage(letter.Sink, names[letter.Sink], &letter.History[i]))
	}
	return &dlqv1.GetDeadLetterResponse{DeadLetter: message}, nil
}

// RequeueDeadLetters gives dead letters back to their sinks.
func (d *dlqService) RequeueDeadLetters(ctx context.Context, request *dlqv1.RequeueDeadLettersRequest) (*dlqv1.RequeueDeadLettersResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	if request.GetRate() > 0 {
		return nil, edge.Refuse(edge.Unsupported, "", "rate", "is not supported by this version of the gateway: leave it out")
	}
	count, err := d.requeue(ctx, request)
	if err != nil {
		return nil, err
	}
	return &dlqv1.RequeueDeadLettersResponse{Count: uint64(count)}, nil
}

func (d *dlqService) requeue(ctx context.Context, request *dlqv1.RequeueDeadLettersRequest) (int, error) {
	if request.GetFilter() != "" {
		filter, err := d.server.deadLetterFilter(request.GetFilter())
		if err != nil {
			return 0, err
		}
		return d.server.DeadLetters.RequeueMatching(ctx, filter, request.GetValidateOnly())
	}
	var keys []edge.DeadLetterKey
	for _, id := range request.GetDeadLetterIds() {
		key, err := parseDeadLetterID(id)
		if err != nil {
			return 0, err
		}
		keys = append(keys, key)
	}
	return d.server.DeadLetters.RequeueKeys(ctx, keys, request.GetValidateOnly())
}

// summary is a dead letter without its payload and its attempts.
func (d *dlqService) summary(letter *edge.DeadLetter, names map[edge.SinkID]string) *dlqv1.DeadLetter {
	message := &dlqv1.DeadLetter{
		DeadLetterId: deadLetterID(letter), SinkId: formatSinkID(letter.Sink), SinkName: names[letter.Sink],
		State: wire.StateMessage(edge.Dead), Requeued: letter.Requeued,
		Reason: letter.Reason, Status: letter.Status, Excerpt: letter.Excerpt,
		PayloadBytes: uint32(len(letter.Record.Payload)), Revision: uint32(letter.Record.Revision),
		AttemptCount: uint32(letter.Attempts), CreateTime: timestamppb.New(letter.LastAt),
	}
	if letter.Sink != edge.Ingress {
		message.FirstErrorTime, message.LastErrorTime = timestamppb.New(letter.FirstAt), timestamppb.New(letter.LastAt)
	}
	renderer := wire.NewRenderer(d.server.settings.GatewayID)
	// What cannot be decoded has its stamps only; that is often why it is here.
	message.Record, _ = renderer.Message(&edge.Delivery{Record: letter.Record})
	return message
}

func deadLetterID(letter *edge.DeadLetter) string {
	return formatDeadLetterID(edge.DeadLetterKey{Sink: letter.Sink, Position: letter.Record.Position})
}

func formatDeadLetterID(key edge.DeadLetterKey) string {
	return fmt.Sprintf("%d-%d", key.Sink, key.Position)
}

func parseDeadLetterID(id string) (edge.DeadLetterKey, error) {
	sinkText, positionText, ok := strings.Cut(id, "-")
	sink, sinkErr := strconv.ParseUint(sinkText, 10, 32)
	position, positionErr := strconv.ParseInt(positionText, 10, 64)
	if !ok || sinkErr != nil || positionErr != nil || position < 0 {
		return edge.DeadLetterKey{}, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "dead_letter_id", "%.80q is not the name of a dead letter", id)
	}
	return edge.DeadLetterKey{Sink: edge.SinkID(sink), Position: edge.Position(position)}, nil
}
