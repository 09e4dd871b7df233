package sim

import (
	"context"

	"combotto.io/gateway/server/edge"
)

// lossReport is what the gateway says that it has given up, by sink.
type lossReport [3]struct {
	stretches []edge.Loss
	left      map[edge.DeviceID]int64 // losses that no missing message was held against
}

// readLosses reads the report, whose counts have to be those of the ledger.
func (w *world) readLosses() *lossReport {
	report := &lossReport{}
	stats := w.life.queue.Stats()
	for i := range report {
		sink := w.ids[i]
		stretches, err := w.life.queue.Losses(context.Background(), edge.LossFilter{Sinks: []edge.SinkID{sink}}, 0, 1<<20)
		if err != nil {
			w.fail("the loss report cannot be read: %v", err)
		}
		report[i].stretches, report[i].left = stretches, map[edge.DeviceID]int64{}
		count := int64(0)
		for _, stretch := range stretches {
			count += stretch.Count
			named := int64(0)
			for _, device := range stretch.Devices {
				report[i].left[device.Device] += device.Count
				named += device.Count
			}
			if named != stretch.Count || !w.givenUpAs(i, &stretch) {
				w.fail("sink %s: of %d losses %d are named: %+v", sinkNames[i], stretch.Count, named, stretch)
			}
			if stretch.Reason == edge.LossEvicted {
				w.happen("dead letter evicted", int(stretch.Count))
			}
		}
		for _, sink := range stats.All() {
			if sink.Name == sinkNames[i] && sink.Expired+sink.Discarded != count {
				w.fail("sink %s: %d losses are reported, the ledger says %d and %d", sinkNames[i], count, sink.Expired, sink.Discarded)
			}
		}
	}
	return report
}

// givenUpAs reports whether somebody has set what a stretch says: a limit of the
// sink, or its end.
func (w *world) givenUpAs(index int, stretch *edge.Loss) bool {
	switch {
	case stretch.Kind == edge.LossExpired:
		limits := w.settings.Limits[index]
		set := map[string]bool{edge.LossTTL: limits.TTL > 0, edge.LossMaxLag: limits.MaxLagBytes > 0, edge.LossEvicted: limits.MaxLagBytes > 0}
		return set[stretch.Reason] && stretch.Actor == ""
	case stretch.Kind != edge.LossDiscarded || index != third || w.tenure != sinkDeleted:
		return false
	case stretch.Reason == edge.LossSinkRemoved:
		return w.settings.RetentionRemovedSink > 0 && stretch.Actor == ""
	}
	return stretch.Reason == edge.LossOperator && stretch.Actor == "operator"
}

// explain reports whether a record that a sink never got is in the report, and
// takes it off the losses of its device.
func (r *lossReport) explain(sink int, device edge.DeviceID, position edge.Position) bool {
	for _, stretch := range r[sink].stretches {
		if stretch.First <= position && position <= stretch.Last && r[sink].left[device] > 0 {
			r[sink].left[device]--
			return true
		}
	}
	return false
}

// verifyLetters looks whether the dead letters of a sink that may keep only so much are
// no more than that: nothing is requeued any more.
func (w *world) verifyLetters(sink int, kept map[edge.CorrelationID]*edge.DeadLetter) {
	bytes, limit := int64(0), w.settings.Limits[sink].MaxLagBytes
	for _, letter := range kept {
		bytes += int64(len(letter.Record.Payload))
	}
	if limit > 0 && bytes > limit {
		w.fail("sink %s has %d dead letters with %d bytes, and may keep %d", sinkNames[sink], len(kept), bytes, limit)
	}
}

// verifyRefused looks for every message that was refused and acknowledged: it is
// kept, or the loss report says that it had to make room. The oldest go first, so
// that all up to the last one in the report, and no other, are in it.
func (w *world) verifyRefused(kept map[edge.CorrelationID]*edge.DeadLetter) {
	stretches, err := w.life.queue.Losses(context.Background(), edge.LossFilter{Sinks: []edge.SinkID{edge.Ingress}}, 0, 1<<20)
	if err != nil {
		w.fail("the loss report of refused messages cannot be read: %v", err)
	}
	evicted, last, left := int64(0), edge.Position(0), map[edge.DeviceID]int64{}
	for _, stretch := range stretches {
		evicted, last = evicted+stretch.Count, max(last, stretch.Last)
		for _, device := range stretch.Devices {
			left[device.Device] += device.Count
		}
		if stretch.Kind != edge.LossExpired || stretch.Reason != edge.LossEvicted || stretch.Actor != "" {
			w.fail("refused messages are lost as nobody has set: %+v", stretch)
		}
	}
	stats := w.life.queue.Stats()
	if evicted != int64(last) || evicted != stats.IngressEvicted || stats.IngressRefused-evicted != int64(len(kept)) {
		w.fail("of %d refused messages %d are kept, and %d up to number %d are reported as evicted; the ledger says %d", stats.IngressRefused, len(kept), evicted, last, stats.IngressEvicted)
	}
	for id, m := range w.fleet.refused {
		letter := kept[id]
		switch {
		case letter != nil && string(letter.Record.Payload) != string(m.payload):
			w.fail("message %d was refused and acknowledged as %s, and is another one there", m.index, id)
		case letter == nil && (id.Position() > last || left[m.device.id] == 0):
			w.fail("message %d was refused and acknowledged as %s, but is neither kept nor reported as evicted", m.index, id)
		case letter == nil:
			left[m.device.id]--
			w.happen("refused message evicted", 1)
		}
	}
}
