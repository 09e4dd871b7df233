package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
)

func (a *application) sinkCommand() *cobra.Command {
	return group("sink", "Delete sinks that are no longer configured", a.sinkDeleteCommand())
}

// deletion is what sink delete was asked for.
type deletion struct{ discard, dryRun, yes bool }

func (a *application) sinkDeleteCommand() *cobra.Command {
	var options deletion
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a sink that is no longer configured",
		Long: `Delete a sink that is no longer configured. What it is still owed, and its dead letters, go only with --discard; they are
counted and confirmed first, unless --yes is given, and gatewayctl loss list shows them afterwards. The name is free then;
a new sink with it begins anew.`,
		Example: "  gatewayctl sink delete archive --discard --dry-run\n  gatewayctl sink delete archive --discard",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			return a.deleteSink(command.Context(), arguments[0], &options)
		},
	}
	command.Flags().BoolVar(&options.discard, "discard", false, "give up what the sink is owed, dead letters included")
	command.Flags().BoolVar(&options.dryRun, "dry-run", false, "only count")
	command.Flags().BoolVarP(&options.yes, "yes", "y", false, "do not ask")
	return command
}

func (a *application) deleteSink(ctx context.Context, name string, options *deletion) error {
	const notFound = "gatewayctl status lists the sinks"
	response, err := countThenConfirm(options.dryRun, options.discard && !options.yes, func(validateOnly bool) (*sinkv1.DeleteSinkResponse, error) {
		return call(ctx, a, a.sinks().DeleteSink, &sinkv1.DeleteSinkRequest{Sink: name, Discard: options.discard, ValidateOnly: validateOnly}, notFound)
	}, func(counted *sinkv1.DeleteSinkResponse) error {
		return a.confirm(fmt.Sprintf("Delete sink %s and give up %d messages?", name, counted.DiscardedCount), "deleted")
	})
	if options.dryRun {
		return a.printDeleted(response, err, "would be given up")
	}
	return a.printDeleted(response, err, "given up; the sink is deleted")
}

func (a *application) printDeleted(response *sinkv1.DeleteSinkResponse, err error, what string) error {
	switch {
	case err != nil:
		return err
	case a.output == "json":
		return a.printJSON(response)
	}
	a.print("%d messages %s\n", response.DiscardedCount, what)
	return nil
}
