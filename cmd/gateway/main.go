// Command gateway is the IoT gateway: it takes telemetry over MQTT, HTTP and
// gRPC, makes each message durable before it acknowledges it, and brings it to
// every destination.
//
// Exit codes: 0 clean stop; 1 runtime failure, restart it; 2 usage or
// configuration, restarting is useless; 3 the data folder is in use.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/gateway"
)

// Set by the linker: see the Makefile.
var (
	version = "dev"
	commit  = ""
	builtAt = ""
)

func main() {
	root := &cobra.Command{
		Use:           "gateway",
		Short:         "IoT gateway with durable ingest and at-least-once delivery",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(serveCommand(), configCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	err := root.Execute()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(exitCode(err))
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func exitCode(err error) int {
	_, usage := errors.AsType[usageError](err)
	_, invalid := errors.AsType[*config.Error](err)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, gateway.ErrInUse):
		return 3
	case usage, invalid, errors.Is(err, gateway.ErrUsage):
		return 2
	}
	return 1
}

// build falls back on what the go command notes by itself.
func build() gateway.Build {
	b := gateway.Build{Version: version, Commit: commit, At: builtAt}
	info, ok := debug.ReadBuildInfo()
	for i := 0; ok && b.At == "" && i < len(info.Settings); i++ {
		if info.Settings[i].Key == "vcs.time" {
			b.At = info.Settings[i].Value
		}
	}
	return b
}
