package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"combotto.io/gateway/server/gateway"
)

// dataDirVariable names the data folder when --data-dir does not; it is the
// gateway's own.
const dataDirVariable = "GATEWAY_DATA_DIR"

const defaultDataDir = "./data"

func (a *application) queueCommand() *cobra.Command {
	return group("queue", "Look after the file that holds the messages", a.queueVerifyCommand(), a.queueRepairCommand(), a.queueCompactCommand(), a.queueBackupCommand(), a.queueRestoreCommand())
}

// dataDirFlag gives a command --data-dir.
func dataDirFlag(command *cobra.Command, dir *string) {
	fallback := os.Getenv(dataDirVariable)
	if fallback == "" {
		fallback = defaultDataDir
	}
	command.Flags().StringVar(dir, "data-dir", fallback, "the gateway's data folder; "+dataDirVariable+" sets the default")
	if err := command.MarkFlagDirname("data-dir"); err != nil {
		panic(err) // the flag is defined one line above
	}
}

// hintInUse is what to do about a queue that somebody works with, for an operation
// that has no other way.
const hintInUse = "stop the gateway first"

// offline runs something on a queue that no gateway works with. The hint is for one
// that somebody does work with.
func offline(path, inUse string, run func(*gateway.Offline) error) error {
	files, err := gateway.OpenOffline(path)
	if err != nil {
		return offlineFailure(path, inUse, err)
	}
	defer files.Close()
	if err := run(files); err != nil {
		return offlineFailure(files.Path(), inUse, err)
	}
	return nil
}

// offlineFailure says what to do about an error of an operation on files.
func offlineFailure(path, inUse string, err error) error {
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	failed := &failure{code: exitFailed, message: printable(err.Error())}
	failed.hint = gateway.Hint(err)
	switch {
	case errors.Is(err, gateway.ErrInUse):
		failed.hint = inUse
	case gateway.IsDamaged(err):
		failed.hint = "gatewayctl queue repair " + path + " shows what can be kept"
	case errors.Is(err, fs.ErrNotExist):
		failed.message = "there is no queue at " + path
		failed.hint = "--data-dir is the gateway's data folder; gateway config explain shows data_dir"
	case errors.Is(err, fs.ErrPermission):
		failed.hint = "run it as the user that the gateway runs as"
	}
	return failed
}

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
	if found.Found == 0 {
		return nil
	}
	return &failure{exitFound, fmt.Sprintf("%d problems in %s", found.Found, found.Path),
		"gatewayctl queue repair shows what can be kept; docs/runbooks/damaged-queue.md says what each problem means"}
}
