package rpc

import (
	"context"
	"strconv"
	"strings"

	"go.einride.tech/aip/filtering"
	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/server/edge"
)

// lossDevicesShown is how many devices of a loss an answer names.
const lossDevicesShown = 20

// ListLosses reads what was given up, newest first.
func (a *adminService) ListLosses(ctx context.Context, request *adminv1.ListLossesRequest) (*adminv1.ListLossesResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	filter, err := a.server.lossFilter(request.GetFilter())
	if err != nil {
		return nil, err
	}
	before := int64(0)
	if token, err := parsePageToken(request.GetPageToken(), request.GetFilter()); err != nil {
		return nil, err
	} else if token != "" {
		if before, err = strconv.ParseInt(token, 10, 64); err != nil || before <= 0 {
			return nil, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "page_token", "is not a token of this list and filter")
		}
	}
	size := pageSize(request.GetPageSize())
	losses, err := a.server.Losses.Losses(ctx, filter, before, size+1)
	if err != nil {
		return nil, err
	}
	response := &adminv1.ListLossesResponse{}
	if len(losses) > size {
		losses = losses[:size]
		response.NextPageToken = formatPageToken(strconv.FormatInt(losses[size-1].ID, 10), request.GetFilter())
	}
	names := a.server.sinkNames()
	for i := range losses {
		response.Losses = append(response.Losses, lossMessage(&losses[i], names))
	}
	return response, nil
}

func lossMessage(loss *edge.Loss, names map[edge.SinkID]string) *adminv1.Loss {
	message := &adminv1.Loss{
		LossId: strconv.FormatInt(loss.ID, 10), SinkId: formatSinkID(loss.Sink), SinkName: names[loss.Sink],
		Kind: adminv1.LossKind(loss.Kind), Reason: loss.Reason, Actor: loss.Actor,
		FirstPosition: uint64(loss.First), LastPosition: uint64(loss.Last), Count: uint64(loss.Count), LossTime: timestamppb.New(loss.At),
	}
	if loss.SinkName != "" { // deleted since
		message.SinkName = loss.SinkName
	}
	if !loss.FirstReceived.IsZero() {
		message.FirstReceiveTs, message.LastReceiveTs = timestamppb.New(loss.FirstReceived), timestamppb.New(loss.LastReceived)
	}
	for _, device := range loss.Devices[:min(lossDevicesShown, len(loss.Devices))] {
		message.Devices = append(message.Devices, &adminv1.DeviceLoss{DeviceId: string(device.Device), Count: uint64(device.Count)})
	}
	return message
}

// lossFilter reads a filter over losses.
func (s *Server) lossFilter(text string) (filter edge.LossFilter, err error) {
	comparisons, err := parseFilter(text)
	if err != nil {
		return filter, err
	}
	for _, c := range comparisons {
		if err := s.narrowLosses(&filter, c); err != nil {
			return filter, err
		}
	}
	return filter, nil
}

func (s *Server) narrowLosses(filter *edge.LossFilter, c comparison) error {
	unsupported := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter",
		`%q %s is not supported: use sink_name =, sink_id =, kind =, reason =, device_id =, loss_time >= or loss_time <`, c.field, c.operator)
	if c.field == "loss_time" {
		if ok, err := parseRange(c, &filter.Since, &filter.Until); ok || err != nil {
			return err
		}
		return unsupported
	}
	if c.operator != filtering.FunctionEquals {
		return unsupported
	}
	switch c.field {
	case "sink_id":
		id, err := strconv.ParseUint(c.value, 10, 32) // it may be deleted
		if err != nil {
			return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q is no id of a sink", c.value)
		}
		filter.Sinks = append(filter.Sinks, edge.SinkID(id))
	case "sink_name", "sink":
		id, err := s.mustFindSink("filter", c.value)
		if err != nil {
			return err
		}
		filter.Sinks = append(filter.Sinks, id)
	case "kind":
		for _, kind := range edge.LossKinds {
			if strings.EqualFold(kind.String(), strings.TrimPrefix(c.value, "LOSS_KIND_")) {
				filter.Kind = kind
				return nil
			}
		}
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q is no kind of loss: use DISCARDED, EXPIRED or QUARANTINED", c.value)
	case "reason":
		filter.Reason = c.value
	case "device_id":
		filter.Device = edge.DeviceID(c.value)
	default:
		return unsupported
	}
	return nil
}
