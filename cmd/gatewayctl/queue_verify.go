package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"combotto.io/gateway/server/gateway"
)

func (a *application) queueVerifyCommand() *cobra.Command {
	dir := ""
	command := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check every byte that has a checksum, and the ledger",
		Long: `Check a queue that no gateway works with: SQLite's structures, the checksum of every frame, dead letter and row, that no message
is missing between them, and the counters against what is stored. Nothing is changed. FILE is a backup or any other copy;
without it the queue of --data-dir is checked. All of it is read: some 100 MB take a second.

Exit code 4 says that something was found.`,
		Example: "  gatewayctl queue verify --data-dir /var/lib/gateway\n  gatewayctl queue verify /backup/queue-monday.db -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			const inUse = hintInUse + "; while it runs, gatewayctl queue backup makes a copy that can be verified"
			return offline(fileOr(arguments, dir), inUse, func(files *gateway.Offline) error { return a.verifyQueue(command.Context(), files) })
		},
	}
	dataDirFlag(command, &dir)
	return command
}

func (a *application) verifyQueue(ctx context.Context, files *gateway.Offline) error {
	found, err := files.VerifyQueue(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		if err := a.printValue(found); err != nil {
			return err
		}
	} else {
		out := newTable(a.stdout)
		out.row("file", found.Path)
		out.row("size", fmt.Sprintf("%s, of which %s are free; write-ahead log %s", size(uint64(found.Bytes)), size(uint64(found.FreeBytes)), size(uint64(found.WALBytes))))
		out.row("messages", fmt.Sprintf("%d in %d frames", found.Records, found.Frames))
		out.row("besides", fmt.Sprintf("%d dead letters, %d sinks, %d devices, %d attempts", found.DeadLetters, found.Sinks, found.Devices, found.Attempts))
		out.row("set aside earlier", strconv.FormatInt(found.Quarantined, 10)+" messages")
		out.row("problems", strconv.FormatInt(found.Found, 10))
		for _, note := range found.Notes {
			out.row("note", note)
		}
		out.flush()
		if len(found.Problems) > 0 {
			a.print("\n")
			out = newTable(a.stdout, "KIND", "POSITION", "SINK", "DETAIL")
			for _, problem := range found.Problems {
				position := "-"
				if problem.Position > 0 {
					position = strconv.FormatInt(int64(problem.Position), 10)
				}
				out.row(string(problem.Kind), position, cmp.Or(problem.Sink, "-"), problem.Detail)
			}
			out.flush()
		}
	}
	switch {
	case found.Found == 0 && found.Gone:
		return &failure{exitFound, "what was committed last is missing from " + found.Path,
			"put the files back if they are anywhere, or start the gateway, which goes on without; docs/runbooks/damaged-queue.md"}
	case found.Found == 0:
		return nil
	}
	return &failure{exitFound, fmt.Sprintf("%d problems in %s", found.Found, found.Path),
		"gatewayctl queue repair shows what can be kept; docs/runbooks/damaged-queue.md says what each problem means"}
}
