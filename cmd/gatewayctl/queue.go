package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

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

// fileOr returns the file that a command was given, or the one of a data folder.
func fileOr(arguments []string, dir string) string {
	if len(arguments) == 0 {
		return gateway.QueuePath(dir)
	}
	if info, err := os.Stat(arguments[0]); err == nil && info.IsDir() {
		return gateway.QueuePath(arguments[0])
	}
	return arguments[0]
}

// showMoved says what an operation has found under the names that replacements give,
// whatever became of it after that.
func (a *application) showMoved(moved []gateway.MovedFile) {
	for _, file := range moved {
		if file.Unfit != "" {
			fmt.Fprintf(a.stderr, "gatewayctl: %s is no finished replacement of the queue's file (%s): it is %s now\n", printable(file.Path), printable(file.Unfit), printable(file.Kept))
			continue
		}
		fmt.Fprintf(a.stderr, "gatewayctl: %s has taken the place of the queue's file: something was interrupted before that is finished now\n", printable(file.Path))
		if file.Kept != "" {
			fmt.Fprintf(a.stderr, "gatewayctl: the old file is %s now\n", printable(file.Kept))
		}
		if file.Removed != "" {
			fmt.Fprintf(a.stderr, "gatewayctl: %s was removed for that: nothing in it was missing\n", printable(file.Removed))
		}
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
