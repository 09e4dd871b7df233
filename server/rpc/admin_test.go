package rpc_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	"combotto.io/gateway/gen/go/gateway/dlq/v1"
	"combotto.io/gateway/gen/go/gateway/dlq/v1/dlqv1connect"
	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/ingest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/rpc"
)

// lanes is a dispatcher that does nothing.
type lanes []edge.LaneStats

func (l lanes) Stats() []edge.LaneStats { return l }

// durableBench is a bench in front of a real queue.
type durableBench struct {
	*bench
	queue *queue.Queue
	sink  edge.SinkID
}

func newDurableBench(t *testing.T) *durableBench {
	t.Helper()
	opened, err := queue.Open(t.Context(), queue.Settings{Path: filepath.Join(t.TempDir(), "queue.db")}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- opened.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	ids, err := opened.EnsureSinks(t.Context(), []queue.SinkSpec{{Name: "cloud", Kind: "http"}})
	if err != nil {
		t.Fatal(err)
	}
	d := &durableBench{queue: opened, sink: ids[0]}
	d.bench = newBench(t, func(dependencies *rpc.Dependencies) {
		plan := edge.NewPlan([]edge.PlannedSink{{ID: d.sink, Name: "cloud"}})
		dependencies.Submitter = ingest.New(ingest.Settings{MaxPayloadBytes: 1 << 10}, plan, opened, dependencies.Observer)
		dependencies.Messages, dependencies.DeadLetters, dependencies.Losses = opened, opened, opened
		dependencies.Lanes = lanes{{Sink: d.sink, State: edge.LaneWaiting, LastError: "503: busy", RetryAt: time.Unix(9, 0)}}
	})
	return d
}

// publish stores one message and returns its correlation id.
func (d *durableBench) publish(t *testing.T, message *telemetryv1.PublishMessage) string {
	t.Helper()
	response, err := d.client(t).Publish(t.Context(), request(message))
	if err != nil {
		t.Fatal(err)
	}
	return response.GetResults()[0].GetReceipt().GetCorrelationId()
}

// kill leases the oldest record and settles it as dead.
func (d *durableBench) kill(t *testing.T) {
	t.Helper()
	deliveries, err := d.queue.Lease(t.Context(), d.sink, edge.LeaseLimit{Records: 1, Bytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	delivery := deliveries[0]
	at := time.Now().UTC()
	attempt := edge.Attempt{
		Number: 1, First: delivery.Record.Position, Last: delivery.Record.Position, Records: 1, Slots: 1,
		StartedAt: at, EndedAt: at, Class: edge.Rejected, Status: "422", Excerpt: "no such metric",
	}
	death := edge.Death{Delivery: delivery, Reason: edge.DeathRejected, Status: "422", Excerpt: "no such metric"}
	if err := d.queue.Settle(t.Context(), d.sink, edge.Settlement{Attempt: attempt, Dead: []edge.Death{death}}); err != nil {
		t.Fatal(err)
	}
}

func TestAdminService_GetMessage(t *testing.T) {
	d := newDurableBench(t)
	admin := adminv1connect.NewAdminServiceClient(http.DefaultClient, d.url)
	message := typed("dev-1", 7)
	message.GetTelemetry().BootId, message.GetTelemetry().Sequence = "b", proto.Uint64(3)
	id := d.publish(t, message)

	response, err := admin.GetMessage(t.Context(), &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: id}})
	if err != nil {
		t.Fatal(err)
	}
	journey := response.GetJourney()
	if record := journey.GetRecord(); record.GetCorrelationId() != id || record.GetDeviceId() != "dev-1" || record.GetGatewayId() != "gw-1" || record.GetMetrics()[0].GetInteger() != 7 {
		t.Errorf("record %v", record)
	}
	if commit := journey.GetCommit(); commit.GetPosition() != 1 || commit.GetFrame() != 1 || commit.GetFrameMessages() != 1 || commit.GetCommitTime() == nil {
		t.Errorf("commit %v", commit)
	}
	if stages := journey.GetDeliveries(); len(stages) != 1 || stages[0].GetSinkName() != "cloud" || stages[0].GetState() != sinkv1.DeliveryState_DELIVERY_STATE_ENQUEUED {
		t.Errorf("deliveries %v", stages)
	}
	d.kill(t)
	bySequence, err := admin.GetMessage(t.Context(), &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_Sequence{
		Sequence: &adminv1.DeviceSequence{DeviceId: "dev-1", BootId: "b", Sequence: 3},
	}})
	if err != nil {
		t.Fatal(err)
	}
	journey = bySequence.GetJourney()
	if stage := journey.GetDeliveries()[0]; stage.GetState() != sinkv1.DeliveryState_DELIVERY_STATE_DEAD || stage.GetDeadLetterId() == "" {
		t.Errorf("after its death: %v", stage)
	}
	if attempts := journey.GetAttempts(); len(attempts) != 1 || attempts[0].GetStatus() != "422" || attempts[0].GetOutcome() != sinkv1.AttemptOutcome_ATTEMPT_OUTCOME_REJECTED {
		t.Errorf("attempts %v", attempts)
	}
	for name, unknown := range map[string]*adminv1.GetMessageRequest{
		"Unknown": {Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: edge.NewCorrelationID(time.Now(), 99, 0, 0).String()}},
		"Missing": {Identity: &adminv1.GetMessageRequest_MessageId{MessageId: &adminv1.DeviceMessageId{DeviceId: "dev-1", MessageId: "none"}}},
	} {
		if _, err := admin.GetMessage(t.Context(), unknown); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, invalid := range map[string]*adminv1.GetMessageRequest{
		"Nothing":    {},
		"NoUUID":     {Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: "x"}},
		"AnotherOne": {Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: "018f3c1e-0000-4000-8000-000000000000"}},
	} {
		if _, err := admin.GetMessage(t.Context(), invalid); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAdminService_GetStatus(t *testing.T) {
	d := newDurableBench(t)
	d.publish(t, typed("dev-1", 1))
	response, err := adminv1connect.NewAdminServiceClient(http.DefaultClient, d.url).GetStatus(t.Context(), &adminv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	status := response.GetStatus()
	if status.GetGatewayId() != "gw-1" || status.GetVersion() != "1.2.3" || !status.GetReady() || status.GetQueue().GetLastPosition() != 1 || status.GetQueue().GetDepthMessages() != 1 {
		t.Errorf("got %v", status)
	}
	sink := status.GetSinks()[0]
	if sink.GetName() != "cloud" || sink.GetState() != sinkv1.SinkState_SINK_STATE_WAITING || sink.GetStateDetail() != "503: busy" || sink.GetDepthMessages() != 1 {
		t.Errorf("sink %v", sink)
	}
}

// crowded is a queue whose figures are made up.
type crowded struct {
	rpc.Messages
	stats edge.QueueStats
}

func (c crowded) Stats() edge.QueueStats { return c.stats }

// Who holds the room is what the queue says: a sink may do so with dead letters, while
// another one has a backlog.
func TestAdminService_GetStatus_PinningSink(t *testing.T) {
	b := newBench(t, func(d *rpc.Dependencies) {
		d.Lanes, d.Messages = lanes{}, crowded{d.Messages, edge.QueueStats{
			Holder: "cloud",
			Sinks:  []edge.SinkStats{{ID: 1, Name: "cloud", Dead: 1000}, {ID: 2, Name: "archive", Pending: 1, PinnedBytes: 1 << 10}},
		}}
	})
	response, err := adminv1connect.NewAdminServiceClient(http.DefaultClient, b.url).GetStatus(t.Context(), &adminv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if queue := response.GetStatus().GetQueue(); queue.GetPinningSink() != "cloud" || queue.GetDepthMessages() != 1 {
		t.Errorf("got %v, want cloud, which holds the room", queue)
	}
}

// foretold is what a queue tells, and which window was asked for.
type foretold struct {
	forecast edge.Forecast
	window   *time.Duration
}

func (f foretold) Forecast(window time.Duration) edge.Forecast {
	*f.window = window
	return f.forecast
}

func TestAdminService_GetForecast(t *testing.T) {
	lost, at := edge.NewCorrelationID(time.UnixMilli(1_700_000_000_000), 7, 0, 1), time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	told := foretold{window: new(time.Duration), forecast: edge.Forecast{
		Window: time.Minute, IngestRate: 100, Growth: 2048, TimeToFull: time.Hour,
		Sinks: []edge.SinkForecast{
			{Sink: 2, Name: "b", DeliveryRate: 50, TimeToDrain: edge.Never, FirstLoss: lost, FirstLossAt: at},
			{Sink: 1, Name: "a", DeliveryRate: 100},
		},
	}}
	b := newBench(t, func(d *rpc.Dependencies) { d.Forecaster = told })
	client := adminv1connect.NewAdminServiceClient(http.DefaultClient, b.url)
	response, err := client.GetForecast(t.Context(), &adminv1.GetForecastRequest{})
	if err != nil || *told.window != 5*time.Minute {
		t.Fatalf("asked for %v, %v", *told.window, err)
	}
	want := &adminv1.Forecast{
		IngestRate: 100, GrowthBytesPerSecond: 2048, Window: durationpb.New(time.Minute), TimeToFull: durationpb.New(time.Hour),
		Sinks: []*adminv1.SinkForecast{
			{SinkId: "1", SinkName: "a", DeliveryRate: 100, TimeToDrain: durationpb.New(0)},
			{SinkId: "2", SinkName: "b", DeliveryRate: 50, FirstLossCorrelationId: lost.String(), FirstLossTime: timestamppb.New(at)},
		},
	}
	if diff := cmp.Diff(want, response.GetForecast(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if _, err := client.GetForecast(t.Context(), &adminv1.GetForecastRequest{Window: durationpb.New(time.Hour)}); err != nil || *told.window != time.Hour {
		t.Errorf("asked for %v, %v; want an hour", *told.window, err)
	}
	for _, window := range []time.Duration{59 * time.Second, 24*time.Hour + 1} {
		if _, err := client.GetForecast(t.Context(), &adminv1.GetForecastRequest{Window: durationpb.New(window)}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%v: %v", window, err)
		}
	}
}

func TestSinkService_ListSinks(t *testing.T) {
	d := newDurableBench(t)
	response, err := sinkv1connect.NewSinkServiceClient(http.DefaultClient, d.url).ListSinks(t.Context(), &sinkv1.ListSinksRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sink := range response.GetSinks() {
		names = append(names, sink.GetName())
	}
	if diff := cmp.Diff([]string{"cloud"}, names); diff != "" || response.GetNextPageToken() != "" {
		t.Error(diff, response.GetNextPageToken())
	}
	_, err = sinkv1connect.NewSinkServiceClient(http.DefaultClient, d.url).ListSinks(t.Context(), &sinkv1.ListSinksRequest{PageToken: "nonsense"})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("got %v", err)
	}
}

func TestDLQService(t *testing.T) {
	d := newDurableBench(t)
	client := dlqv1connect.NewDLQServiceClient(http.DefaultClient, d.url)
	for i := range 3 {
		d.publish(t, typed("dev-1", int64(i)))
		d.kill(t)
	}
	var ids []string
	token := ""
	for range 3 {
		page, err := client.ListDeadLetters(t.Context(), &dlqv1.ListDeadLettersRequest{PageSize: 1, PageToken: token, Filter: `sink = "cloud" AND reason = "rejected"`})
		if err != nil {
			t.Fatal(err)
		}
		letter := page.GetDeadLetters()[0]
		if letter.GetStatus() != "422" || letter.GetExcerpt() != "no such metric" || letter.GetSinkName() != "cloud" || letter.GetPayload() != nil {
			t.Errorf("got %v", letter)
		}
		ids, token = append(ids, letter.GetDeadLetterId()), page.GetNextPageToken()
	}
	if token != "" {
		t.Errorf("a fourth page at %q", token)
	}
	for filter, want := range map[string]int{"*": 3, `device_id = "dev-2"`: 0, `sink = "_ingress"`: 0, `last_error_time >= "2100-01-01T00:00:00Z"`: 0, `last_error_time < "2100-01-01T00:00:00Z"`: 3} {
		page, err := client.ListDeadLetters(t.Context(), &dlqv1.ListDeadLettersRequest{Filter: filter})
		if err != nil || len(page.GetDeadLetters()) != want {
			t.Errorf("%s: %d, %v", filter, len(page.GetDeadLetters()), err)
		}
	}
	for _, filter := range []string{`sink = "nobody"`, `reason > "a"`, `a OR b`, `reason = `, `status = "422"`, `NOT reason = "a"`} {
		if _, err := client.ListDeadLetters(t.Context(), &dlqv1.ListDeadLettersRequest{Filter: filter}); connect.CodeOf(err) != connect.CodeInvalidArgument && connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s: %v", filter, err)
		}
	}
	one, err := client.GetDeadLetter(t.Context(), &dlqv1.GetDeadLetterRequest{DeadLetterId: ids[0]})
	if err != nil || len(one.GetDeadLetter().GetPayload().GetData()) == 0 || len(one.GetDeadLetter().GetAttempts()) != 1 {
		t.Errorf("got %v, %v", one, err)
	}
	dry, err := client.RequeueDeadLetters(t.Context(), &dlqv1.RequeueDeadLettersRequest{Filter: "*", ValidateOnly: true})
	if err != nil || dry.GetCount() != 3 {
		t.Errorf("got %v, %v", dry, err)
	}
	done, err := client.RequeueDeadLetters(t.Context(), &dlqv1.RequeueDeadLettersRequest{DeadLetterIds: ids[:1]})
	if err != nil || done.GetCount() != 1 {
		t.Errorf("got %v, %v", done, err)
	}
	deliveries, err := d.queue.Lease(t.Context(), d.sink, edge.LeaseLimit{Records: 9, Bytes: 1 << 20})
	if err != nil || len(deliveries) != 1 || deliveries[0].Kind != edge.Requeue {
		t.Errorf("leased %v, %v", deliveries, err)
	}
	if _, err := client.RequeueDeadLetters(t.Context(), &dlqv1.RequeueDeadLettersRequest{DeadLetterIds: []string{"1-999"}}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

func TestTelemetryService_Tail(t *testing.T) {
	d := newDurableBench(t)
	first := d.publish(t, typed("dev-1", 1))
	client := d.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tail := func(request *telemetryv1.TailRequest) *connect.ServerStreamForClient[telemetryv1.TailResponse] {
		request.HeartbeatInterval = durationpb.New(time.Second)
		stream, err := client.Tail(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	next := func(stream *connect.ServerStreamForClient[telemetryv1.TailResponse]) *telemetryv1.TailResponse {
		t.Helper()
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		return stream.Msg()
	}
	live := tail(&telemetryv1.TailRequest{DeviceIds: []string{"dev-2"}})
	if event := next(live); event.GetHeartbeat() == nil { // the stream stands, at the head
		t.Fatalf("got %v", event)
	}
	d.publish(t, typed("dev-1", 2))
	second := d.publish(t, typed("dev-2", 3))
	event := next(live)
	for event.GetHeartbeat() != nil {
		event = next(live)
	}
	if event.GetRecord().GetCorrelationId() != second || event.GetDroppedCount() != 0 {
		t.Errorf("got %v", event)
	}
	resumed := tail(&telemetryv1.TailRequest{Cursor: "p0"})
	if event := next(resumed); event.GetRecord().GetCorrelationId() != first {
		t.Errorf("got %v", event)
	}
	again := tail(&telemetryv1.TailRequest{Cursor: event.GetCursor()})
	if event := next(again); event.GetHeartbeat() == nil {
		t.Errorf("got %v", event)
	}
	ahead, err := client.Tail(ctx, &telemetryv1.TailRequest{Cursor: "pzzz"})
	if err != nil {
		t.Fatal(err)
	}
	if ahead.Receive(); connect.CodeOf(ahead.Err()) != connect.CodeOutOfRange {
		t.Errorf("got %v", ahead.Err())
	}
}
