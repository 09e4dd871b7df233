package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

// sealedBatch is a batch that goes out under a name made from its members. They
// are committed before its first attempt, and a start hands it out as it was.
// While all its members are leased, or none, it stands; as soon as one of them is
// decided, or goes its own way, the batch is no more: whatever is left of it gets
// another name.
type sealedBatch struct {
	queuefile.StoredBatch
	saved   chan struct{} // closed when a commit has saved it, or failed to
	failure error         // why that failed
}

// overlaps reports whether a position of wanted is a member.
func (b *sealedBatch) overlaps(wanted queuefile.Span) bool {
	if last := len(b.Members) - 1; b.Members[last].End <= wanted.First || wanted.End <= b.Members[0].First {
		return false
	}
	index := b.Members.Find(wanted.First)
	return index < len(b.Members) && b.Members[index].First < wanted.End
}

// isSaved reports whether a commit has been tried.
func (b *sealedBatch) isSaved() bool {
	select {
	case <-b.saved:
		return true
	default:
		return false
	}
}

// Seal implements [edge.Leaser].
func (q *Queue) Seal(ctx context.Context, sink edge.SinkID, batch []edge.Delivery) error {
	account, err := q.account(sink)
	if err != nil {
		return err
	}
	sealed, err := account.seal(batch)
	if err != nil {
		return fmt.Errorf("seal for %s: %w", account.name, err)
	}
	nudge(q.seals)
	select {
	case <-sealed.saved:
		return sealed.failure
	case <-ctx.Done():
		return fmt.Errorf("seal for %s: %w", account.name, ctx.Err())
	case <-q.closed:
		return edge.NewStopping()
	}
}

// seal takes note of a batch, for the next commit to save.
func (a *account) seal(batch []edge.Delivery) (*sealedBatch, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sealed := &sealedBatch{saved: make(chan struct{})}
	last := edge.Position(0)
	for i := range batch {
		position := batch[i].Record.Position
		here := queuefile.Span{First: position, End: position + 1}
		switch {
		case batch[i].Kind == edge.Requeue || !a.leased.Contains(here):
			return nil, fmt.Errorf("position %d is not leased", position)
		case position <= last:
			return nil, fmt.Errorf("position %d follows %d", position, last)
		}
		last = position
		sealed.Members.Add(here)
		if batch[i].Kind == edge.Backfill {
			sealed.Backfill.Add(here)
		}
	}
	for _, known := range a.sealed {
		if slices.Equal(known.Members, sealed.Members) && slices.Equal(known.Backfill, sealed.Backfill) {
			return known, nil
		}
	}
	for _, members := range sealed.Members {
		a.unseal(members)
	}
	a.sealed = append(a.sealed, sealed)
	a.dirty = true
	return sealed, nil
}

// unseal lets go of the batches with a member in a span.
func (a *account) unseal(gone queuefile.Span) {
	for i := len(a.sealed) - 1; i >= 0; i-- {
		b := a.sealed[i]
		if !b.overlaps(gone) {
			continue
		}
		if !b.isSaved() {
			b.end(errUnsealed)
		}
		a.sealed = slices.Delete(a.sealed, i, i+1)
		a.dirty = true
	}
}

var errUnsealed = errors.New("a member of the batch has gone its own way")

// end tells whoever waits for a batch what became of it.
func (b *sealedBatch) end(failure error) {
	b.failure = failure
	close(b.saved)
}

// takeSealed returns the batches as they are saved, and those of them that wait
// for it.
func (a *account) takeSealed() (body []byte, waiting []*sealedBatch) {
	body = []byte{}
	for _, b := range a.sealed {
		body = b.StoredBatch.AppendTo(body)
		if !b.isSaved() {
			waiting = append(waiting, b)
		}
	}
	return body, waiting
}

// endSeals tells those who wait what became of their batches. One that could not
// be saved is let go of.
func (a *account) endSeals(waiting []*sealedBatch, failure error) {
	if len(waiting) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range waiting {
		if b.isSaved() {
			continue // let go of since
		}
		if failure != nil {
			a.sealed = slices.DeleteFunc(a.sealed, func(kept *sealedBatch) bool { return kept == b })
		}
		b.end(failure)
	}
}

// restoreSealed makes the batches that a row holds.
func restoreSealed(stored []queuefile.StoredBatch) []*sealedBatch {
	saved := make(chan struct{})
	close(saved)
	all := make([]*sealedBatch, len(stored))
	for i, batch := range stored {
		all[i] = &sealedBatch{StoredBatch: batch, saved: saved}
	}
	return all
}

// leaseSealed leases the first sealed batch that is not out, whole. It returns
// none when there is none.
func (q *Queue) leaseSealed(ctx context.Context, a *account) ([]edge.Delivery, error) {
	for {
		sealed := a.nextSealed()
		if sealed == nil {
			return nil, nil
		}
		deliveries, err := q.readSealed(ctx, sealed)
		if err != nil {
			return nil, fmt.Errorf("read a sealed batch: %w", err)
		}
		if a.takesSealed(sealed, deliveries) {
			return deliveries, nil
		}
	}
}

// nextSealed returns the first batch of which nothing is leased.
func (a *account) nextSealed() *sealedBatch {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.sealed {
		if !a.isOut(b) {
			return b
		}
	}
	return nil
}

// isOut reports whether a member of a batch is leased.
func (a *account) isOut(b *sealedBatch) bool {
	return slices.ContainsFunc(b.Members, func(members queuefile.Span) bool {
		index := a.leased.Find(members.First)
		return index < len(a.leased) && a.leased[index].First < members.End
	})
}

// awaitsWhole reports whether a position is a member of a batch that a lease has
// to hand out whole. A lane that stops gives its batches back while it still
// leases, and so may do that after the lease has looked for sealed ones.
func (a *account) awaitsWhole(here queuefile.Span) bool {
	return slices.ContainsFunc(a.sealed, func(b *sealedBatch) bool { return b.overlaps(here) && !a.isOut(b) })
}

// readSealed reads the members of a batch, none when one of them is gone.
func (q *Queue) readSealed(ctx context.Context, b *sealedBatch) ([]edge.Delivery, error) {
	var deliveries []edge.Delivery
	for _, members := range b.Members {
		for position := members.First; position < members.End; position++ {
			frame, err := q.frameAt(ctx, position)
			if err != nil {
				return nil, err
			}
			if frame == nil || position < frame.First {
				return nil, nil
			}
			delivery := edge.Delivery{Record: frame.Records[position-frame.First], Kind: edge.Live, Sealed: true}
			if b.Backfill.Contains(queuefile.Span{First: position, End: position + 1}) {
				delivery.Kind = edge.Backfill
			}
			deliveries = append(deliveries, delivery)
		}
	}
	return deliveries, nil
}

// takesSealed leases the members of a batch that were read, unless the batch has
// been let go of since. One that cannot be whole any more is let go of.
func (a *account) takesSealed(b *sealedBatch, deliveries []edge.Delivery) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.sealed, b) {
		return false
	}
	if len(deliveries) == 0 {
		a.unseal(b.Members[0])
		return false
	}
	for _, members := range b.Members {
		a.leased.Add(members)
		a.frontier = max(a.frontier, members.End)
	}
	a.inFlight += len(deliveries)
	return true
}
