package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/gateway"
)

func serveCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway until SIGTERM or SIGINT",
		Args:  noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			settings, explanation, err := load(command)
			if err != nil {
				return err
			}
			if err := settings.CheckServe(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return gateway.Run(ctx, gateway.Options{
				Config: settings, Explanation: explanation, Build: build(), Log: os.Stdout, Banner: os.Stderr,
			})
		},
	}
	addFlags(command)
	return command
}

func configCommand() *cobra.Command {
	command := &cobra.Command{Use: "config", Short: "Look at the configuration without starting anything"}
	explain := &cobra.Command{
		Use:   "explain",
		Short: "Show each effective value and the layer that set it",
		Args:  noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			_, explanation, err := load(command)
			if err != nil {
				return err
			}
			return explanation.Render(command.OutOrStdout())
		},
	}
	addFlags(explain)
	schema := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Args:  noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := command.OutOrStdout().Write(config.Schema())
			return err
		},
	}
	command.AddCommand(explain, schema)
	return command
}

const configFlag = "config"

func addFlags(command *cobra.Command) {
	command.Flags().String(configFlag, "", "YAML file; unknown keys are errors that name the key and the line")
	config.AddFlags(command.Flags())
}

// load reads the layers; the configuration file itself is named by a flag only.
func load(command *cobra.Command) (*config.Config, *config.Explanation, error) {
	file, err := command.Flags().GetString(configFlag)
	if err != nil {
		return nil, nil, err
	}
	return config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: command.Flags()})
}

func noArguments(command *cobra.Command, arguments []string) error {
	if err := cobra.NoArgs(command, arguments); err != nil {
		return usageError{err}
	}
	return nil
}
