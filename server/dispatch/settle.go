package dispatch

import (
	"context"
	"errors"
	"fmt"

	"combotto.io/gateway/server/edge"
)

// settle reports an attempt and what it decided. It does so even when the lane
// stops: what is not settled would be delivered again. It returns false without
// an error when the lane stops before the queue has room.
func (l *lane) settle(ctx context.Context, batch []edge.Delivery, attempt edge.Attempt, d decision) (ok bool, err error) {
	for _, settlement := range settlements(batch, attempt, d) {
		if ok, err := l.settleOne(ctx, settlement); !ok {
			return false, err
		}
		l.logDeaths(ctx, settlement.Dead)
	}
	l.forget(d.acked)
	for _, death := range d.dead {
		l.forget([]edge.Delivery{death.Delivery})
	}
	return true, nil
}

func (l *lane) settleOne(ctx context.Context, settlement edge.Settlement) (ok bool, err error) {
	ok, err = insist(ctx, func(ctx context.Context) error { return l.leaser.Settle(ctx, l.sink.ID, settlement) })
	if err != nil {
		err = fmt.Errorf("settle for sink %s: %w", l.sink.Name, err)
	}
	return ok, err
}

// settlements reports an attempt. One that carried requeued records is reported
// once for each: their positions are far apart, and a single range would claim
// every record in between.
func settlements(batch []edge.Delivery, attempt edge.Attempt, d decision) []edge.Settlement {
	if batch[0].Kind != edge.Requeue {
		return []edge.Settlement{{Attempt: attempt, Acked: d.acked, Dead: d.dead}}
	}
	reports := make([]edge.Settlement, len(batch))
	byPosition := make(map[edge.Position]*edge.Settlement, len(batch))
	for i, delivery := range batch {
		reports[i].Attempt = attempt
		reports[i].Attempt.First, reports[i].Attempt.Last, reports[i].Attempt.Records = delivery.Record.Position, delivery.Record.Position, 1
		byPosition[delivery.Record.Position] = &reports[i]
	}
	for _, delivery := range d.acked {
		byPosition[delivery.Record.Position].Acked = []edge.Delivery{delivery}
	}
	for _, death := range d.dead {
		byPosition[death.Delivery.Record.Position].Dead = []edge.Death{death}
	}
	return reports
}

// insist asks the queue until it answers, for a while also when the lane stops. It
// returns false without an error when the lane stops first.
func insist(ctx context.Context, ask func(context.Context) error) (answered bool, err error) {
	for {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		err := ask(limited)
		cancel()
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, context.DeadlineExceeded):
			return false, err
		case ctx.Err() != nil:
			return false, nil
		}
	}
}
