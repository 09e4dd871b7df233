package queue

import (
	"context"
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// VerifyLedger saves everything, counts the stored records again, and compares
// what it finds with the counters in the file. Records come and go meanwhile; one
// call at a time counts, others wait for it. The queue's statistics tell from then
// on what was found.
func (q *Queue) VerifyLedger(ctx context.Context) (edge.Ledger, error) {
	select {
	case q.auditing <- struct{}{}:
		defer func() { <-q.auditing }()
	case <-ctx.Done():
		return edge.Ledger{}, fmt.Errorf("verify the ledger: somebody else does: %w", ctx.Err())
	}
	if err := unlessFull(q.save(ctx, saveSome)); err != nil {
		return edge.Ledger{}, fmt.Errorf("verify the ledger: %w", err)
	}
	recount, err := queuefile.CountFile(ctx, q.readGently, q.decoder)
	if err != nil {
		return edge.Ledger{}, fmt.Errorf("verify the ledger: %w", q.readFailed(err))
	}
	q.mismatches.Store(recount.Found)
	for _, mismatch := range recount.Mismatches {
		q.observer.Log.Error("a counter is not what is stored", "account", mismatch.Account, "field", mismatch.Field,
			"counted", mismatch.Counted, "recounted", mismatch.Recounted, "hint", hintCounters)
	}
	return recount.Ledger(), nil
}

// Recount saves what was settled, and reads every frame.
func (q *Queue) Recount(ctx context.Context) (queuefile.Recount, error) {
	if err := q.flush(ctx); err != nil {
		return queuefile.Recount{}, err
	}
	return queuefile.CountFile(ctx, q.read, q.decoder)
}

// readGently reads for at most a third of the time, because ingest and lanes need
// the processor, too.
func (q *Queue) readGently(ctx context.Context, look func(*sqlite.Conn) error) error {
	began := time.Now()
	if err := q.read(ctx, look); err != nil {
		return err
	}
	pause := time.NewTimer(2 * time.Since(began))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const hintCounters = "check the disk, then stop the gateway and run: gatewayctl queue verify; messages are not touched by it"

// reportCounters says at a start which counters are not what was written. They are
// kept as they are, but for how much a sink is owed once it has caught up; nothing is
// decided by them.
func (q *Queue) reportCounters() {
	wrong := []string{}
	totals := q.ledger.read()
	if totals.unsure {
		wrong = append(wrong, edge.LedgerTotal)
	}
	unsure := func(account string, counts map[string]queuefile.Deaths) {
		for reason, count := range counts {
			if count.Unsure {
				wrong = append(wrong, account+" dead_count."+reason)
			}
		}
	}
	unsure(edge.IngressName, totals.deaths)
	for _, account := range q.registry.all() {
		if account.unsure {
			wrong = append(wrong, account.name)
		}
		unsure(account.name, account.deaths)
	}
	if q.mismatches.Store(int64(len(wrong))); len(wrong) > 0 {
		q.observer.Log.Error("counters of the queue are not what was written: they are kept as they are, and every message is served", "accounts", wrong, "hint", hintCounters)
	}
}
