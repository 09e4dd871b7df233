package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/server/gateway"
)

func (a *application) queueBackupCommand() *cobra.Command {
	dir := ""
	command := &cobra.Command{
		Use:   "backup DEST",
		Short: "Copy the queue into a new file, while the gateway runs or while it does not",
		Long: `Copy the queue, as it is at one moment, into a new file, and verify the copy. The running gateway at --url makes it, beside its
work, on its own machine and as its own user; what was acknowledged before is in it. With --data-dir the queue of a gateway that
is stopped is copied. The file holds messages: keep it as safe as the queue. It takes as long as it takes, whatever --timeout says.`,
		Example: "  gatewayctl queue backup /backup/queue-monday.db\n  gatewayctl queue backup --data-dir /var/lib/gateway /backup/queue-monday.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			to, err := filepath.Abs(arguments[0])
			if err != nil {
				return usage(err.Error(), "")
			}
			if !command.Flags().Changed("data-dir") {
				return a.backupOnline(command.Context(), to)
			}
			return offline(gateway.QueuePath(dir), func(files *gateway.Offline) error { return a.backupOffline(command.Context(), files, to) })
		},
	}
	command.Flags().StringVar(&dir, "data-dir", "", "data folder of a gateway that is stopped")
	if err := command.MarkFlagDirname("data-dir"); err != nil {
		panic(err) // the flag is defined one line above
	}
	return command
}

func (a *application) backupOnline(ctx context.Context, to string) error {
	done, err := a.admin().BackupQueue(ctx, &adminv1.BackupQueueRequest{Path: to})
	if connect.CodeOf(err) == connect.CodeUnavailable && !connect.IsWireError(err) {
		explained, _ := errors.AsType[*failure](a.explain(err, ""))
		return &failure{explained.code, explained.message, "check --url; of a gateway that is stopped: gatewayctl queue backup --data-dir DIR " + to}
	}
	if err != nil {
		return a.explain(err, "")
	}
	if a.output == "json" {
		return a.printJSON(done)
	}
	a.showBackup(done.Path, done.SizeBytes, done.MessageCount, done.DeadLetterCount)
	return nil
}

func (a *application) backupOffline(ctx context.Context, files *gateway.Offline, to string) error {
	found, err := files.BackupQueue(ctx, to)
	if err != nil {
		return err
	}
	done := &adminv1.BackupQueueResponse{
		Path: found.Path, SizeBytes: uint64(found.Bytes), MessageCount: uint64(found.Records), DeadLetterCount: uint64(found.DeadLetters),
	}
	if a.output == "json" {
		return a.printJSON(done)
	}
	a.showBackup(done.Path, done.SizeBytes, done.MessageCount, done.DeadLetterCount)
	return nil
}

func (a *application) showBackup(path string, bytes, messages, letters uint64) {
	a.print("%s: %s, %d messages, %d dead letters, verified\n", path, size(bytes), messages, letters)
}

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
			return offline(gateway.QueuePath(dir), func(files *gateway.Offline) error {
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
