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
	records, next := []edge.Record(nil), after
	err := q.await(ctx, &q.grown, func() (done bool, err error) {
		records, next, err = q.readNow(ctx, after, limit)
		return len(records) > 0, err
	})
	if err != nil {
		return nil, after, fmt.Errorf("read: %w", err)
	}
	return records, next, nil
}

func (q *Queue) readNow(ctx context.Context, after edge.Position, limit int) ([]edge.Record, edge.Position, error) {
	var records []edge.Record
	head := q.Head()
	for len(records) < limit && after < head {
		frame, err := q.frameAt(ctx, after+1)
		if err != nil {
			return nil, after, err
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
