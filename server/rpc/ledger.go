package rpc

import (
	"context"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/server/edge"
)

// VerifyLedger counts the stored messages again.
func (a *adminService) VerifyLedger(ctx context.Context, _ *adminv1.VerifyLedgerRequest) (*adminv1.VerifyLedgerResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	counted, err := a.server.Auditor.VerifyLedger(ctx)
	if err != nil {
		return nil, err
	}
	ledger := &adminv1.Ledger{
		AcceptedCount: unsigned(counted.Accepted), UnroutedCount: unsigned(counted.Unrouted), OwedCount: unsigned(counted.Accepted - counted.Unrouted),
	}
	for i := range counted.Sinks {
		ledger.Sinks = append(ledger.Sinks, sinkLedger(&counted.Sinks[i]))
	}
	response := &adminv1.VerifyLedgerResponse{
		Balanced: counted.Found == 0, Ledger: ledger, MismatchCount: unsigned(counted.Found), MessageCount: unsigned(counted.Stored),
	}
	for _, mismatch := range counted.Mismatches {
		response.Mismatches = append(response.Mismatches, &adminv1.LedgerMismatch{
			Account: mismatch.Account, Field: mismatch.Field, Counted: unsigned(mismatch.Counted), Recomputed: unsigned(mismatch.Recounted),
		})
	}
	return response, nil
}

func sinkLedger(account *edge.SinkLedger) *adminv1.SinkLedger {
	return &adminv1.SinkLedger{
		SinkId: formatSinkID(account.Sink), SinkName: account.Name, OwedCount: unsigned(account.Owed), DeliveredCount: unsigned(account.Delivered),
		DeadCount: unsigned(account.Dead), HeldCount: unsigned(account.Held), DiscardedCount: unsigned(account.Discarded),
		ExpiredCount: unsigned(account.Expired), PendingCount: unsigned(account.Pending),
	}
}

// unsigned tells a count that is wrong below zero as 0.
func unsigned(count int64) uint64 { return uint64(max(0, count)) }
