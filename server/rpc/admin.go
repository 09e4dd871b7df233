package rpc

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/wire"
)

// adminService implements what is built of gateway.admin.v1.AdminService.
type adminService struct {
	adminv1connect.UnimplementedAdminServiceHandler
	server *Server
}

// GetStatus reads how the gateway goes.
func (a *adminService) GetStatus(ctx context.Context, _ *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	s, now := a.server, time.Now().UTC()
	ready, parts := s.Health.Ready()
	stats := s.Messages.Stats()
	status := &adminv1.Status{
		GatewayId: string(s.settings.GatewayID), Version: s.settings.Version.Version,
		StartTime: timestamppb.New(s.settings.StartedAt), Uptime: durationpb.New(now.Sub(s.settings.StartedAt)),
		ReadTime: timestamppb.New(now), Ready: ready, Development: s.settings.Development,
		Listeners: s.settings.Listeners, Queue: queueStatus(stats), Sinks: s.sinkStatuses(stats),
		IngressDeadLetterCount: uint64(stats.IngressRefused - stats.IngressEvicted),
		MqttConnectionCount:    uint32(s.MQTTConnections()),
	}
	for _, part := range parts {
		status.Components = append(status.Components, component(part))
	}
	for _, total := range s.totals {
		if count := total.counter.Value(); count > 0 {
			status.IngestTotals = append(status.IngestTotals, &adminv1.IngestTotal{Source: total.source, Result: total.result, Count: count})
		}
	}
	return &adminv1.GetStatusResponse{Status: status}, nil
}

func component(part Part) *adminv1.Component {
	state := adminv1.ComponentState_COMPONENT_STATE_STARTING
	switch {
	case part.Ready && part.Degraded:
		state = adminv1.ComponentState_COMPONENT_STATE_DEGRADED
	case part.Ready:
		state = adminv1.ComponentState_COMPONENT_STATE_READY
	case part.Detail == PartStopping:
		state = adminv1.ComponentState_COMPONENT_STATE_STOPPING
	case part.Detail != PartStarting:
		state = adminv1.ComponentState_COMPONENT_STATE_FAILED
	}
	return &adminv1.Component{Name: part.Name, State: state, Detail: part.Detail}
}

func queueStatus(stats edge.QueueStats) *adminv1.QueueStatus {
	status := &adminv1.QueueStatus{
		SizeBytes: uint64(stats.Bytes), WalBytes: uint64(stats.WALBytes), LimitBytes: uint64(stats.LimitBytes),
		QuarantinedMessages: uint64(stats.Quarantined), SalvagedFiles: uint64(stats.Salvaged), LedgerMismatches: uint64(stats.LedgerMismatches),
		StoredMessages: uint64(stats.Stored), LastPosition: uint64(stats.Head), Full: !stats.Accepting, OldestAge: durationpb.New(0), Headroom: lasting(stats.Headroom),
		PinningSink: stats.Holder,
	}
	for _, sink := range stats.Sinks {
		status.DepthMessages = max(status.DepthMessages, unsigned(sink.Pending))
		if sink.OldestAge > status.OldestAge.AsDuration() {
			status.OldestAge = durationpb.New(sink.OldestAge)
		}
	}
	return status
}

// GetMessage reads the journey of one message.
func (a *adminService) GetMessage(ctx context.Context, request *adminv1.GetMessageRequest) (*adminv1.GetMessageResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	journey, err := a.find(ctx, request)
	if err != nil {
		return nil, err
	}
	message, err := a.journeyMessage(journey)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetMessageResponse{Journey: message}, nil
}

func (a *adminService) find(ctx context.Context, request *adminv1.GetMessageRequest) (edge.Journey, error) {
	switch identity := request.GetIdentity().(type) {
	case *adminv1.GetMessageRequest_MessageId:
		return a.server.Messages.JourneyByIdentity(ctx, edge.DeviceID(identity.MessageId.GetDeviceId()),
			edge.Identity{MessageID: identity.MessageId.GetMessageId()})
	case *adminv1.GetMessageRequest_Sequence:
		return a.server.Messages.JourneyByIdentity(ctx, edge.DeviceID(identity.Sequence.GetDeviceId()),
			edge.Identity{BootID: identity.Sequence.GetBootId(), Sequence: identity.Sequence.GetSequence(), HasSequence: true})
	default:
		id, ok := edge.ParseCorrelationID(request.GetCorrelationId())
		if !ok {
			return edge.Journey{}, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "correlation_id", "is not an id that this gateway gives")
		}
		return a.server.Messages.Journey(ctx, id)
	}
}

