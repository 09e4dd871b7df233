package queue

import (
	"context"
	"math"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
)

const (
	// forecastAfter is how long must have been measured before anything is told.
	forecastAfter = 10 * time.Second
	// headroomWindow is what edge.QueueStats.Headroom is measured over.
	headroomWindow = 5 * time.Minute
	// forecastMost is the longest time that is told: what takes longer does not
	// happen.
	forecastMost = 10 * 365 * 24 * time.Hour
)

// sample notes how the queue is.
func (c *committer) sample(now time.Time) {
	s := sample{at: now, held: float64(c.space.held()), accepted: float64(c.q.ledger.read().Accepted)}
	for _, account := range c.q.registry.all() {
		s.sinks = append(s.sinks, account.sample())
	}
	c.q.history.add(s)
}

func (a *account) sample() sinkSample {
	a.mu.Lock()
	defer a.mu.Unlock()
	return sinkSample{sink: a.id, delivered: float64(a.Delivered), pending: float64(a.Pending())}
}

// held returns how many bytes of frames cannot be removed: those from the oldest
// record on that some sink needs. The WAL does not count, because it is written
// from its beginning again and again, and neither do free pages. Records that
// every sink has are kept only as long as nobody needs their room. All else in
// the file is bounded, and does not grow for ever as a backlog does.
//
// Frames that are merged later take less room then. At a steady rate as much is
// merged as comes in, so that what has grown over a longer time is what is left
// of it after merging.
func (s *space) held() int64 { return s.q.bytesFrom(s.q.pinned(), s.oldest, s.usage.used) }

// untilFull returns how many more bytes can be held before the doors refuse.
func (s *space) untilFull() int64 {
	l := &s.usage
	if s.full.closed() {
		return 0
	}
	gives := max(0, s.q.bytesFrom(s.oldest, s.oldest, l.used)-s.held()) // way to new records
	// What is under way closes the doors somewhat early, and the WAL will be as
	// long as it gets between two checkpoints.
	left := l.free + l.spare - max(0, s.full.walHard-l.wal) - s.full.pending + gives
	if s.full.limit > 0 {
		left = min(left, s.full.limit/100*reachedFrom-l.reserve-max(l.wal, s.full.walSoft)-max(0, l.used-gives))
	}
	return max(left, 0)
}

// Forecast tells what will happen if everything goes on as it did in a window,
// of a minute to a day. What is measured is at most a second old.
func (q *Queue) Forecast(window time.Duration) edge.Forecast {
	samples := q.history.since(window)
	forecast := q.forecast(samples)
	if forecast.Window == 0 {
		samples = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	for _, account := range q.registry.all() {
		sink := account.forecast(samples)
		if samples != nil {
			q.foresee(ctx, account, forecast.IngestRate, &sink)
		}
		forecast.Sinks = append(forecast.Sinks, sink)
	}
	return forecast
}

// forecast tells what will happen to the queue as a whole.
func (q *Queue) forecast(samples []sample) edge.Forecast {
	forecast := edge.Forecast{TimeToFull: edge.Never}
	if room := q.room.Load(); room != nil && room.closed {
		forecast.TimeToFull = 0
	}
	if len(samples) == 0 || samples[len(samples)-1].at.Sub(samples[0].at) < forecastAfter {
		return forecast
	}
	first, last := &samples[0], &samples[len(samples)-1]
	forecast.Window = last.at.Sub(first.at)
	forecast.IngestRate = (last.accepted - first.accepted) / forecast.Window.Seconds()
	forecast.Growth = rate(samples, func(s *sample) float64 { return s.held })
	if room := q.room.Load(); room != nil && !room.closed {
		forecast.TimeToFull = until(float64(room.left), forecast.Growth)
	}
	return forecast
}

// forecast tells what will happen to a sink. There may be no samples.
func (a *account) forecast(samples []sample) edge.SinkForecast {
	forecast := edge.SinkForecast{Sink: a.id, Name: a.name, TimeToDrain: edge.Never}
	now := a.sample()
	if now.pending == 0 {
		forecast.TimeToDrain = 0
	}
	find := func(s *sample) (found sinkSample, ok bool) {
		i := slices.IndexFunc(s.sinks, func(s sinkSample) bool { return s.sink == a.id })
		if i < 0 {
			return sinkSample{}, false
		}
		return s.sinks[i], true
	}
	for len(samples) > 0 { // a sink that is new was not there from the beginning
		if _, ok := find(&samples[0]); ok {
			break
		}
		samples = samples[1:]
	}
	if len(samples) < 2 {
		return forecast
	}
	first, last := &samples[0], &samples[len(samples)-1]
	from, _ := find(first)
	to, _ := find(last)
	forecast.DeliveryRate = (to.delivered - from.delivered) / last.at.Sub(first.at).Seconds()
	if now.pending > 0 {
		growth := rate(samples, func(s *sample) float64 { found, _ := find(s); return found.pending })
		forecast.TimeToDrain = until(now.pending, -growth)
	}
	return forecast
}

// until returns how long something takes at a rate per second, [edge.Never] when
// it does not happen.
func until(amount, rate float64) time.Duration {
	if rate <= 0 {
		return edge.Never
	}
	seconds := amount / rate
	if math.IsNaN(seconds) || seconds > forecastMost.Seconds() {
		return edge.Never
	}
	return time.Duration(seconds * float64(time.Second))
}

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
