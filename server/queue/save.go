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
	accounts []accountSave // that are written
	oldRows  oldRows       // what is left of them
}

// accountSave is one account as of the transaction.
type accountSave struct {
	account *account
	row     queuefile.StoredSink
	unsure  bool           // what the row counts is known to be wrong
	sealing []*sealedBatch // of its sealed ones, the new ones
	unsaved unsaved
	letters letterSizes // once the transaction has held
	bound   letterBound
	evicted evictedLetters
	deaths  map[string]queuefile.Deaths // nil when none of them can change
	// deathsChanged says that deaths are to be written.
	deathsChanged bool
}

// saveAccounts writes every account that has changed, some of those whose row is old,
// and simply all of them when much is saved, or when it has to be known who has lost
// what is set aside. An account's cursor, and the dead letters and losses that it
// passed over, are in one transaction.
func (c *committer) saveAccounts(conn *sqlite.Conn, tx *transaction) (*save, error) {
	s := &save{oldRows: c.oldRows}
	all := tx.saving >= saveSome || tx.damaged != nil
	for _, account := range c.q.registry.all() {
		due := all || c.isDue(account)
		if !due && !s.oldRows.want(account) {
			continue
		}
		taken := account.takeUnsaved()
		if !due {
			s.oldRows.take(&taken)
		}
		if gone := tx.forgotten; gone != nil && gone.Sink == account.id {
			taken.letters.change(gone.Position, -gone.Bytes())
		}
		s.accounts = append(s.accounts, taken)
	}
	c.decideEviction(s, tx)
	for i := range s.accounts {
		if err := c.writeAccount(conn, &s.accounts[i], tx); err != nil {
			return s, fmt.Errorf("save sink %s: %w", s.accounts[i].account.name, err)
		}
	}
	return s, nil
}

// isDue reports whether an account has changed, or some of its dead letters are to go.
// Every commit may ask every sink, of which mostly neither is the case.
func (c *committer) isDue(a *account) bool {
	a.mu.Lock()
	dirty := a.dirty
	a.mu.Unlock()
	return dirty || a.letters.bytes > 0 && c.lettersOver(a.letters.bytes, a.letterBound()) > 0
}

// oldRows is whose rows are to be saved though nothing has become of their records:
// what a row does not count a salvage has to guess. With each checkpoint some are saved,
// until all of them count as far as the queue had come when it began with them. A deleted
// sink has nothing to lose any more.
type oldRows struct {
	below edge.Position // rows that count less are old; 0 when none is looked for
	left  int           // what may still be saved until the next checkpoint
	bytes int           // the same, of the lists in them
}

// With one checkpoint at most so many rows are saved, and lists of so many bytes in them:
// together less than a few pages, however many sinks there are.
const (
	oldRowsMax  = 32
	oldRowBytes = 16 << 10
)

// begin is told of a checkpoint.
func (o *oldRows) begin(q *Queue) {
	if o.left, o.bytes = oldRowsMax, oldRowBytes; o.below > 0 {
		for _, account := range q.registry.all() {
			if o.isOld(account) {
				return
			}
		}
	}
	o.below = q.Head()
}

func (o *oldRows) isOld(a *account) bool { return a.rowCounted < o.below && !a.removal().deleted }

// want reports whether an account's row is to be saved.
func (o *oldRows) want(a *account) bool { return o.left > 0 && o.bytes > 0 && o.isOld(a) }

// take counts a row that is saved because it is old.
func (o *oldRows) take(taken *accountSave) {
	o.left--
	o.bytes -= len(taken.row.Settled) + len(taken.row.Sealed)
}

// takeUnsaved returns the account as it is and regards it as saved.
func (a *account) takeUnsaved() accountSave {
	bound := a.letterBound()
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := accountSave{
		account: a, row: a.row(), unsure: a.unsure, unsaved: a.unsaved, letters: a.letters, bound: bound,
		deathsChanged: len(a.unsaved.letters) > 0 || a.deathsDirty,
	}
	if taken.deathsChanged || a.letters.bytes > 0 {
		taken.deaths = maps.Clone(a.deaths) // also of what is evicted, which is known later, when more may have died
	}
	taken.row.Sealed, taken.sealing = a.takeSealed()
	a.saving = a.dirty
	a.leaving, a.unsaved, a.dirty, a.deathsDirty = a.unsaved, unsaved{}, false, false
	return taken
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
		if err := c.writeLetter(conn, s, &s.unsaved.letters[i]); err != nil {
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
			taken.account.restoreUnsaved(&taken.unsaved)
			continue
		}
		taken.account.letters = taken.letters
		taken.account.tellLetters()
		taken.account.saved(taken)
		if taken.evicted.count > 0 {
			taken.account.forgetEvicted(&taken.evicted)
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
