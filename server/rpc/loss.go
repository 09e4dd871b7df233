package rpc

import (
	"context"
	"strconv"
	"strings"

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
func (s *Server) lossFilter(text string) (edge.LossFilter, error) {
	var filter edge.LossFilter
	bySink := s.addLoser(&filter.Sinks)
	choice := choice{
		equals: map[string]func(string) error{
			"sink": bySink, "sink_name": bySink, "reason": assign(&filter.Reason), "device_id": assign(&filter.Device),
			"sink_id": func(value string) error { // it may be deleted
				id, err := strconv.ParseUint(value, 10, 32)
				if err != nil {
					return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q is no id of a sink", value)
				}
				filter.Sinks = append(filter.Sinks, edge.SinkID(id))
				return nil
			},
			"kind": func(value string) (err error) {
				filter.Kind, err = parseLossKind(value)
				return err
			},
		},
		time: "loss_time", since: &filter.Since, until: &filter.Until,
	}
	err := choice.read(text)
	return filter, err
}

func parseLossKind(text string) (edge.LossKind, error) {
	for _, kind := range edge.LossKinds {
		if strings.EqualFold(kind.String(), strings.TrimPrefix(text, "LOSS_KIND_")) {
			return kind, nil
		}
	}
	return 0, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q is no kind of loss: use DISCARDED, EXPIRED or QUARANTINED", text)
}

// addLoser adds every sink that has a name, or had it when it was removed: what it
// lost is asked for most when it is gone.
func (s *Server) addLoser(to *[]edge.SinkID) func(string) error {
	return func(nameOrID string) error {
		for _, sink := range s.Messages.Stats().Ended {
			if sink.Deleted && (sink.Name == nameOrID || formatSinkID(sink.ID) == nameOrID) {
				*to = append(*to, sink.ID)
			}
		}
		id, err := s.mustFindSink("filter", nameOrID)
		switch {
		case err == nil:
			*to = append(*to, id)
		case len(*to) > 0:
			return nil
		}
		return err
	}
}
