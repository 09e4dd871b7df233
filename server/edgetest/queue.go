package edgetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"combotto.io/gateway/server/edge"
)

// Queue is a queue in memory. It implements [edge.Appender] and [edge.Leaser];
// an append is "durable" at once and answered before Append returns.
type Queue struct {
	stride   edge.Position // from one record's position to the next one's
	replying sync.Mutex    // held from commit to answer, so that answers keep their order

	mu     sync.Mutex
	last   edge.Position
	stored map[identity]edge.Record
	lanes  map[edge.SinkID]*lane
}

// identity tells one message from another; see [edge.Identity].
type identity struct {
	device    edge.DeviceID
	messageID string
	bootID    string
	sequence  uint64
}

// lane is what one sink is owed.
//
//	positions:  1   2   3   4   5   6   7   8
//	            settled |leased | due, in order
type lane struct {
	due         []edge.Delivery
	leased      map[edge.Position]edge.Delivery
	dead        map[edge.Position]edge.Delivery
	sealed      [][]edge.Delivery // leased as a whole, or due as a whole
	settlements []edge.Settlement
	changed     chan struct{} // closed and replaced whenever a waiting Lease should look again
}

// NewQueue returns an empty queue.
func NewQueue(sinks ...edge.SinkID) *Queue { return newQueue(1, sinks) }

// NewSparseQueue returns an empty queue that leaves positions out, as queues may
// whose positions name groups of records.
func NewSparseQueue(sinks ...edge.SinkID) *Queue { return newQueue(1000, sinks) }

func newQueue(stride edge.Position, sinks []edge.SinkID) *Queue {
	q := &Queue{stride: stride, stored: make(map[identity]edge.Record), lanes: make(map[edge.SinkID]*lane)}
	for _, sink := range sinks {
		q.lanes[sink] = &lane{
			leased:  make(map[edge.Position]edge.Delivery),
			dead:    make(map[edge.Position]edge.Delivery),
			changed: make(chan struct{}),
		}
	}
	return q
}

// Append implements [edge.Appender].
func (q *Queue) Append(ctx context.Context, entries ...edge.Entry) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	q.replying.Lock()
	defer q.replying.Unlock()
	replies := q.commit(entries)
	var flush []edge.Replier
	for i, reply := range replies {
		if replier := entries[i].Replier; replier != nil && replier.Reply(reply.Token, reply.Receipt, reply.Err) {
			flush = append(flush, replier)
		}
	}
	for _, replier := range flush {
		replier.Flush()
	}
	return nil
}

// commit stores all entries at once: no Lease sees some of them only.
func (q *Queue) commit(entries []edge.Entry) []Reply {
	q.mu.Lock()
	defer q.mu.Unlock()
	replies := make([]Reply, len(entries))
	for i := range entries {
		receipt, err := q.store(&entries[i])
		replies[i] = Reply{Token: entries[i].Token, Receipt: receipt, Err: err}
	}
	for _, lane := range q.lanes {
		lane.wake()
	}
	return replies
}

func (q *Queue) store(entry *edge.Entry) (edge.Receipt, error) {
	if entry.Refusal != nil {
		return edge.Receipt{Refused: true}, nil
	}
	record := entry.Record
	key := identity{record.Device, record.Identity.MessageID, "", 0}
	if key.messageID == "" {
		key.bootID, key.sequence = record.Identity.BootID, record.Identity.Sequence
	}
	original, known := q.stored[key]
	conflict := known && !bytes.Equal(original.Payload, record.Payload)
	switch {
	case known && !conflict:
		return edge.Receipt{Correlation: original.Correlation, Duplicate: true}, nil
	case conflict && record.Identity.Explicit:
		return edge.Receipt{}, edge.Refuse(edge.Conflict, edge.ReasonConflict, "message_id", "was used for another payload")
	}
	q.last += q.stride
	record.Position = q.last
	record.Payload = slices.Clone(record.Payload) // it is the sender's again after the answer
	record.Correlation = edge.NewCorrelationID(record.ReceivedAt, q.last, 0, 1)
	if record.Identity.Identifies() {
		q.stored[key] = record
	}
	for _, sink := range entry.Owed {
		lane := q.lanes[sink]
		lane.due = append(lane.due, edge.Delivery{Record: record})
	}
	return edge.Receipt{Correlation: record.Correlation, Conflict: conflict}, nil
}

// Lease implements [edge.Leaser].
func (q *Queue) Lease(ctx context.Context, sink edge.SinkID, limit edge.LeaseLimit) ([]edge.Delivery, error) {
	for {
		deliveries, changed, err := q.take(sink, limit)
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("lease: %w", ctx.Err())
		}
	}
}

func (q *Queue) take(sink edge.SinkID, limit edge.LeaseLimit) ([]edge.Delivery, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane, ok := q.lanes[sink]
	if !ok {
		return nil, nil, fmt.Errorf("lease: sink %d is unknown", sink)
	}
	if sealed := lane.takeSealed(); len(sealed) > 0 {
		return sealed, lane.changed, nil
	}
	count, size := 0, 0
	records := min(limit.Records, edge.MaxLeased-len(lane.leased), len(lane.due))
	for count < records {
		size += len(lane.due[count].Record.Payload)
		if count > 0 && size > limit.Bytes {
			break
		}
		count++
	}
	deliveries := slices.Clone(lane.due[:count])
	lane.due = lane.due[count:]
	for _, delivery := range deliveries {
		lane.unseal(delivery.Record.Position)
		lane.leased[delivery.Record.Position] = delivery
	}
	return deliveries, lane.changed, nil
}

