package queue

import (
	"context"
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

// whereLosses selects stretches by id and filter.
const whereLosses = ` WHERE id < ?1 AND (?2 = '' OR instr(?2, ',' || sink || ',') > 0) AND (?3 = 0 OR kind = ?3) AND (?4 = '' OR reason = ?4)
	AND (?5 = '' OR EXISTS (SELECT 1 FROM json_each(devices) WHERE key = ?5)) AND at >= ?6 AND at < ?7 ORDER BY id DESC LIMIT ?8`

// Losses returns the stretches that match the filter, newest first, older than
// one with an id; 0 is before the newest. A stretch is extended for an hour.
func (q *Queue) Losses(ctx context.Context, filter edge.LossFilter, before int64, limit int) ([]edge.Loss, error) {
	if err := unlessFull(q.flush(ctx)); err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	if before <= 0 {
		before = int64(1) << 62
	}
	sinks := ""
	if len(filter.Sinks) > 0 {
		sinks = "," + queuefile.FormatSinks(filter.Sinks) + ","
	}
	since, until := microRange(filter.Since, filter.Until)
	var found []edge.Loss
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectStretches+whereLosses, func(row sqlite.Row) error {
			s := queuefile.ReadStretch(row)
			found = append(found, edge.Loss{
				ID: s.ID, Sink: s.Sink, SinkName: q.nameOf(s.Sink), Kind: s.Kind, Reason: s.Reason, Actor: s.Actor, First: s.First, Last: s.Last,
				FirstReceived: s.FirstReceived, LastReceived: s.LastReceived, At: s.At, Count: s.Count, Devices: s.MostFirst(),
			})
			return nil
		}, before, sinks, int64(filter.Kind), filter.Reason, string(filter.Device), since, until, int64(limit))
	})
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	return found, nil
}

// nameOf returns the name of a sink, also when it is deleted.
func (q *Queue) nameOf(sink edge.SinkID) string {
	if account, err := q.account(sink); err == nil {
		return account.name
	}
	return ""
}

// microRange writes a half-open range of times; a zero end is open.
func microRange(since, until time.Time) (from, to int64) {
	to = int64(1) << 62
	if !until.IsZero() {
		to = until.UnixMicro()
	}
	from = -to
	if !since.IsZero() {
		from = since.UnixMicro()
	}
	return from, to
}

// readLosses reads what the sink ever lost.
func (a *account) readLosses(conn *sqlite.Conn) error {
	return conn.Query("SELECT kind, reason, sum(count) FROM loss WHERE sink = ? GROUP BY kind, reason", func(row sqlite.Row) error {
		a.losses[queuefile.LossReason{Kind: edge.LossKind(row.Int(0)), Reason: row.Text(1)}] = row.Int(2)
		return nil
	}, int64(a.id))
}
