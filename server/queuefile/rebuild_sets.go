package queuefile

import (
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// setUse is where records are that name a set of sinks whose row is lost.
type setUse struct {
	first edge.Position
	last  time.Time // when the newest of their frames was committed, gateway time
}

// count reads every frame, and once more when it has met sets that are lost: who they
// may have named follows from where they were used.
func (r *rebuild) count(conn *sqlite.Conn) error {
	r.uses = make(map[uint32]setUse)
	if err := r.countFrames(conn); err != nil || len(r.uses) == 0 {
		return err
	}
	r.report.SetsLost = len(r.uses)
	for number, use := range r.uses {
		r.sets[number] = r.served(use)
	}
	r.report.Records = 0
	for _, sink := range r.sinks {
		sink.beyond, sink.pending, sink.guessed = 0, 0, 0
	}
	return r.countFrames(conn)
}

func (r *rebuild) countFrames(conn *sqlite.Conn) error {
	return conn.Query(SelectFrames+" ORDER BY id", func(row sqlite.Row) error {
		frame, err := r.decoder.DecodeStored(ReadFrame(row))
		if err != nil {
			return fmt.Errorf("a frame changed after it was read: %w", err)
		}
		r.report.Records += int64(len(frame.Records))
		r.stored.Add(Span{frame.First, frame.End()})
		for i, number := range frame.Owed {
			position := frame.First + edge.Position(i)
			r.lastSet = max(r.lastSet, number)
			set, known := r.sets[number]
			if !known && number > 0 {
				r.used(number, position, frame.CommittedAt)
			}
			_, guess := r.uses[number]
			for _, sink := range r.sinks {
				sink.add(position, set, guess)
			}
		}
		r.head = frame.End() - 1
		return nil
	})
}

func (r *rebuild) used(number uint32, position edge.Position, committedAt time.Time) {
	use, found := r.uses[number]
	if !found {
		use.first = position
	}
	if committedAt.After(use.last) {
		use.last = committedAt
	}
	r.uses[number] = use
}

// served returns the sinks that records of a lost set may be owed to: all that were
// served whenever it was used. What arrives where nobody asked for it is better than
// what is lost. A sink that is newer was not in the set, nor was one that had been
// removed by then: it would keep messages for nobody.
func (r *rebuild) served(use setUse) (set []edge.SinkID) {
	for _, sink := range r.sinks {
		removed := sink.Removed != SinkServed && !sink.RemovedAt.IsZero() && !use.last.Before(sink.RemovedAt)
		if use.first >= sink.Start && !removed {
			set = append(set, sink.ID)
		}
	}
	return set
}

// writeSets writes a row for every number that was given, so that none is given twice.
func (r *rebuild) writeSets(conn *sqlite.Conn) error {
	for number := uint32(1); number <= r.lastSet; number++ {
		if err := InsertSet(conn, int64(number), FormatSinks(r.sets[number])); err != nil {
			return err
		}
	}
	return nil
}