// Begin implements [edge.Leaser].
func (q *Queue) Begin(sink edge.SinkID, batch []edge.Delivery) []edge.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[sink]
	if lane == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(batch), func(delivery edge.Delivery) bool {
		_, leased := lane.leased[delivery.Record.Position]
		return !leased
	})
}

// GiveUp takes what is leased for a sink from its lane, as a policy does.
func (q *Queue) GiveUp(sink edge.SinkID, positions ...edge.Position) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, position := range positions {
		delete(q.lanes[sink].leased, position)
		q.lanes[sink].unseal(position)
	}
}

// Settle implements [edge.Leaser]. It refuses deliveries that are not leased,
// so that a lane which settles twice is found out.
func (q *Queue) Settle(ctx context.Context, sink edge.SinkID, settlement edge.Settlement) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[sink]
	for _, delivery := range settlement.Acked {
		if err := lane.settle(delivery); err != nil {
			return err
		}
	}
	for _, death := range settlement.Dead {
		if err := lane.settle(death.Delivery); err != nil {
			return err
		}
		lane.dead[death.Delivery.Record.Position] = death.Delivery
	}
	settlement.Acked, settlement.Dead = slices.Clone(settlement.Acked), slices.Clone(settlement.Dead)
	lane.settlements = append(lane.settlements, settlement)
	lane.wake()
	return nil
}

func (l *lane) settle(delivery edge.Delivery) error {
	position := delivery.Record.Position
	if _, ok := l.leased[position]; !ok {
		return fmt.Errorf("settle: position %d is not leased", position)
	}
	delete(l.leased, position)
	l.unseal(position)
	return nil
}

// Seal implements [edge.Leaser].
func (q *Queue) Seal(ctx context.Context, sink edge.SinkID, batch []edge.Delivery) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[sink]
	sealed := slices.Clone(batch)
	for i := range sealed {
		position := sealed[i].Record.Position
		if _, ok := lane.leased[position]; !ok || sealed[i].Kind == edge.Requeue || i > 0 && position <= sealed[i-1].Record.Position {
			return fmt.Errorf("seal: position %d is not leased, or not in order", position)
		}
		sealed[i].Sealed = true
	}
	for i := range sealed {
		lane.unseal(sealed[i].Record.Position)
	}
	lane.sealed = append(lane.sealed, sealed)
	return nil
}

// Sealed returns the sealed batches of a sink, oldest first.
func (q *Queue) Sealed(sink edge.SinkID) [][]edge.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.lanes[sink].sealed)
}

// unseal lets go of the batch that a position is a member of.
func (l *lane) unseal(position edge.Position) {
	l.sealed = slices.DeleteFunc(l.sealed, func(batch []edge.Delivery) bool {
		return slices.ContainsFunc(batch, func(member edge.Delivery) bool { return member.Record.Position == position })
	})
}

// takeSealed leases the first sealed batch of which nothing is leased.
func (l *lane) takeSealed() []edge.Delivery {
	for _, batch := range l.sealed {
		isLeased := func(member edge.Delivery) bool { _, ok := l.leased[member.Record.Position]; return ok }
		if slices.ContainsFunc(batch, isLeased) {
			continue
		}
		for _, member := range batch {
			l.leased[member.Record.Position] = member
			l.due = slices.DeleteFunc(l.due, func(due edge.Delivery) bool { return due.Record.Position == member.Record.Position })
		}
		return slices.Clone(batch)
	}
	return nil
}

// Release implements [edge.Leaser].
func (q *Queue) Release(sink edge.SinkID, deliveries []edge.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[sink]
	for _, delivery := range deliveries {
		leased, ok := lane.leased[delivery.Record.Position]
		if !ok {
			continue
		}
		delete(lane.leased, delivery.Record.Position)
		if leased.Sealed = false; leased.Kind == edge.Backfill {
			leased.Kind = edge.Live // only its batch remembers
		}
		lane.insert(leased)
	}
	lane.wake()
}

// Requeue makes a dead letter of the sink due again.
func (q *Queue) Requeue(sink edge.SinkID, position edge.Position) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[sink]
	delivery, ok := lane.dead[position]
	if !ok {
		return fmt.Errorf("requeue: position %d is not dead", position)
	}
	delete(lane.dead, position)
	delivery.Kind = edge.Requeue
	lane.insert(delivery)
	lane.wake()
	return nil
}

func (l *lane) insert(delivery edge.Delivery) {
	index, _ := slices.BinarySearchFunc(l.due, delivery.Record.Position, func(due edge.Delivery, position edge.Position) int {
		return cmp.Compare(due.Record.Position, position)
	})
	l.due = slices.Insert(l.due, index, delivery)
}

func (l *lane) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Account is where the deliveries of a sink stand.
type Account struct{ Due, Leased, Dead int }

// Account returns where the deliveries of a sink stand.
func (q *Queue) Account(sink edge.SinkID) Account {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[sink]
	return Account{Due: len(lane.due), Leased: len(lane.leased), Dead: len(lane.dead)}
}

// Leased returns what the sink's lane has, in no order.
func (q *Queue) Leased(sink edge.SinkID) []edge.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Values(q.lanes[sink].leased))
}

// Settlements returns what the sink's lane reported, oldest first.
func (q *Queue) Settlements(sink edge.SinkID) []edge.Settlement {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.lanes[sink].settlements)
}
