package sim

import (
	"context"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
)

// tenure is what an operator has made of the third sink. The first two stay.
type tenure uint8

const (
	sinkServed  tenure = iota
	sinkRemoved        // out of the configuration; it keeps what it is owed
	sinkDeleted        // somebody has asked for that
)

const third = 2

// reign is one process that took records, and whether they were for the third
// sink as well.
type reign struct {
	head    edge.Position // before the first of its records
	skipped int64         // positions in front of that which a salvage left out
	third   bool
}

// serves reports whether a sink is in the configuration.
func (w *world) serves(index int) bool { return index != third || w.tenure == sinkServed }

// owed reports whether a record is owed to a sink: whether that was in the
// configuration of the process that stored the record.
func (w *world) owed(index int, position edge.Position) bool {
	later := slices.IndexFunc(w.reigns, func(r reign) bool { return r.head >= position })
	if later < 0 {
		later = len(w.reigns)
	}
	return index != third || later > 0 && w.reigns[later-1].third
}

// owedCount returns how many of the records up to a position are owed to a sink.
func (w *world) owedCount(index int, head edge.Position) (count int64) {
	for i, r := range w.reigns {
		end := head
		if i+1 < len(w.reigns) {
			next := w.reigns[i+1]
			end = next.head - edge.Position(next.skipped)
		}
		if index != third || r.third {
			count += int64(end - r.head)
		}
	}
	return count
}

// reconfigure takes the third sink out of the configuration, and later puts it
// back or deletes it. A configuration changes between two processes.
func (w *world) reconfigure() {
	switch {
	case w.tenure == sinkDeleted:
		return
	case w.tenure == sinkRemoved && (w.settings.RetentionRemovedSink > 0 || w.random.IntN(2) == 0):
		_ = w.deleteSink(10 * time.Second) // it is asked for again at the end
		return
	case w.tenure == sinkRemoved:
		w.tenure = sinkServed
		w.happen("sink returned", 1)
	default:
		w.tenure = sinkRemoved
		w.happen("sink removed", 1)
	}
	w.note("the third sink is served: %v", w.serves(third))
	if w.random.IntN(2) == 0 {
		w.cut()
		return
	}
	w.stop()
}

// deleteSink gives up what the third sink is owed, and waits for so long; a sync
// that takes its time may be under way.
func (w *world) deleteSink(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.tenure = sinkDeleted
	dead := 0
	for _, sink := range w.life.queue.Stats().Sinks {
		if sink.ID == w.ids[third] {
			dead = int(sink.Dead)
		}
	}
	count, err := w.life.queue.DeleteSink(ctx, w.ids[third], edge.Deletion{Actor: "operator", Discard: true})
	w.note("the third sink is deleted, with %d records: %v", count, err)
	if err == nil {
		w.happen("dead letter of a deleted sink", dead)
	}
	return err
}

// endTenure leaves nothing in between: a sink that is removed is served again, or
// deleted.
func (w *world) endTenure() {
	if w.tenure == sinkRemoved && w.settings.RetentionRemovedSink == 0 && w.random.IntN(2) == 0 {
		if w.life != nil {
			w.stop()
		}
		w.tenure = sinkServed
		w.happen("sink returned", 1)
	}
	w.ensureLife()
	if w.tenure == sinkServed || w.life == nil {
		return
	}
	err := w.deleteSink(drainMax)
	if err != nil && w.isEnding() {
		if w.ensureLife(); w.life == nil {
			return
		}
		err = w.deleteSink(drainMax)
	}
	if err != nil && !w.misread() {
		w.fail("the third sink cannot be deleted: %v", err)
	}
	w.happen("sink deleted", 1)
}

// isEnding waits for a gateway that ends by itself: a write has failed just before
// the disk was mended, in a sync that took its time.
func (w *world) isEnding() bool {
	select {
	case <-w.life.ended:
		return true
	case <-time.After(drainMax):
		return false
	}
}
