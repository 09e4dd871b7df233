package queue

import (
	"context"
	"time"

	"combotto.io/gateway/server/edge"
)

// foresee tells which stored record the limits of a sink would give up first,
// and when, if it goes on being delivered at the rate of the forecast. Nothing is
// told when that is none.
func (q *Queue) foresee(ctx context.Context, a *account, ingestRate float64, forecast *edge.SinkForecast) {
	limits := a.limitsNow()
	age := limits.TTL
	if undelivered := q.settings.RetentionUndelivered; undelivered > 0 && !a.isRemoved() && (age == 0 || undelivered < age) {
		age = undelivered
	}
	pending := a.sample().pending
	if age == 0 && limits.MaxLagBytes == 0 || pending <= 0 {
		return
	}
	cursor := a.undecided(0)
	oldest, err := q.frameAt(ctx, cursor)
	if err != nil || oldest == nil {
		return // whoever asks for the record hears why
	}
	first := edge.Never
	if age > 0 {
		first = untilTooOld(age, q.clock.now().Sub(oldest.CommittedAt), pending, forecast.DeliveryRate)
	}
	if lag, known := q.sizes.from(cursor); limits.MaxLagBytes > 0 && known {
		growth := float64(lag) / pending * (ingestRate - forecast.DeliveryRate)
		first = min(first, until(max(0, float64(limits.MaxLagBytes-lag)), growth))
	}
	if first == edge.Never {
		return
	}
	position := cursor + edge.Position(forecast.DeliveryRate*first.Seconds())
	if position > q.Head() {
		return
	}
	frame, err := q.frameAt(ctx, position)
	if err != nil || frame == nil {
		return
	}
	record := frame.Records[max(0, min(int(position-frame.First), len(frame.Records)-1))]
	forecast.FirstLoss, forecast.FirstLossAt = record.Correlation, time.Now().Add(first).UTC()
}

// untilTooOld returns how long it takes until a record is too old when its turn
// comes. The oldest is so old now; as each second so many are delivered, and those
// that wait came at an even rate, the oldest grows older by less than a second.
func untilTooOld(limit, oldest time.Duration, pending, deliveryRate float64) time.Duration {
	if limit <= oldest {
		return 0
	}
	return until((limit - oldest).Seconds(), 1-deliveryRate*oldest.Seconds()/pending)
}
