package main

import (
	"context"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"combotto.io/gateway/server/gateway"
)

func (a *application) queueRestoreCommand() *cobra.Command {
	dir, force := "", false
	command := &cobra.Command{
		Use:   "restore SRC",
		Short: "Make the queue of a stopped gateway from a backup",
		Long: `Make the queue of --data-dir from a backup, which is verified first and left as it is. A queue that is there is only replaced with
--force, and is kept beside the new one.

What was delivered since the backup is delivered again, with the same correlation ids. What was accepted since then is not in it:
messages of that time are stored as new when their devices send them again. New messages get correlation ids, and batches names, that
the gateway which the backup was made of never gives.`,
		Example: "  gatewayctl queue restore --data-dir /var/lib/gateway /backup/queue-monday.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if info, err := os.Stat(arguments[0]); err != nil || info.IsDir() {
				return &failure{exitFailed, "there is no backup at " + printable(arguments[0]), "SRC is the file that gatewayctl queue backup has made"}
			}
			return offline(gateway.QueuePath(dir), hintInUse, func(files *gateway.Offline) error {
				return a.restoreQueue(command.Context(), files, arguments[0], force)
			})
		},
	}
	dataDirFlag(command, &dir)
	command.Flags().BoolVar(&force, "force", false, "replace a queue that is there; it is kept beside the new one")
	return command
}

func (a *application) restoreQueue(ctx context.Context, files *gateway.Offline, from string, force bool) error {
	done, err := files.RestoreQueue(ctx, from, force)
	a.showMoved(done.Moved)
	if gateway.IsThere(err) {
		return &failure{exitFailed, printable(err.Error()), "--force replaces it, and keeps it beside the new one"}
	}
	if gateway.IsDamaged(err) {
		return &failure{exitFailed, printable(err.Error()), "gatewayctl queue repair " + from + " shows what can be kept of the backup"}
	}
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printValue(done)
	}
	out := newTable(a.stdout)
	out.row("queue", done.Path)
	out.row("messages", strconv.FormatInt(done.Records, 10))
	out.row("dead letters", strconv.FormatInt(done.DeadLetters, 10))
	if done.Kept != "" {
		out.row("the old file", done.Kept)
	}
	out.flush()
	return nil
}
