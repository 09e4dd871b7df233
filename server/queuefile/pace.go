package queuefile

import (
	"context"
	"time"
)

// pacer ends a long look when whoever asked for it is gone. A gentle one takes a
// part of one processor only, so that those who commit and deliver beside it
// hardly notice. A nil pacer does neither.
type pacer struct {
	ended <-chan struct{}
	cause func() error
	rests time.Duration // times as long as it worked
	awake time.Time     // since when it works
}

const (
	paceWork  = 4 * time.Millisecond
	paceRests = 3 // of a gentle pacer
)

func newPacer(ctx context.Context) *pacer {
	return &pacer{ended: ctx.Done(), cause: ctx.Err, awake: time.Now()}
}

func newGentlePacer(ctx context.Context) *pacer {
	p := newPacer(ctx)
	p.rests = paceRests
	return p
}

// rest is called between two pieces of the work. Its error says that the work is
// wanted no more.
func (p *pacer) rest() error {
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return p.cause()
	default:
	}
	worked := time.Since(p.awake)
	if p.rests == 0 || worked < paceWork {
		return nil
	}
	timer := time.NewTimer(p.rests * worked)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
		return p.cause()
	}
	p.awake = time.Now()
	return nil
}
