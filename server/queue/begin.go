package queue

import (
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

// Begin implements [edge.Leaser].
func (q *Queue) Begin(sink edge.SinkID, batch []edge.Delivery) []edge.Delivery {
	account, err := q.account(sink)
	if err != nil {
		return nil // nothing was leased for it
	}
	return account.begin(batch)
}

func (a *account) begin(batch []edge.Delivery) []edge.Delivery {
	a.mu.Lock()
	defer a.mu.Unlock()
	due := batch
	for i := range batch {
		position := batch[i].Record.Position
		kept := batch[i].Kind == edge.Requeue || a.leased.Contains(queuefile.Span{First: position, End: position + 1})
		switch {
		case kept && len(due) < len(batch):
			due = append(due, batch[i])
		case !kept && len(due) == len(batch):
			due = append(make([]edge.Delivery, 0, len(batch)), batch[:i]...)
		}
	}
	if len(due) > 0 && due[0].Kind != edge.Requeue {
		a.attempts[due[0].Record.Position] = due
	}
	return due
}

// underWay lists what attempts carry at the moment.
func (a *account) underWay() map[edge.Position]bool {
	var positions map[edge.Position]bool
	for _, batch := range a.attempts {
		if positions == nil {
			positions = make(map[edge.Position]bool)
		}
		for i := range batch {
			positions[batch[i].Record.Position] = true
		}
	}
	return positions
}
