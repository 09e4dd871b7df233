package main

import (
	"encoding/json"
	"testing"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

func TestLedgerVerify(t *testing.T) {
	t.Parallel()
	ledger := &adminv1.Ledger{AcceptedCount: 63, OwedCount: 60, UnroutedCount: 3, Sinks: []*adminv1.SinkLedger{
		{SinkId: "1", SinkName: "archive", OwedCount: 60, DeliveredCount: 20, DeadCount: 10, PendingCount: 30},
	}}
	whole := &adminv1.VerifyLedgerResponse{Balanced: true, Ledger: ledger, MessageCount: 63}
	wrong := &adminv1.VerifyLedgerResponse{Ledger: ledger, MessageCount: 63, MismatchCount: 2, Mismatches: []*adminv1.LedgerMismatch{
		{Account: "archive", Field: "pending_count", Counted: 31, Recomputed: 30},
		{Account: "archive", Field: "checksum", Counted: 17, Recomputed: 19},
	}}

	t.Run("Balances", func(t *testing.T) {
		t.Parallel()
		expect(t, result{Stdout: text(`
			accepted  63
			unrouted  3
			stored    63

			SINK     OWED  DELIVERED  DEAD  HELD  DISCARDED  EXPIRED  PENDING
			archive  60    20         10    0     0          0        30

			everything balances
		`)}, trimmed(command(t, &fakeGateway{verified: whole}, "", "ledger", "verify")))
	})

	t.Run("DoesNotBalance", func(t *testing.T) {
		t.Parallel()
		expect(t, result{Code: exitFound, Stdout: text(`
			accepted  63
			unrouted  3
			stored    63

			SINK     OWED  DELIVERED  DEAD  HELD  DISCARDED  EXPIRED  PENDING
			archive  60    20         10    0     0          0        30

			ACCOUNT  COUNTER        COUNTED               STORED
			archive  pending_count  31                    30
			archive  checksum       not what was written  -
		`), Stderr: text(`
			gatewayctl: 2 counters are wrong
			  hint: no message is touched by it: check the disk (dmesg, smartctl), then stop the gateway and run: gatewayctl queue verify
		`)}, trimmed(command(t, &fakeGateway{verified: wrong}, "", "ledger", "verify")))
	})

	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{verified: wrong}, "", "ledger", "verify", "-o", "json")
		var object struct{ Mismatches []struct{ Field string } }
		if err := json.Unmarshal([]byte(got.Stdout), &object); err != nil || len(object.Mismatches) != 2 || got.Code != exitFound {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
