package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

// Set by the linker: see the Makefile.
var (
	version = "dev"
	commit  = ""
)

func (a *application) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of gatewayctl; status shows that of the gateway",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.output == "json" {
				a.print("{\"version\":%q,\"commit\":%q,\"go\":%q}\n", version, commit, runtime.Version())
				return nil
			}
			a.print("gatewayctl %s %s %s\n", version, commit, runtime.Version())
			return nil
		},
	}
}
