package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dlqv1 "combotto.io/gateway/gen/go/gateway/dlq/v1"
)

// maxDeadLetterIDs is how many ids one request may name.
const maxDeadLetterIDs = 1000

const deadLetterNotFound = "gatewayctl dlq list shows the ids; one that was requeued and delivered is gone"

// selection chooses dead letters by what they have in common.
type selection struct{ sink, reason, device string }

func (s *selection) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.sink, "sink", "", "only of this sink; _ingress holds what was refused at the door")
	flags.StringVar(&s.reason, "reason", "", "only with this reason")
	flags.StringVar(&s.device, "device", "", "only of this device")
}

func (s *selection) filter() string {
	return filterOf(equality{"sink", s.sink}, equality{"reason", s.reason}, equality{"device_id", s.device})
}

func (a *application) dlqCommand() *cobra.Command {
	return group("dlq", "Show dead letters and deliver them again", a.dlqListCommand(), a.dlqShowCommand(), a.dlqRequeueCommand())
}

func (a *application) dlqListCommand() *cobra.Command {
	var selected selection
	var limit int
	command := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, oldest first",
		Example: "  gatewayctl dlq list --sink analytics --reason rejected",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.listDeadLetters(command.Context(), selected.filter(), limit)
		},
	}
	selected.addFlags(command.Flags())
	command.Flags().IntVar(&limit, "limit", 50, "most dead letters to list; 0 is all")
	return command
}

func (a *application) listDeadLetters(ctx context.Context, filter string, limit int) error {
	request := &dlqv1.ListDeadLettersRequest{Filter: filter}
	list := listing[*dlqv1.DeadLetter]{
		header: []string{"ID", "SINK", "REASON", "STATUS", "DEVICE", "MESSAGE", "DIED", "ATTEMPTS", "REQUEUED", "REPLY"},
		page: func(size int32, token string) ([]*dlqv1.DeadLetter, string, error) {
			request.PageSize, request.PageToken = size, token
			page, err := call(ctx, a, a.deadLetters().ListDeadLetters, request, deadLetterNotFound)
			return page.GetDeadLetters(), page.GetNextPageToken(), err
		},
		row: func(letter *dlqv1.DeadLetter) []string {
			return []string{letter.DeadLetterId, letter.SinkName, letter.Reason, letter.Status, letter.GetRecord().GetDeviceId(), letter.GetRecord().GetCorrelationId(),
				moment(letter.CreateTime), fmt.Sprint(letter.AttemptCount), yesNo(letter.Requeued), excerpt(letter.Excerpt, 60)}
		},
	}
	return list.print(a, limit)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (a *application) dlqShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter with its payload and every attempt",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			return a.showDeadLetter(command.Context(), arguments[0])
		},
	}
}

func (a *application) showDeadLetter(ctx context.Context, id string) error {
	response, err := call(ctx, a, a.deadLetters().GetDeadLetter, &dlqv1.GetDeadLetterRequest{DeadLetterId: id}, deadLetterNotFound)
	if err != nil {
		return err
	}
	letter := response.GetDeadLetter()
	if a.output == "json" {
		return a.printJSON(letter)
	}
	out := newTable(a.stdout)
	out.row("dead letter", letter.GetDeadLetterId())
	out.row("sink", letter.GetSinkName())
	out.row("reason", letter.GetReason())
	out.row("status", letter.GetStatus())
	out.row("reply", letter.GetExcerpt())
	attempts := "none: refused at the door"
	if letter.GetFirstErrorTime() != nil {
		attempts = fmt.Sprintf("%d, the first failed at %s, the last at %s", letter.GetAttemptCount(), moment(letter.GetFirstErrorTime()), moment(letter.GetLastErrorTime()))
	}
	out.row("attempts", attempts)
	out.row("died", moment(letter.GetCreateTime()))
	out.row("requeued", requeuedText(letter))
	describeRecord(out, letter.GetRecord(), letter.GetPayload())
	out.flush()
	a.printAttempts(letter.GetAttempts())
	return nil
}

// requeuedText says how often a letter was requeued where the gateway tells: 0 may
// be one that does not count.
func requeuedText(letter *dlqv1.DeadLetter) string {
	text := yesNo(letter.GetRequeued())
	if count := letter.GetRequeueCount(); count > 0 {
		text += fmt.Sprintf(", %d times before", count)
	}
	return text
}

// requeue is what dlq requeue was asked for.
type requeue struct {
	selected         selection
	all, dryRun, yes bool
}

func (a *application) dlqRequeueCommand() *cobra.Command {
	var options requeue
	command := &cobra.Command{
		Use:   "requeue [ID...]",
		Short: "Give dead letters back to their sink",
		Long: `Give dead letters back to their sink, which delivers them again, out of the device's order. Name them by id, choose them
with --sink, --reason and --device, or take --all. A choice is counted and confirmed first, unless --yes is given.`,
		Example: `  gatewayctl dlq requeue 2-17
  gatewayctl dlq requeue --sink analytics --reason rejected --dry-run
  gatewayctl dlq requeue --sink analytics --yes`,
		RunE: func(command *cobra.Command, ids []string) error {
			request, err := options.request(ids)
			if err != nil {
				return err
			}
			return a.requeueDeadLetters(command.Context(), request, &options)
		},
	}
	options.selected.addFlags(command.Flags())
	command.Flags().BoolVar(&options.all, "all", false, "every dead letter of every sink")
	command.Flags().BoolVar(&options.dryRun, "dry-run", false, "only count")
	command.Flags().BoolVarP(&options.yes, "yes", "y", false, "do not ask")
	return command
}

// request reads what is to be requeued: exactly one way to say it must be used.
func (r *requeue) request(ids []string) (*dlqv1.RequeueDeadLettersRequest, error) {
	filter := r.selected.filter()
	ways := 0
	for _, used := range []bool{len(ids) > 0, filter != "", r.all} {
		if used {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, usage("which dead letters?", "give ids, or --sink, --reason and --device, or --all")
	case len(ids) > maxDeadLetterIDs:
		return nil, usage(fmt.Sprintf("%d ids, at most %d are allowed", len(ids), maxDeadLetterIDs), "choose with --sink, --reason and --device")
	case r.all:
		filter = "*"
	}
	return &dlqv1.RequeueDeadLettersRequest{DeadLetterIds: ids, Filter: filter}, nil
}

func (a *application) requeueDeadLetters(ctx context.Context, request *dlqv1.RequeueDeadLettersRequest, options *requeue) error {
	chosen := request.Filter != ""
	response, err := countThenConfirm(options.dryRun, chosen && !options.yes, func(validateOnly bool) (*dlqv1.RequeueDeadLettersResponse, error) {
		request.ValidateOnly = validateOnly
		return call(ctx, a, a.deadLetters().RequeueDeadLetters, request, deadLetterNotFound)
	}, func(counted *dlqv1.RequeueDeadLettersResponse) error {
		return a.confirm(fmt.Sprintf("Requeue %d dead letters?", counted.Count), "requeued")
	})
	if options.dryRun {
		return a.printRequeued(response, err, "would be requeued")
	}
	return a.printRequeued(response, err, "requeued")
}

func (a *application) printRequeued(response *dlqv1.RequeueDeadLettersResponse, err error, what string) error {
	switch {
	case err != nil:
		return err
	case a.output == "json":
		return a.printJSON(response)
	case response.Operation != nil:
		a.print("%d dead letters will be %s by operation %s\n", response.Count, what, printable(response.Operation.OperationId))
	default:
		a.print("%d dead letters %s\n", response.Count, what)
	}
	return nil
}
