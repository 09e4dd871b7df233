package queue

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// SinkSpec is a sink that records can be owed to.
type SinkSpec struct {
	Name  string
	Kind  string
	Start edge.Start // where a new sink begins; a known one goes on where it is
	Limits
}

// Limits say what a sink may keep waiting. Zero values are no limit.
type Limits struct {
	// TTL is the age at which records expire for the sink.
	TTL time.Duration
	// MaxLagBytes is how much of the file may lie behind the oldest record that
	// waits for the sink, before the oldest ones expire. The sink's dead letters take
	// of that what the backlog leaves; see evict.go. A sink that is required has no
	// such limit.
	MaxLagBytes int64
}

// registry is the accounts of all sinks, in order of id.
type registry struct {
	list atomic.Pointer[[]*account] // the slice is replaced, never changed

	changing    chan struct{} // full while somebody changes sinks; it guards what follows
	cursorsLost bool          // a sink that is new may be an old one, and gets everything there is
}

func (r *registry) all() []*account { return *r.list.Load() }

// lock waits until nobody else changes sinks, which may take as long as a disk does.
func (r *registry) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case r.changing <- struct{}{}:
		return func() { <-r.changing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *registry) byName(name string) *account {
	for _, account := range r.all() {
		if account.name == name && !account.removal().deleted {
			return account
		}
	}
	return nil
}

func (q *Queue) account(id edge.SinkID) (*account, error) {
	for _, account := range q.registry.all() {
		if account.id == id {
			return account, nil
		}
	}
	return nil, &edge.Error{Code: edge.NotFound, Message: fmt.Sprintf("sink %d is unknown to the queue", id)}
}

// EnsureSinks makes the named sinks the ones that the queue serves and returns
// their ids in order. A name that is known keeps its id and its place. A new
// name gets an id that was never used. A sink that is no longer named becomes
// removed and keeps its backlog.
//
// What a stored record is owed to is never recomputed. A new sink that starts at
// oldest or at a time is therefore owed the records from there up to now by
// place, whatever their sets say.
func (q *Queue) EnsureSinks(ctx context.Context, specs []SinkSpec) ([]edge.SinkID, error) {
	unlock, err := q.registry.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("register sinks: %w", err)
	}
	defer unlock()
	var change sinksChange
	err = q.db.Write(ctx, func(conn *sqlite.Conn) error {
		change = sinksChange{accounts: slices.Clone(q.registry.all())}
		return change.write(conn, q, specs)
	})
	if queuefile.IsDamage(err) { // nobody else tells the next start, which then looks at everything
		err = fmt.Errorf("%w: %w", queuefile.ErrRow, err)
		q.suspect(err)
	}
	if err != nil {
		return nil, q.writeFailed(fmt.Errorf("register sinks: %w%s", err, hint(err)))
	}
	for _, apply := range change.apply {
		apply()
	}
	q.registry.list.Store(&change.accounts)
	nudge(q.enlarged) // their limits are looked at before anything is leased
	return change.ids, nil
}

// sinksChange is what EnsureSinks does to the registry once it is durable.
type sinksChange struct {
	ids      []edge.SinkID
	accounts []*account
	apply    []func()
}

