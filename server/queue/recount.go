package queue

import (
	"context"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// Recount is the ledger, counted anew from the file. It shares no code and no
// number with the counters that it is compared with, beyond the cursors and
// ranges that say what is decided.
type Recount struct {
	Stored        int64           // records in frames
	Unrouted      int64           // of those, owed to nobody
	Contiguous    bool            // no position is missing between the oldest frame and the head, but those in quarantine
	Damaged       []edge.Position // frames that cannot be read
	IngressStored int64
	Sinks         []SinkRecount
}

// SinkRecount sets what is stored about one sink against its counters, both as
// of the same moment.
type SinkRecount struct {
	ID        edge.SinkID
	Name      string
	Pending   int64 // records in frames that are owed and not decided
	Decided   int64 // records in frames that are owed and decided
	Dead      int64 // rows
	Requeued  int64 // of those
	Discarded int64 // in the loss report, damaged ones included
	Expired   int64 // in the loss report
	Counted   Count
}

// Count is what the counters of one sink say.
type Count struct{ Owed, Delivered, Dead, Held, Discarded, Expired, Pending int64 }

// Balanced reports whether the counters of every sink agree with the file.
func (r *Recount) Balanced() bool {
	for _, sink := range r.Sinks {
		counted := &sink.Counted
		if sink.Pending != counted.Pending || sink.Dead != counted.Dead || sink.Discarded != counted.Discarded || sink.Expired != counted.Expired {
			return false
		}
	}
	return r.Contiguous && len(r.Damaged) == 0
}

// Recount reads every frame, in one snapshot. While it does, the WAL cannot be
// used from its beginning again.
func (q *Queue) Recount(ctx context.Context) (Recount, error) {
	if err := q.flush(ctx); err != nil {
		return Recount{}, err
	}
	recount := Recount{Contiguous: true}
	err := q.db.Read(ctx, func(conn *sqlite.Conn) error {
		sinks, err := recountSinks(conn)
		if err != nil {
			return err
		}
		if err := recount.frames(conn, q.decoder, sinks); err != nil {
			return err
		}
		for _, sink := range sinks {
			recount.Sinks = append(recount.Sinks, sink.SinkRecount)
		}
		_, err = conn.One("SELECT count(*) FROM dead WHERE sink = 0", func(row sqlite.Row) { recount.IngressStored = row.Int(0) })
		return err
	})
	if err != nil {
		return Recount{}, fmt.Errorf("recount: %w", err)
	}
	return recount, nil
}

// recounting is one sink while frames are counted.
type recounting struct {
	SinkRecount
	start, backlogFrom, cursor, counted int64
	settled                             spans
}

func recountSinks(conn *sqlite.Conn) ([]*recounting, error) {
	var sinks []*recounting
	err := conn.Query(`SELECT id, name, start, backlog_from, cursor, counted, settled, owed, delivered, dead, held, discarded, expired,
			(SELECT count(*) FROM dead WHERE sink = sink.id), (SELECT count(*) FROM dead WHERE sink = sink.id AND requeued = 1),
			(SELECT coalesce(sum(count), 0) FROM loss WHERE sink = sink.id AND kind <> 2), (SELECT coalesce(sum(count), 0) FROM loss WHERE sink = sink.id AND kind = 2)
		FROM sink ORDER BY id`, func(row sqlite.Row) error {
		sink := &recounting{
			SinkRecount: SinkRecount{
				ID: edge.SinkID(row.Int(0)), Name: row.Text(1), Dead: row.Int(13), Requeued: row.Int(14), Discarded: row.Int(15), Expired: row.Int(16),
				Counted: Count{Owed: row.Int(7), Delivered: row.Int(8), Dead: row.Int(9), Held: row.Int(10), Discarded: row.Int(11), Expired: row.Int(12)},
			},
			start: row.Int(2), backlogFrom: row.Int(3), cursor: row.Int(4), counted: row.Int(5),
		}
		count := &sink.Counted
		count.Pending = count.Owed - count.Delivered - count.Dead - count.Held - count.Discarded - count.Expired
		var err error
		sink.settled, err = parseSpans(row.Bytes(6), edge.Position(sink.cursor))
		sinks = append(sinks, sink)
		return err
	})
	return sinks, err
}

func (r *Recount) frames(conn *sqlite.Conn, decoder *decoder, sinks []*recounting) error {
	sets := map[uint32]map[edge.SinkID]bool{}
	err := conn.Query("SELECT id, sinks FROM owed", func(row sqlite.Row) error {
		members, err := parseSinks(row.Text(1))
		set := map[edge.SinkID]bool{}
		for _, sink := range members {
			set[sink] = true
		}
		sets[uint32(row.Int(0))] = set
		return err
	})
	if err != nil {
		return err
	}
	var apart spans // in quarantine
	err = conn.Query("SELECT position, n FROM quarantine WHERE sink = -1 ORDER BY position", func(row sqlite.Row) error {
		apart.add(span{edge.Position(row.Int(0)), edge.Position(row.Int(0) + row.Int(1))})
		return nil
	})
	if err != nil {
		return err
	}
	expected := int64(0)
	return conn.Query("SELECT id, n, committed, body FROM frame ORDER BY id", func(row sqlite.Row) error {
		first := row.Int(0)
		if gap := (span{edge.Position(expected), edge.Position(first)}); expected > 0 && first != expected && !apart.contains(gap) {
			r.Contiguous = false
		}
		expected = first + row.Int(1)
		frame, err := decoder.decodeStored(readStoredFrame(row))
		if err != nil {
			r.Damaged = append(r.Damaged, edge.Position(first))
			return nil
		}
		for i := range frame.records {
			set := sets[frame.owed[i]]
			r.Stored++
			if len(set) == 0 {
				r.Unrouted++
			}
			for _, sink := range sinks {
				sink.add(first+int64(i), set)
			}
		}
		return nil
	})
}

// add counts one record. Records behind what the counters cover are left out.
func (s *recounting) add(position int64, set map[edge.SinkID]bool) {
	owed := set[s.ID]
	if position < s.start {
		owed = position >= s.backlogFrom
	}
	if !owed || position > s.counted {
		return
	}
	decided := position < s.cursor
	for _, span := range s.settled {
		decided = decided || int64(span.first) <= position && position < int64(span.end)
	}
	if decided {
		s.Decided++
		return
	}
	s.Pending++
}
