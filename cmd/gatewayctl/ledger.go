package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

// verifyTimeout is the default of --timeout here: all that is stored is read.
const verifyTimeout = 10 * time.Minute

func (a *application) ledgerCommand() *cobra.Command {
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Count all that is stored again; exits with 4 when a counter is wrong",
		Long: `Count all that is stored again, and compare it with what the gateway counts.

It reads every message that is stored, beside a gateway at work: some seconds for a million of them, so that --timeout is
10m here. It exits with 4 when a counter is not what is stored, or not what was written, and names the sink and the counter.`,
		Example: `  gatewayctl ledger verify
  gatewayctl ledger verify -o json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if !command.Flags().Changed("timeout") {
				a.timeout = verifyTimeout
			}
			return a.verifyLedger(command.Context())
		},
	}
	return group("ledger", "Show what became of every message, in numbers", verify)
}

func (a *application) verifyLedger(ctx context.Context) error {
	response, err := call(ctx, a, a.admin().VerifyLedger, &adminv1.VerifyLedgerRequest{}, "")
	if err != nil {
		return err
	}
	if a.output == "json" {
		err = a.printJSON(response)
	} else {
		a.printLedger(response)
	}
	if err == nil && !response.Balanced {
		err = &failure{exitFound, fmt.Sprintf("%d counters are wrong", response.MismatchCount),
			"no message is touched by it: check the disk (dmesg, smartctl), then stop the gateway and run: gatewayctl queue verify"}
	}
	return err
}

func (a *application) printLedger(response *adminv1.VerifyLedgerResponse) {
	ledger := response.GetLedger()
	head := newTable(a.stdout)
	head.row("accepted", count(ledger.GetAcceptedCount()))
	head.row("unrouted", count(ledger.GetUnroutedCount()))
	head.row("stored", count(response.MessageCount))
	head.flush()

	a.print("\n")
	sinks := newTable(a.stdout, "SINK", "OWED", "DELIVERED", "DEAD", "HELD", "DISCARDED", "EXPIRED", "PENDING")
	for _, sink := range ledger.GetSinks() {
		sinks.row(sink.SinkName, count(sink.OwedCount), count(sink.DeliveredCount), count(sink.DeadCount), count(sink.HeldCount),
			count(sink.DiscardedCount), count(sink.ExpiredCount), count(sink.PendingCount))
	}
	sinks.flush()
	if response.Balanced {
		a.print("\neverything balances\n")
		return
	}
	a.print("\n")
	mismatches := newTable(a.stdout, "ACCOUNT", "COUNTER", "COUNTED", "STORED")
	for _, mismatch := range response.Mismatches {
		counted, stored := count(mismatch.Counted), count(mismatch.Recomputed)
		if strings.HasPrefix(mismatch.Field, "checksum") {
			counted, stored = "not what was written", "-"
		}
		mismatches.row(mismatch.Account, mismatch.Field, counted, stored)
	}
	mismatches.flush()
}
