package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

// lossSelection chooses losses by what they have in common.
type lossSelection struct{ sink, kind, reason, device string }

func (s *lossSelection) filter() string {
	return filterOf(equality{"sink", s.sink}, equality{"kind", strings.ToUpper(s.kind)}, equality{"reason", s.reason}, equality{"device_id", s.device})
}

func (a *application) lossCommand() *cobra.Command {
	return group("loss", "Show what was given up", a.lossListCommand())
}

func (a *application) lossListCommand() *cobra.Command {
	var selected lossSelection
	var limit int
	command := &cobra.Command{
		Use:   "list",
		Short: "List what was given up, newest first",
		Long: `List what was given up, newest first: every message that a sink was owed and will not get, or that was refused at a door
and kept no longer, is in exactly one line. A line is extended for an hour, as long as messages of the same sink are lost for
the same reason.`,
		Example: "  gatewayctl loss list --sink archive --kind expired",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if _, known := adminv1.LossKind_value["LOSS_KIND_"+strings.ToUpper(selected.kind)]; selected.kind != "" && !known {
				return usage("--kind must be discarded, expired or quarantined", "gatewayctl loss list shows all kinds without it")
			}
			return a.listLosses(command.Context(), selected.filter(), limit)
		},
	}
	flags := command.Flags()
	flags.StringVar(&selected.sink, "sink", "", "only of this sink; _ingress lost what was refused at the door")
	flags.StringVar(&selected.kind, "kind", "", "only discarded, expired or quarantined ones")
	flags.StringVar(&selected.reason, "reason", "", "only with this reason")
	flags.StringVar(&selected.device, "device", "", "only where this device is named")
	flags.IntVar(&limit, "limit", 50, "most lines to list; 0 is all")
	return command
}

func (a *application) listLosses(ctx context.Context, filter string, limit int) error {
	request := &adminv1.ListLossesRequest{Filter: filter}
	list := listing[*adminv1.Loss]{
		header: []string{"SINK", "KIND", "REASON", "BY", "COUNT", "RECEIVED FROM", "RECEIVED TO", "GIVEN UP", "POSITIONS", "DEVICES"},
		page: func(size int32, token string) ([]*adminv1.Loss, string, error) {
			request.PageSize, request.PageToken = size, token
			page, err := call(ctx, a, a.admin().ListLosses, request, "gatewayctl status lists the sinks")
			return page.GetLosses(), page.GetNextPageToken(), err
		},
		row: func(loss *adminv1.Loss) []string {
			return []string{loss.SinkName, word(loss.Kind, "LOSS_KIND_"), loss.Reason, loss.Actor, count(loss.Count), moment(loss.FirstReceiveTs), moment(loss.LastReceiveTs),
				moment(loss.LossTime), fmt.Sprintf("%d-%d", loss.FirstPosition, loss.LastPosition), losers(loss)}
		},
	}
	return list.print(a, limit)
}

// losersShown is how many devices a line names; JSON has up to 20.
const losersShown = 3

// losers names the devices that lost most, and says how much the others lost.
func losers(loss *adminv1.Loss) string {
	var named []string
	rest := loss.Count
	for _, device := range loss.Devices[:min(losersShown, len(loss.Devices))] {
		named = append(named, fmt.Sprintf("%s %d", device.DeviceId, device.Count))
		rest -= device.Count
	}
	if rest > 0 {
		named = append(named, fmt.Sprintf("others %d", rest))
	}
	return strings.Join(named, ", ")
}
