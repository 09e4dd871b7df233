package queue

import (
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// lossReport is what was given up and is not saved yet: one stretch per reason,
// and one per damaged frame.
type lossReport []*queuefile.Stretch

// add reports count records at positions, which nobody could read when device is
// unnamed and received is zero.
func (r *lossReport) add(why queuefile.LossReason, at time.Time, positions queuefile.Span, count int64, received time.Time, device edge.DeviceID) {
	r.join(queuefile.NewStretch(why, at, positions, count, received, device))
}

// addRecord is add for one record. It allocates nothing for a known device.
func (r *lossReport) addRecord(why queuefile.LossReason, at time.Time, record *edge.Record) {
	open := r.find(why)
	if open == nil {
		r.add(why, at, queuefile.Span{First: record.Position, End: record.Position + 1}, 1, record.ReceivedAt, record.Device)
		return
	}
	open.AddRecord(record, at)
}

// join adds a stretch. Damage that may still be taken back stays apart.
func (r *lossReport) join(added *queuefile.Stretch) {
	if open := r.find(added.LossReason); open != nil && added.Kind != edge.LossQuarantined {
		open.Join(added)
		return
	}
	*r = append(*r, added)
}

func (r *lossReport) find(why queuefile.LossReason) *queuefile.Stretch {
	for _, open := range *r {
		if open.LossReason == why {
			return open
		}
	}
	return nil
}

// write stores the report of one sink, in the transaction that moves its cursor.
func (r lossReport) write(conn *sqlite.Conn, sink edge.SinkID) error {
	for _, added := range r {
		if err := added.Write(conn, sink); err != nil {
			return fmt.Errorf("report a loss: %w", err)
		}
	}
	return nil
}
