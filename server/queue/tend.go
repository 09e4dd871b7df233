package queue

import (
	"context"
	"time"
)

// tend is the goroutine that looks after the backlog: it gives up what policies
// say, and measures what a start has found. It gives up in memory, as a lane
// settles: the next commit moves the cursor and reports the loss, in one
// transaction. A crash before it changes nothing, and the policy says the same
// again, before a lane is given anything: else a record that was given up would
// arrive after all, behind those that came after it.
func (q *Queue) tend(ctx context.Context) {
	ticker := time.NewTicker(maintenanceInterval)
	defer ticker.Stop()
	for failed := false; ; {
		measured := q.sizes.known()
		err := q.expireAll(ctx)
		if err == nil && !measured {
			if err = q.scanSizes(ctx); err == nil {
				continue // what limits in bytes say is known now
			}
		}
		if err != nil && ctx.Err() == nil && !failed {
			q.observer.Log.Error("the backlog cannot be looked after, and records that are over a limit are not given up; it is tried again every second", "error", err)
		}
		failed = err != nil
		select {
		case <-ticker.C:
		case <-q.enlarged:
		case <-ctx.Done():
			return
		}
	}
}
