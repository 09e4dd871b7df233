package dispatch

import "combotto.io/gateway/server/edge"

// decision is what an outcome means for the batch of the attempt.
type decision struct {
	acked []edge.Delivery
	dead  []edge.Death
	again bool              // the same batch once more, when the gate lets it
	parts [][]edge.Delivery // in order: what to try instead of the batch
}

func decide(batch []edge.Delivery, outcome edge.Outcome) decision {
	switch {
	case outcome.Class == edge.Delivered && len(outcome.Refused) == 0:
		return decision{acked: batch}
	case outcome.Class == edge.Delivered:
		return separate(batch, outcome)
	case outcome.Class == edge.Rejected && len(batch) == 1:
		return decision{dead: []edge.Death{{
			Delivery: batch[0], Reason: edge.DeathRejected, Status: outcome.Status, Excerpt: outcome.Excerpt,
		}}}
	case outcome.Class == edge.Rejected:
		half := len(batch) / 2
		return decision{parts: [][]edge.Delivery{batch[:half], batch[half:]}}
	}
	return decision{again: true}
}

// separate takes the records that were refused one by one out of a delivered
// batch. An index that is not in the batch names nothing and is ignored; of two
// refusals of one record the first counts.
func separate(batch []edge.Delivery, outcome edge.Outcome) decision {
	refusals := make(map[int]edge.Refused, len(outcome.Refused))
	for _, refused := range outcome.Refused {
		if _, known := refusals[refused.Index]; !known {
			refusals[refused.Index] = refused
		}
	}
	var d decision
	for i, delivery := range batch {
		refused, ok := refusals[i]
		if !ok {
			d.acked = append(d.acked, delivery)
			continue
		}
		death := edge.Death{Delivery: delivery, Reason: edge.DeathRejected, Status: refused.Status, Excerpt: edge.Excerpt(refused.Excerpt)}
		if refused.Unwritable {
			death.Reason = edge.DeathEncoding
		}
		d.dead = append(d.dead, death)
	}
	return d
}

// sane turns what a faulty sink may return into something that can be acted
// on: an outcome without a valid class decides nothing.
func sane(outcome edge.Outcome) edge.Outcome {
	if outcome.Class < edge.Delivered || outcome.Class > edge.Rejected {
		outcome = edge.Outcome{Class: edge.Unavailable, Status: "no outcome", Excerpt: outcome.Excerpt}
	}
	outcome.Excerpt = edge.Excerpt(outcome.Excerpt)
	return outcome
}
