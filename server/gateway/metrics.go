package gateway

import (
	"math"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// collect emits, at each scrape, what queue and dispatcher count anyway.
func (g *gateway) collect(emit observe.Emit) {
	stats := g.queue.Stats()
	emit("queue_bytes", float64(stats.Bytes))
	emit("queue_wal_bytes", float64(stats.WALBytes))
	emit("queue_reserve_bytes", float64(stats.ReserveBytes))
	emit("queue_limit_bytes", float64(stats.LimitBytes))
	emit("queue_headroom_seconds", seconds(stats.Headroom))
	emit("queue_filling", truth(stats.Filling))
	emit("queue_accepting", truth(stats.Accepting))
	emit("queue_unrouted_messages_total", float64(stats.Unrouted))
	emit("queue_quarantined_messages_total", float64(stats.Quarantined))
	emit("queue_salvaged_files_total", float64(stats.Salvaged))
	emit("queue_ledger_mismatches", float64(stats.LedgerMismatches))
	emit("dead_letters_evicted_total", float64(evicted(&stats)))
	for _, sink := range stats.Sinks {
		emit("queue_depth_messages", float64(max(0, sink.Pending)), sink.Name) // wrong counters may say less than nothing
		emit("queue_oldest_age_seconds", sink.OldestAge.Seconds(), sink.Name)
		emit("queue_pinned_bytes", float64(sink.PinnedBytes), sink.Name)
		emit("dead_letter_bytes", float64(sink.DeadBytes), sink.Name)
		collectDeaths(emit, sink.Name, edge.DeathReasons[:], sink.DeadByReason, sink.DeadEverByReason)
	}
	collectLosses(emit, &stats)
	collectDeaths(emit, edge.IngressName, edge.Reasons[:], stats.IngressByReason, stats.IngressEverByReason)
	for _, lane := range g.dispatcher.Stats() {
		for _, state := range edge.LaneStates {
			emit("sink_state", truth(state == lane.State), g.sinks.name(lane.Sink), state.String())
		}
	}
}

// evicted counts the dead letters that made room, of doors and of sinks, and the refused
// messages that were found damaged.
func evicted(stats *edge.QueueStats) int64 {
	count := stats.IngressEvicted
	for _, sink := range stats.All() {
		count += sink.LostByReason[edge.LossExpired][edge.LossEvicted]
	}
	return count
}

// endedShown is how many removed sinks have counters that have nothing left, the
// newest ones.
const endedShown = 64

// collectLosses emits what the sinks lost. The end of a sink may be a loss, and who
// is told of it looks after the sink is gone; a name that was used again counts on.
func collectLosses(emit observe.Emit, stats *edge.QueueStats) {
	ended := stats.Ended[max(0, len(stats.Ended)-endedShown):]
	var names []string
	lost := make(map[string][]map[edge.LossKind]map[string]int64)
	for _, sink := range slices.Concat(stats.Sinks, ended) {
		if lost[sink.Name] == nil {
			names = append(names, sink.Name)
		}
		lost[sink.Name] = append(lost[sink.Name], sink.LostByReason)
	}
	count := func(name string, kind edge.LossKind, reason string) (sum float64) {
		for _, byReason := range lost[name] {
			sum += float64(byReason[kind][reason])
		}
		return sum
	}
	for _, name := range names {
		for _, reason := range edge.ExpiryReasons {
			emit("queue_expired_messages_total", count(name, edge.LossExpired, reason), name, reason)
		}
		for _, reason := range edge.DiscardReasons {
			emit("queue_discarded_messages_total", count(name, edge.LossDiscarded, reason), name, reason)
		}
	}
}

// collectDeaths emits every reason, so that a counter is at 0 before the first
// death.
func collectDeaths[Reason ~string](emit observe.Emit, sink string, reasons []Reason, now, ever map[string]int64) {
	for _, reason := range reasons {
		emit("dead_letters", float64(now[string(reason)]), sink, string(reason))
		emit("dead_lettered_total", float64(ever[string(reason)]), sink, string(reason))
	}
}

func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// seconds is +Inf for what never comes.
func seconds(duration time.Duration) float64 {
	if duration == edge.Never {
		return math.Inf(1)
	}
	return duration.Seconds()
}
