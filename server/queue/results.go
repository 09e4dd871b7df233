package queue

import (
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// results counts what became of the messages that reached the queue. Ingest
// counts those that it refused before.
type results struct {
	counters  [len(edge.Sources) + 1][resultKinds]observe.Counter // by source
	conflicts [len(edge.Sources) + 1]observe.Counter              // refusals of an explicit key
}

// The kinds of results, in the order of resultNames.
const (
	resultAccepted = iota
	resultDuplicate
	resultConflict
	resultRejected
	resultKinds
)

var resultNames = [resultKinds]string{"accepted", "duplicate", "conflict", "rejected"}

func newResults(metrics *observe.Metrics) *results {
	r := &results{}
	for _, source := range edge.Sources {
		for kind, name := range resultNames {
			r.counters[source][kind] = metrics.Counter("ingest_messages_total", source.String(), name)
		}
		r.conflicts[source] = metrics.Counter("ingest_rejected_total", source.String(), string(edge.ReasonConflict))
	}
	return r
}

// add counts the answers of a group: summed up first, because a counter per
// message is an atomic operation per message.
func (r *results) add(g *group) {
	if g.failure != nil {
		return // whoever gives up in the end counts it: a door may try again
	}
	var sums [len(edge.Sources) + 1][resultKinds]int
	for i := range g.answers {
		entry, given := &g.entries[i], &g.answers[i]
		switch {
		case entry.Refusal != nil: // counted by ingest
		case given.err != nil:
			sums[entry.Record.Source][resultRejected]++
		case given.receipt.Duplicate:
			sums[entry.Record.Source][resultDuplicate]++
		case given.receipt.Conflict:
			sums[entry.Record.Source][resultConflict]++
		default:
			sums[entry.Record.Source][resultAccepted]++
		}
	}
	for _, source := range edge.Sources {
		for kind, sum := range sums[source] {
			if sum > 0 {
				r.counters[source][kind].Add(sum)
			}
		}
		if refused := sums[source][resultRejected]; refused > 0 {
			r.conflicts[source].Add(refused)
		}
	}
}
