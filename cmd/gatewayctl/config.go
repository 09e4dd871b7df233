package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

func (a *application) configCommand() *cobra.Command {
	var prefix string
	explain := &cobra.Command{
		Use:   "explain",
		Short: "Show each effective value of the running gateway and what set it",
		Long: `Show each effective value of the running gateway and what set it: a default, a line of the file, a variable of the
environment or a flag. Secrets are not shown. gateway config explain does the same without a running gateway.`,
		Example: "  gatewayctl config explain\n  gatewayctl config explain --prefix mqtt.",
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return a.explainConfig(command.Context(), prefix) },
	}
	explain.Flags().StringVar(&prefix, "prefix", "", "only keys that begin with this")
	return group("config", "Look at the configuration of the running gateway", explain)
}

func (a *application) explainConfig(ctx context.Context, prefix string) error {
	response, err := call(ctx, a, a.admin().GetConfig, &adminv1.GetConfigRequest{KeyPrefix: prefix}, "")
	if err != nil {
		return err
	}
	if a.output == "json" {
		for _, value := range response.Values {
			if err := a.printJSON(value); err != nil {
				return err
			}
		}
		return nil
	}
	out := newTable(a.stdout, "KEY", "VALUE", "LAYER", "ORIGIN")
	for _, value := range response.Values {
		out.row(value.Key, shownValue(value), word(value.Layer, "CONFIG_LAYER_"), cmp.Or(value.Origin, "-"))
	}
	out.flush()
	return nil
}

func shownValue(value *adminv1.ConfigValue) string {
	switch {
	case value.Secret && value.Layer != adminv1.ConfigLayer_CONFIG_LAYER_DEFAULT:
		return "[redacted]"
	case value.Value == "":
		return `""`
	}
	return value.Value
}
