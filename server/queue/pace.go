package queue

import (
	"context"
	"time"
)

// pacer lets a long look take a part of one processor only, so that those who
// commit and deliver beside it hardly notice. A nil pacer never rests.
type pacer struct {
	ended <-chan struct{} // whoever asked for the work wants it no more
	awake time.Time       // since when it works
}

const (
	paceWork  = 4 * time.Millisecond
	paceRests = 3 // times as long as it worked
)

func newPacer(ctx context.Context) *pacer { return &pacer{ended: ctx.Done(), awake: time.Now()} }

// rest is called between two pieces of the work.
func (p *pacer) rest() {
	if p == nil {
		return
	}
	worked := time.Since(p.awake)
	if worked < paceWork {
		return
	}
	timer := time.NewTimer(paceRests * worked)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
	}
	p.awake = time.Now()
}
