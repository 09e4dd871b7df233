package sim

import (
	"context"

	"combotto.io/gateway/server/edge"
)

// lossReport is what the gateway says that it has given up, by sink.
type lossReport [2]struct {
	stretches []edge.Loss
	left      map[edge.DeviceID]int64 // losses that no missing message was held against
}

// readLosses reads the report, whose counts have to be those of the ledger.
func (w *world) readLosses() *lossReport {
	report := &lossReport{}
	stats := w.life.queue.Stats()
	for i := range report {
		sink := w.life.plan.Sinks[i].ID
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
			if named != stretch.Count || stretch.Kind != edge.LossExpired {
				w.fail("sink %s: of %d losses %d are named: %+v", sinkNames[i], stretch.Count, named, stretch)
			}
		}
		for _, sink := range stats.Sinks {
			if sink.Name == sinkNames[i] && sink.Expired != count {
				w.fail("sink %s: %d losses are reported, the ledger says %d", sinkNames[i], count, sink.Expired)
			}
		}
	}
	return report
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
