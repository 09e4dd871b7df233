package queue

import (
	"context"
	"fmt"
	"maps"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// save is what one transaction writes of the state in memory. It is taken while
// nobody else writes, and is ended when the outcome of the transaction is known.
type save struct {
	accounts []accountSave
	oldRows  oldRows // what is left of them
}

// accountSave is one account as of the transaction.
type accountSave struct {
	account *account
	row     queuefile.StoredSink
	unsure  bool           // what the row counts is known to be wrong
	sealing []*sealedBatch // of its sealed ones, the new ones
	unsaved unsaved
	letters letterSizes // before the transaction
	evicted evictedLetters
	deaths  map[string]queuefile.Deaths
	// deathsChanged says that deaths are to be written.
	deathsChanged bool
}

// saveAccounts writes every account that has changed, some of those whose row is old,
// and simply all of them when much is saved, or when it has to be known who has lost
// what is set aside. An account's cursor, and the dead letters and losses that it
// passed over, are in one transaction.
func (c *committer) saveAccounts(conn *sqlite.Conn, tx *transaction) (*save, error) {
	s := &save{}
	all := tx.saving >= saveSome || tx.damaged != nil
	old := c.oldRows
	tx.eviction = c.newEviction()
	for _, account := range c.q.registry.all() {
		taken, changed := account.takeUnsaved()
		if !changed && !all && c.lettersOver(account, tx.eviction.crowded) == 0 && !old.take(&taken) {
			continue
		}
		s.accounts = append(s.accounts, taken)
		if err := c.writeAccount(conn, &s.accounts[len(s.accounts)-1], tx); err != nil {
			return s, fmt.Errorf("save sink %s: %w", account.name, err)
		}
	}
	s.oldRows = old
	return s, nil
}

// oldRows is whose rows are to be saved though nothing has become of their records:
// what a row does not count a salvage has to guess. Each round of the WAL saves some,
// until all of them count as far as the queue had come when it began with them.
type oldRows struct {
	below       edge.Position // rows that count less are old; 0 when none is looked for
	left, bytes int           // what this round may still save
}

// A round saves at most so many rows, and lists of so many bytes in them: together less
// than a few pages, however many sinks there are.
const (
	oldRowsMax  = 32
	oldRowBytes = 16 << 10
)

// round begins with another round, if one has been asked for.
func (o *oldRows) round(q *Queue) {
	if o.left, o.bytes = oldRowsMax, oldRowBytes; o.below > 0 {
		for _, account := range q.registry.all() {
			if account.rowCounted < o.below {
				return
			}
		}
	}
	o.below = q.Head()
}

// take reports whether a row is to be saved, and counts it.
func (o *oldRows) take(taken *accountSave) bool {
	if taken.account.rowCounted >= o.below || o.left <= 0 || o.bytes <= 0 {
		return false
	}
	o.left--
	o.bytes -= len(taken.row.Settled) + len(taken.row.Sealed)
	return true
}

// takeUnsaved returns the account as it is and regards it as saved.
func (a *account) takeUnsaved() (taken accountSave, changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken = accountSave{
		account: a, row: a.row(), unsure: a.unsure, unsaved: a.unsaved, letters: a.letters,
		deaths: maps.Clone(a.deaths), deathsChanged: len(a.unsaved.letters) > 0 || a.deathsDirty,
	}
	taken.row.Sealed, taken.sealing = a.takeSealed()
	changed = a.dirty
	a.saving = changed
	a.leaving, a.unsaved, a.dirty, a.deathsDirty = a.unsaved, unsaved{}, false, false
	return taken, changed
}

// row returns where the account is and what it counts, without sealed batches.
func (a *account) row() queuefile.StoredSink {
	return queuefile.StoredSink{
		ID: a.id, Name: a.name, Kind: a.kind, Start: a.start, BacklogFrom: a.backlogFrom,
		Cursor: a.cursor, Settled: a.settled.AppendTo([]byte{}, a.cursor), SinkCounts: a.SinkCounts,
	}
}

func (c *committer) writeAccount(conn *sqlite.Conn, s *accountSave, tx *transaction) error {
	id := s.account.id
	for i := range s.unsaved.attempts {
		if err := tx.attempts.insert(conn, id, &s.unsaved.attempts[i], tx.now); err != nil {
			return err
		}
	}
	for i := range s.unsaved.letters {
		if err := c.writeLetter(conn, s.account, &s.unsaved.letters[i]); err != nil {
			return err
		}
	}
	if err := c.evictLetters(conn, s, tx); err != nil {
		return fmt.Errorf("evict dead letters: %w", err)
	}
	if s.deathsChanged {
		if err := queuefile.WriteDeaths(conn, id, s.deaths); err != nil {
			return err
		}
	}
	if err := s.unsaved.losses.write(conn, id); err != nil {
		return err
	}
	return s.row.Save(conn, s.unsure)
}

// endSave keeps what was saved, or gives it back to the accounts when the
// transaction failed.
func (c *committer) endSave(s *save, err error) {
	if s == nil {
		return
	}
	for i := range s.accounts {
		taken := &s.accounts[i]
		taken.account.endSeals(taken.sealing, err)
		if err != nil {
			taken.account.letters = taken.letters
			taken.account.restoreUnsaved(&taken.unsaved)
			continue
		}
		taken.account.saved(taken)
		if taken.evicted.count > 0 {
			taken.account.evicted(&taken.evicted)
			c.q.announce(taken.account, evictedReason, taken.evicted.count)
		}
	}
	if err == nil {
		c.oldRows = s.oldRows
	}
}

func (a *account) restoreUnsaved(failed *unsaved) {
	a.mu.Lock()
	defer a.mu.Unlock()
	attempts := append(failed.attempts, a.unsaved.attempts...)
	a.unsaved.attempts = attempts[max(0, len(attempts)-unsavedAttemptsMax):]
	a.unsaved.letters = append(failed.letters, a.unsaved.letters...)
	a.unsaved.letterBytes += failed.letterBytes
	for _, later := range a.unsaved.losses {
		failed.losses.join(later)
	}
	a.unsaved.losses = failed.losses
	a.leaving, a.dirty, a.deathsDirty, a.saving = unsaved{}, true, true, false
}

func (a *account) saved(taken *accountSave) {
	letters := taken.unsaved.letters
	a.rowCounted = taken.row.Counted
	a.mu.Lock()
	a.durable, a.saving, a.leaving = max(a.durable, taken.row.Cursor), false, unsaved{}
	for i := range letters {
		if letter := &letters[i]; letter.kind != letterBorn && (letter.kind != letterDiscarded || letter.requeued) {
			a.requeue.saved(letter.position)
		}
	}
	a.mu.Unlock()
	if len(letters) > 0 {
		a.freed.broadcast()
	}
}

// flush waits until everything that Settle has recorded is saved.
func (q *Queue) flush(ctx context.Context) error {
	unsaved := false
	for _, account := range q.registry.all() {
		account.mu.Lock()
		unsaved = unsaved || account.dirty || account.saving
		account.mu.Unlock()
	}
	if !unsaved {
		return nil
	}
	return q.save(ctx, saveSettled)
}

// save has the committer save so much, and returns when that is durable.
func (q *Queue) save(ctx context.Context, much saving) error {
	saved := make(chan error, 1)
	select {
	case q.flushes <- flush{saving: much, saved: saved}:
		return <-saved
	case <-ctx.Done():
		return ctx.Err()
	case <-q.closed:
		return edge.NewStopping()
	}
}

// flush is a request to save so much, and who waits for it.
type flush struct {
	saving saving
	saved  chan error
}

// unlessFull drops the error of a flush that has found no room: on a full disk what is
// stored can still be read.
func unlessFull(err error) error {
	if err != nil && edge.AsError(err).Code == edge.Full {
		return nil
	}
	return err
}
