package main

import (
	"context"
	"errors"
	"path/filepath"

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
			const inUse = hintInUse + ", or let it make the backup: the same without --data-dir"
			return offline(gateway.QueuePath(dir), inUse, func(files *gateway.Offline) error { return a.backupOffline(command.Context(), files, to) })
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
