package rpc

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

const (
	tailReadLimit        = 256
	tailHeartbeatDefault = 15 * time.Second
	// A live tail that has fallen this far behind jumps to the present and says
	// how much it left out.
	tailLagMax = 10_000
)

// Tail shows records after their commit. It reads the durable log with a cursor
// of its own, so a caller that is slow costs no memory and holds nobody up.
func (t *telemetryService) Tail(ctx context.Context, request *telemetryv1.TailRequest, stream *connect.ServerStream[telemetryv1.TailResponse]) error {
	if err := mustOperate(ctx); err != nil {
		return err
	}
	if request.GetFilter() != "" {
		return connect.NewError(connect.CodeUnimplemented, errors.New("filter expressions are not supported by this version of the gateway: use device_ids and sources"))
	}
	follow := &tail{server: t.server, request: request, stream: stream, renderer: wire.NewRenderer(t.server.settings.GatewayID)}
	if err := follow.begin(); err != nil {
		return err
	}
	ctx, cancel := t.server.streamContext(ctx)
	defer cancel()
	return follow.run(ctx)
}

// tail is one caller's view of the log.
type tail struct {
	server   *Server
	request  *telemetryv1.TailRequest
	stream   *connect.ServerStream[telemetryv1.TailResponse]
	renderer *wire.Renderer

	position edge.Position // everything up to it was shown or left out
	resuming bool          // still catching up from the caller's cursor: nothing is left out
	dropped  uint64
}

// begin finds where the caller wants to start.
func (t *tail) begin() error {
	stats := t.server.Messages.Stats()
	if t.request.GetCursor() == "" {
		t.position = stats.Head
		return nil
	}
	position, err := parseCursor(t.request.GetCursor())
	if err != nil {
		return err
	}
	if position > stats.Head || stats.Oldest > 0 && position < stats.Oldest-1 || stats.Oldest == 0 && position < stats.Head {
		return connect.NewError(connect.CodeOutOfRange, errors.New("the records after this cursor are no longer kept, or it belongs to another queue: start without a cursor"))
	}
	t.position, t.resuming = position, true
	return nil
}

func (t *tail) run(ctx context.Context) error {
	heartbeat := tailHeartbeatDefault
	if asked := t.request.GetHeartbeatInterval(); asked != nil {
		heartbeat = asked.AsDuration()
	}
	sentAt := time.Now()
	for {
		wait, cancel := context.WithDeadline(ctx, sentAt.Add(heartbeat))
		records, next, err := t.server.Messages.Read(wait, t.position, tailReadLimit)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil // the caller left, or the gateway stops
		case errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			return err
		}
		sent, err := t.show(records)
		if err != nil {
			return err
		}
		if next > t.position {
			t.position = next
		}
		if !sent && time.Since(sentAt) >= heartbeat {
			if err := t.send(&telemetryv1.TailResponse{Event: &telemetryv1.TailResponse_Heartbeat{
				Heartbeat: &telemetryv1.TailHeartbeat{Time: timestamppb.Now()},
			}}); err != nil {
				return err
			}
			sent = true
		}
		if sent {
			sentAt = time.Now()
		}
		t.catchUp()
	}
}

// show sends the records that match, and reports whether there were any.
func (t *tail) show(records []edge.Record) (sent bool, err error) {
	for i := range records {
		record := &records[i]
		if !t.matches(record) {
			continue
		}
		message, err := t.renderer.Message(&edge.Delivery{Record: *record})
		if err != nil {
			return sent, err
		}
		t.position = record.Position
		if err := t.send(&telemetryv1.TailResponse{Event: &telemetryv1.TailResponse_Record{Record: message}}); err != nil {
			return sent, err
		}
		sent = true
	}
	return sent, nil
}

func (t *tail) send(response *telemetryv1.TailResponse) error {
	response.Cursor, response.DroppedCount = formatCursor(t.position), t.dropped
	return t.stream.Send(response)
}

func (t *tail) matches(record *edge.Record) bool {
	devices, sources := t.request.GetDeviceIds(), t.request.GetSources()
	return (len(devices) == 0 || slices.Contains(devices, string(record.Device))) &&
		(len(sources) == 0 || slices.Contains(sources, wire.SourceMessage(record.Source)))
}

// catchUp lets a live tail that is too far behind jump to the present.
func (t *tail) catchUp() {
	behind := t.server.Messages.Head() - t.position
	if behind < tailReadLimit {
		t.resuming = false
	}
	if behind > tailLagMax && !t.resuming {
		t.dropped += uint64(behind - tailReadLimit)
		t.position += behind - tailReadLimit
	}
}

const cursorPrefix = "p"

func formatCursor(position edge.Position) string {
	return cursorPrefix + strconv.FormatInt(int64(position), 36)
}

func parseCursor(text string) (edge.Position, error) {
	digits, ok := strings.CutPrefix(text, cursorPrefix)
	position, err := strconv.ParseInt(digits, 36, 64)
	if !ok || err != nil || position < 0 {
		return 0, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "cursor", "is not a cursor of this call")
	}
	return edge.Position(position), nil
}