func (a *adminService) journeyMessage(journey edge.Journey) (*adminv1.MessageJourney, error) {
	record, err := wire.NewRenderer(a.server.settings.GatewayID).Message(&edge.Delivery{Record: journey.Record})
	if err != nil {
		return nil, err
	}
	message := &adminv1.MessageJourney{
		Record:  record,
		Payload: wire.PayloadMessage(&journey.Record),
		Commit: &adminv1.MessageCommit{
			Position: uint64(journey.Record.Position), Frame: uint64(journey.Frame), FrameMessages: uint32(journey.Records),
			CommitTime: timestamppb.New(journey.CommittedAt),
		},
	}
	names := a.server.sinkNames()
	for _, stage := range journey.Sinks {
		delivery := &adminv1.MessageDelivery{
			SinkId: formatSinkID(stage.Sink), SinkName: names[stage.Sink],
			State: wire.StateMessage(stage.State), AttemptCount: uint32(len(stage.Attempts)),
		}
		if stage.State == edge.Dead {
			delivery.DeadLetterId = formatDeadLetterID(edge.DeadLetterKey{Sink: stage.Sink, Position: journey.Record.Position})
		}
		message.Deliveries = append(message.Deliveries, delivery)
		for i := range stage.Attempts {
			message.Attempts = append(message.Attempts, attemptMessage(stage.Sink, names[stage.Sink], &stage.Attempts[i]))
		}
	}
	return message, nil
}

func attemptMessage(sink edge.SinkID, name string, attempt *edge.Attempt) *sinkv1.Attempt {
	return &sinkv1.Attempt{
		SinkId: formatSinkID(sink), SinkName: name, Number: uint32(attempt.Number),
		StartTime: timestamppb.New(attempt.StartedAt), EndTime: timestamppb.New(attempt.EndedAt),
		Outcome: wire.OutcomeMessage(attempt.Class), Status: attempt.Status, Excerpt: attempt.Excerpt,
		BatchSize: uint32(attempt.Records),
	}
}

// GetConfig reads the effective configuration.
func (a *adminService) GetConfig(ctx context.Context, request *adminv1.GetConfigRequest) (*adminv1.GetConfigResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	response := &adminv1.GetConfigResponse{}
	for _, value := range a.server.settings.Configuration {
		if strings.HasPrefix(value.GetKey(), request.GetKeyPrefix()) {
			response.Values = append(response.Values, value)
		}
	}
	return response, nil
}

// ingestTotal is one counter of what came in, as GetStatus shows it.
type ingestTotal struct {
	source  telemetryv1.Source
	result  adminv1.IngestResult
	counter observe.Counter
}

func ingestTotals(metrics *observe.Metrics) (totals []ingestTotal) {
	results := map[string]adminv1.IngestResult{
		"accepted": adminv1.IngestResult_INGEST_RESULT_ACCEPTED, "duplicate": adminv1.IngestResult_INGEST_RESULT_DUPLICATE,
		"conflict": adminv1.IngestResult_INGEST_RESULT_CONFLICT, "rejected": adminv1.IngestResult_INGEST_RESULT_REJECTED,
		"dropped": adminv1.IngestResult_INGEST_RESULT_DROPPED,
	}
	for _, source := range edge.Sources {
		for name, result := range results {
			totals = append(totals, ingestTotal{wire.SourceMessage(source), result, metrics.Counter("ingest_messages_total", source.String(), name)})
		}
	}
	return totals
}

func formatSinkID(id edge.SinkID) string { return strconv.FormatUint(uint64(id), 10) }

// sinkNames returns the names of all sinks, removed ones included.
func (s *Server) sinkNames() map[edge.SinkID]string {
	names := map[edge.SinkID]string{edge.Ingress: edge.IngressName}
	stats := s.Messages.Stats()
	for _, sink := range stats.All() {
		names[sink.ID] = sink.Name
	}
	return names
}
