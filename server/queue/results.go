package queue

import (
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// results counts what became of the messages that reached the queue. Ingest
// counts those that it refused before.
type results struct {
	doors [len(edge.Sources) + 1]*observe.Door // by source
}

// sums are the answers of one group to one door.
type sums struct{ accepted, duplicate, conflict, refused int }

func newResults(metrics *observe.Metrics) *results {
	r := &results{}
	for _, source := range edge.Sources {
		r.doors[source] = metrics.Door(source.String())
	}
	return r
}

// add counts the answers of a group: summed up first, because a counter per
// message is an atomic operation per message.
func (r *results) add(g *group) {
	var bySource [len(edge.Sources) + 1]sums
	for i := range g.entries {
		entry := &g.entries[i]
		sum := &bySource[entry.Record.Source]
		switch {
		case entry.Refusal != nil: // counted by ingest
		case g.failure != nil || g.answers[i].err != nil:
			sum.refused++
		case g.answers[i].receipt.Duplicate:
			sum.duplicate++
		case g.answers[i].receipt.Conflict:
			sum.conflict++
		default:
			sum.accepted++
		}
	}
	reason := edge.ReasonConflict // the only refusal of a single entry
	if g.failure != nil {
		reason = g.failure.Reason
	}
	for _, source := range edge.Sources {
		door, sum := r.doors[source], bySource[source]
		door.Count("accepted", sum.accepted)
		door.Count("duplicate", sum.duplicate)
		door.Count("conflict", sum.conflict)
		if sum.refused > 0 {
			door.Refuse(string(reason), sum.refused)
		}
	}
}
