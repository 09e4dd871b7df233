package rpc

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	"combotto.io/gateway/server/edge"
)

// sinkService implements what is built of gateway.sink.v1.SinkService.
type sinkService struct {
	sinkv1connect.UnimplementedSinkServiceHandler
	server *Server
}

// ListSinks reads all sinks with their status, by name.
func (k *sinkService) ListSinks(ctx context.Context, request *sinkv1.ListSinksRequest) (*sinkv1.ListSinksResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	statuses := k.server.sinkStatuses(k.server.Messages.Stats())
	page, next, err := paginate(statuses, request.GetPageSize(), request.GetPageToken(), (*sinkv1.SinkStatus).GetName)
	if err != nil {
		return nil, err
	}
	response := &sinkv1.ListSinksResponse{NextPageToken: next}
	for _, status := range page {
		response.Sinks = append(response.Sinks, k.server.describe(status))
	}
	return response, nil
}

// DeleteSink gives up what a sink is owed that is no longer configured.
func (k *sinkService) DeleteSink(ctx context.Context, request *sinkv1.DeleteSinkRequest) (*sinkv1.DeleteSinkResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	if request.GetEtag() != "" {
		return nil, edge.Refuse(edge.Unsupported, "", "etag", "is not supported by this version of the gateway: leave it out")
	}
	id, err := k.server.mustFindSink("sink", request.GetSink())
	if err != nil {
		return nil, err
	}
	count, err := k.server.Losses.DeleteSink(ctx, id, edge.Deletion{
		Actor: callerOf(ctx).Name, Discard: request.GetDiscard(), ValidateOnly: request.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &sinkv1.DeleteSinkResponse{DiscardedCount: uint64(count)}, nil
}

// describe joins a sink's definition and its status. A removed sink has no
// definition any more.
func (s *Server) describe(status *sinkv1.SinkStatus) *sinkv1.Sink {
	for _, definition := range s.settings.Sinks {
		if definition.GetSinkId() == status.GetSinkId() {
			sink := proto.CloneOf(definition)
			sink.Status = status
			return sink
		}
	}
	return &sinkv1.Sink{SinkId: status.GetSinkId(), Name: status.GetName(), Status: status}
}

// sinkStatuses joins what the queue and the dispatcher know of every sink, by
// name.
func (s *Server) sinkStatuses(stats edge.QueueStats) []*sinkv1.SinkStatus {
	lanes := map[edge.SinkID]edge.LaneStats{}
	for _, lane := range s.Lanes.Stats() {
		lanes[lane.Sink] = lane
	}
	var statuses []*sinkv1.SinkStatus
	for _, sink := range stats.Sinks {
		status := &sinkv1.SinkStatus{
			SinkId: formatSinkID(sink.ID), Name: sink.Name, Kind: sinkKind(sink.Kind),
			DepthMessages: unsigned(sink.Pending), InFlightMessages: uint64(sink.InFlight), HeldMessages: uint64(sink.Held),
			PinnedBytes: uint64(sink.PinnedBytes), OldestAge: durationpb.New(sink.OldestAge),
			DeliveredCount: uint64(sink.Delivered), DeadLetterCount: uint64(sink.Dead),
			ExpiredCount: uint64(sink.Expired), DiscardedCount: uint64(sink.Discarded),
			State: sinkv1.SinkState_SINK_STATE_REMOVED,
		}
		if lane, running := lanes[sink.ID]; running && !sink.Removed {
			describeLane(status, lane)
		}
		statuses = append(statuses, status)
	}
	slices.SortFunc(statuses, func(a, b *sinkv1.SinkStatus) int { return strings.Compare(a.GetName(), b.GetName()) })
	return statuses
}

func describeLane(status *sinkv1.SinkStatus, lane edge.LaneStats) {
	// The contract numbers the states of a lane as edge does, after its 0 for what
	// was not said.
	status.State = sinkv1.SinkState(lane.State) + sinkv1.SinkState_SINK_STATE_IDLE
	switch lane.State {
	case edge.LaneWaiting:
		status.NextAttemptTime = timestamppb.New(lane.RetryAt)
	case edge.LanePaused:
		status.PauseReason = sinkv1.SinkPauseReason_SINK_PAUSE_REASON_MISCONFIGURED
	}
	if !lane.LastSuccess.IsZero() {
		status.LastSuccessTime = timestamppb.New(lane.LastSuccess)
	}
	if !lane.LastErrorAt.IsZero() {
		status.LastErrorTime = timestamppb.New(lane.LastErrorAt)
	}
	if lane.State == edge.LaneWaiting || lane.State == edge.LanePaused {
		status.StateDetail = lane.LastError
	}
	status.LastErrorExcerpt = lane.LastError
}

func sinkKind(kind string) sinkv1.SinkKind {
	switch kind {
	case "file":
		return sinkv1.SinkKind_SINK_KIND_FILE
	case "http":
		return sinkv1.SinkKind_SINK_KIND_HTTP
	}
	return sinkv1.SinkKind_SINK_KIND_UNSPECIFIED
}