func (c *sinksChange) write(conn *sqlite.Conn, q *Queue, specs []SinkSpec) error {
	named := make(map[string]bool, len(specs))
	for _, spec := range specs {
		if named[spec.Name] {
			return edge.Refuse(edge.Invalid, "", "name", "sink %s is named twice", spec.Name)
		}
		named[spec.Name] = true
		known := q.registry.byName(spec.Name)
		if known == nil {
			added, err := q.addSink(conn, spec, c.nextID(q.sets))
			if err != nil {
				return err
			}
			c.accounts = append(c.accounts, added)
			c.ids = append(c.ids, added.id)
			continue
		}
		if err := c.update(conn, known, spec.Kind, spec.Limits, time.Time{}); err != nil {
			return err
		}
		c.ids = append(c.ids, known.id)
	}
	if q.registry.cursorsLost {
		c.apply = append(c.apply, func() { q.registry.cursorsLost = false })
		if err := queuefile.SaveCursorsFound(conn); err != nil {
			return err
		}
	}
	for _, account := range q.registry.all() {
		if !named[account.name] && !account.removal().deleted {
			if err := c.update(conn, account, account.kind, Limits{}, q.clock.now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextID follows the largest id, that of a sink whose row was lost included.
func (c *sinksChange) nextID(sets *owedSets) edge.SinkID {
	last := edge.Ingress
	for _, set := range *sets.all.Load() {
		for _, sink := range set {
			last = max(last, sink)
		}
	}
	for _, account := range c.accounts {
		last = max(last, account.id)
	}
	return last + 1
}

// update changes what the operator decides, and nothing that a save writes. A
// sink is served unless it is removed at some time; one that is removed already
// is so since then.
func (c *sinksChange) update(conn *sqlite.Conn, known *account, kind string, limits Limits, removedAt time.Time) error {
	if since := known.removedSince(); !since.IsZero() && !removedAt.IsZero() {
		removedAt = since
	}
	removed := !removedAt.IsZero()
	c.apply = append(c.apply, func() {
		known.mu.Lock()
		defer known.mu.Unlock()
		known.kind, known.limits, known.removed, known.removedAt = kind, limits, removed, removedAt
		known.examined = false
	})
	return queuefile.SaveServing(conn, known.id, kind, removedAt)
}

// removedSince returns the gateway time at which a sink was removed, zero when it
// is served.
func (a *account) removedSince() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.removedAt
}

// addSink stores a new sink.
func (q *Queue) addSink(conn *sqlite.Conn, spec SinkSpec, id edge.SinkID) (*account, error) {
	if q.registry.cursorsLost {
		spec.Start = edge.Start{Oldest: true}
	}
	added := newAccount(id, spec.Name, spec.Kind)
	added.limits = spec.Limits
	head, err := queuefile.Head(conn)
	if err != nil {
		return nil, err
	}
	added.start, added.backlogFrom, added.Counted, added.rowCounted = head+1, head+1, head, head
	if spec.Start.Oldest || !spec.Start.At.IsZero() {
		if err := q.findBacklog(conn, added, spec.Start); err != nil {
			return nil, fmt.Errorf("find the start of sink %s: %w", spec.Name, err)
		}
	}
	added.cursor, added.durable, added.next, added.frontier = added.backlogFrom, added.backlogFrom, added.backlogFrom, added.backlogFrom
	row := added.row()
	return added, row.Insert(conn)
}

// findBacklog finds where the backlog of a new sink begins, and counts it.
func (q *Queue) findBacklog(conn *sqlite.Conn, added *account, start edge.Start) error {
	low, high := edge.Position(0), added.start // the first frame that is wanted lies in (low, high]
	var first *queuefile.Frame
	for low+1 < high {
		middle := low + (high-low)/2
		found, err := q.readFrame(conn, queuefile.SelectFrames+" WHERE id >= ? ORDER BY id LIMIT 1", middle)
		switch {
		case err != nil:
			return err
		case found == nil || found.First >= high:
			high = middle
		case start.Oldest || !found.Records[len(found.Records)-1].ReceivedAt.Before(start.At):
			first, high = found, min(found.First, middle)
		default:
			low = found.End() - 1
		}
	}
	if first == nil {
		return nil
	}
	added.backlogFrom = first.First
	for !start.Oldest && added.backlogFrom < first.End() && first.Records[added.backlogFrom-first.First].ReceivedAt.Before(start.At) {
		added.backlogFrom++
	}
	_, err := conn.One("SELECT coalesce(sum(n), 0) FROM frame WHERE id >= ?", func(row sqlite.Row) {
		added.Owed = row.Int(0) - int64(added.backlogFrom-first.First)
	}, int64(first.First))
	return err
}

// loadSinks reads the accounts as they were saved last.
func loadSinks(conn *sqlite.Conn) ([]*account, error) {
	var accounts []*account
	err := conn.Query(queuefile.SelectSinks+" ORDER BY id", func(row sqlite.Row) error {
		loaded, err := loadSink(queuefile.ReadSink(row))
		accounts = append(accounts, loaded)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, account := range accounts {
		if account.deaths, err = queuefile.ReadDeaths(conn, account.id); err != nil {
			return nil, err
		}
		if err = account.readLosses(conn); err != nil {
			return nil, err
		}
		_, err = conn.One("SELECT count(*) FROM dead WHERE sink = ? AND requeued = 1", func(row sqlite.Row) { account.requeue.waiting = row.Int(0) }, int64(account.id))
		if err != nil {
			return nil, err
		}
	}
	return accounts, nil
}

// loadSink makes the account of a stored sink.
func loadSink(stored queuefile.StoredSink) (*account, error) {
	placeHolds := stored.PlaceHolds()
	stored.Advance()
	loaded := newAccount(stored.ID, stored.Name, stored.Kind)
	loaded.removed, loaded.deleted = stored.Removed != queuefile.SinkServed, stored.Removed == queuefile.SinkDeleted
	loaded.removedAt, loaded.deletedBy = stored.RemovedAt, stored.RemovedBy
	loaded.start, loaded.backlogFrom, loaded.cursor = stored.Start, stored.BacklogFrom, stored.Cursor
	loaded.durable, loaded.next, loaded.frontier = loaded.cursor, loaded.cursor, loaded.cursor
	settled, err := queuefile.ParseSpans(stored.Settled, loaded.cursor)
	if err != nil {
		return nil, queuefile.NewRowError("sink %s: %v", loaded.name, err)
	}
	if loaded.settled = settled; len(settled) > 0 {
		loaded.frontier = settled[len(settled)-1].End
	}
	if !placeHolds {
		return nil, queuefile.NewRowError("sink %d, %q", loaded.id, loaded.name)
	}
	loaded.SinkCounts, loaded.unsure, loaded.rowCounted = stored.SinkCounts, !stored.CountsHold(), stored.Counted
	// Damaged ones are as good as let go of: their records get other names.
	sealed, _ := queuefile.ParseSealed(stored.Sealed)
	loaded.sealed = restoreSealed(sealed)
	return loaded, nil
}
