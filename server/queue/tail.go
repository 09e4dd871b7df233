package queue

import (
	"context"
	"fmt"

	"combotto.io/gateway/server/edge"
)

// Read returns up to limit records behind a position, and the position to go on
// from. It waits until there is one. It shows durable records only, whether
// they are delivered or not, and skips those that are no longer kept.
func (q *Queue) Read(ctx context.Context, after edge.Position, limit int) ([]edge.Record, edge.Position, error) {
	for {
		if q.ended() {
			return nil, after, edge.NewStopping()
		}
		grown := q.grown.changed()
		records, next, err := q.readNow(ctx, after, limit)
		if err != nil || len(records) > 0 {
			return records, next, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, after, fmt.Errorf("read: %w", ctx.Err())
		case <-q.closed:
		}
	}
}

func (q *Queue) readNow(ctx context.Context, after edge.Position, limit int) ([]edge.Record, edge.Position, error) {
	var records []edge.Record
	head := q.Head()
	for len(records) < limit && after < head {
		frame, err := q.frameAt(ctx, after+1)
		if err != nil {
			return nil, after, fmt.Errorf("read: %w", err)
		}
		if frame == nil || frame.First > head {
			break
		}
		from := int(max(0, after+1-frame.First))
		to := min(len(frame.Records), from+limit-len(records))
		records = append(records, frame.Records[from:to]...)
		after = frame.First + edge.Position(to) - 1
	}
	return records, after, nil
}
