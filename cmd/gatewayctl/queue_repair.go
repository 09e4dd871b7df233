package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"combotto.io/gateway/server/gateway"
)

func (a *application) queueRepairCommand() *cobra.Command {
	dir, yes := "", false
	command := &cobra.Command{
		Use:   "repair [FILE]",
		Short: "Rebuild a damaged queue from what is whole in it",
		Long: `Rebuild a damaged queue from everything in it that is what was written, as a start of the gateway does by itself when it meets
damage that it cannot serve around. Without --yes nothing is replaced: the report says what would be kept and what is lost.
The old file is kept beside the new one, and there has to be room for both; where only rows are wrong that follow from others,
they are mended in place. A kill at any moment leaves one or the other.`,
		Example: "  gatewayctl queue repair --data-dir /var/lib/gateway\n  gatewayctl queue repair --data-dir /var/lib/gateway --yes",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			return offline(fileOr(arguments, dir), hintInUse, func(files *gateway.Offline) error { return a.repairQueue(command.Context(), files, yes) })
		},
	}
	dataDirFlag(command, &dir)
	command.Flags().BoolVar(&yes, "yes", false, "replace the file; without it only the report is made")
	return command
}

func (a *application) repairQueue(ctx context.Context, files *gateway.Offline, apply bool) error {
	done, err := files.RepairQueue(ctx, apply)
	a.showMoved(done.Moved)
	if err != nil {
		return err
	}
	if a.output == "json" {
		if err := a.printValue(struct {
			Problems int64 `json:"problems"`
			gateway.Repaired
		}{done.Before.Found, done}); err != nil {
			return err
		}
	} else {
		a.showRepair(&done)
	}
	if done.Before.Found > 0 && !apply {
		return &failure{exitFound, "nothing was changed", "the same command with --yes does it, and keeps the old file"}
	}
	return nil
}

func (a *application) showRepair(done *gateway.Repaired) {
	if done.Before.Found == 0 {
		a.print("there is nothing to repair in %s\n", done.Before.Path)
		return
	}
	out := newTable(a.stdout)
	out.row("problems", strconv.FormatInt(done.Before.Found, 10)+", the first: "+done.Before.Problems[0].Detail)
	out.row("messages kept", strconv.FormatInt(done.Records, 10))
	out.row("dead letters kept", strconv.FormatInt(done.DeadLetters, 10))
	out.row("lost, that a sink was still owed", strconv.FormatInt(done.Lost, 10))
	out.row("sinks", strings.Join(done.Sinks, ", "))
	if done.NewestLost {
		out.row("note", "the write-ahead log is damaged: how much of what was committed last is lost besides is not known")
	}
	if done.CursorsLost {
		out.row("note", "where a sink was is lost: sinks that are new get everything again")
	}
	if done.SetsLost > 0 {
		out.row("note", "which sinks some messages were meant for is lost: all that were served then get them")
	}
	if done.Unreadable > 0 {
		out.row("note", fmt.Sprintf("the disk did not give back %d pages: look at dmesg", done.Unreadable))
	}
	if done.Kept != "" {
		out.row("the old file", done.Kept)
	}
	if done.Removed != "" {
		out.row("removed, nothing in it was missing", done.Removed)
	}
	out.flush()
}
