package queue

import (
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
)

// sample is how the queue was at one moment.
type sample struct {
	at       time.Time
	held     float64 // bytes of frames that cannot be removed; see space.held
	accepted float64 // records ever
	sinks    []sinkSample
}

type sinkSample struct {
	sink      edge.SinkID
	delivered float64 // records ever
	pending   float64
}

// history is how the queue was over the last day, the more coarsely the longer
// ago:
//
//	now        6 min          1 h                                24 h
//	 |.........|. . . . . . . |    .      .      .      .      .  |
//	   every 1 s  every 30 s           every 5 min
type history struct {
	mu    sync.Mutex
	tiers [3]tier
}

// tier is a ring of samples that lie a step apart.
type tier struct {
	step    time.Duration
	most    int
	samples []sample
	oldest  int // once it is full
}

func newHistory() *history {
	return &history{tiers: [...]tier{
		{step: maintenanceInterval, most: 360}, {step: 30 * time.Second, most: 120}, {step: 5 * time.Minute, most: 290},
	}}
}

// add takes the newest sample.
func (h *history) add(newest sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.tiers {
		h.tiers[i].add(newest)
	}
}

// since returns the samples of a time up to now, oldest first, as close to each
// other as they are kept.
func (h *history) since(window time.Duration) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	finest := &h.tiers[0]
	if len(finest.samples) == 0 {
		return nil
	}
	newest := *finest.newest()
	for i := range h.tiers {
		t := &h.tiers[i]
		if i == len(h.tiers)-1 || time.Duration(t.most-1)*t.step >= window {
			return t.between(newest.at.Add(-window), newest)
		}
	}
	return nil
}

// add keeps a sample that is a step younger than the last one, or nearly so.
func (t *tier) add(newest sample) {
	if len(t.samples) > 0 && newest.at.Sub(t.newest().at) < t.step-maintenanceInterval/2 {
		return
	}
	if len(t.samples) < t.most {
		t.samples = append(t.samples, newest)
		return
	}
	t.samples[t.oldest] = newest
	t.oldest = (t.oldest + 1) % t.most
}

func (t *tier) newest() *sample {
	return &t.samples[(t.oldest+len(t.samples)-1)%len(t.samples)]
}

// between returns the samples from a time on, and the newest of all behind them.
func (t *tier) between(from time.Time, newest sample) []sample {
	var found []sample
	for i := range t.samples {
		if s := t.samples[(t.oldest+i)%len(t.samples)]; !s.at.Before(from) && s.at.Before(newest.at) {
			found = append(found, s)
		}
	}
	return append(found, newest)
}

// rate returns by how much per second something changes: the slope of the line
// that fits best, so that what goes in steps, such as the merging of frames, does
// not count for more because a step lies at an end.
func rate(samples []sample, of func(s *sample) float64) float64 {
	var times, values float64
	first := samples[0].at
	for i := range samples {
		times += samples[i].at.Sub(first).Seconds()
		values += of(&samples[i])
	}
	times, values = times/float64(len(samples)), values/float64(len(samples))
	var product, square float64
	for i := range samples {
		distance := samples[i].at.Sub(first).Seconds() - times
		product += distance * (of(&samples[i]) - values)
		square += distance * distance
	}
	if square == 0 {
		return 0
	}
	return product / square
}
