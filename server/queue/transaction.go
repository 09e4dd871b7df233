package queue

import (
	"fmt"
	"math"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// replayBytes bounds what a start reads again: the window's rows are saved before it is
// more.
const replayBytes = 64 << 20

// savesPerCommit bounds what a commit saves of the identity window.
var savesPerCommit = windowBudget{rows: 128, bytes: 256 << 10}

// clockInterval is how old the clock gets that a start begins with, while records
// arrive.
const clockInterval = time.Minute

// saving is how much of the state in memory a commit saves.
type saving int

const (
	saveNothing    saving = iota
	saveSettled           // what Settle has recorded
	saveSome              // and so much of the identity window that a start stays short
	saveMuch              // and as much of it as the WAL has room for: frames are to go that a start would miss
	saveEverything        // and all of the rest: a start reads no frame from before the commit
)

// transaction is what one commit writes, and what holds once it has succeeded.
type transaction struct {
	group       *group // nil when nothing is appended
	saving      saving
	maintenance bool      // look for what is old or too much, and write at least something
	now         time.Time // gateway time
	// damaged is what is to be set aside, if anything.
	damaged   *damageReport
	apart     queuefile.Span    // positions that were set aside
	forgotten *queuefile.Letter // of a sink, that was set aside
	merged    *merged           // takes the place of small frames; nil when none does
	// ended is called with whether the transaction has held: it takes back what was
	// counted in memory, or tells of it.
	ended []func(held bool)

	fileState        // once it has succeeded
	totals    totals // of the group only its refused messages
	save      *save
	eviction  eviction
	window    windowSave
	clock     bool         // was saved
	written   int64        // bytes that the transactions before have added to the WAL
	usage     sqlite.Usage // of the file; zero when nobody asked
}

// fileState is what a commit has to know of the file, besides the accounts: a start finds
// it, each transaction changes a copy, and the copy of one that has succeeded counts.
type fileState struct {
	sets       int // owed sets
	ingress    ingressKept
	attempts   attemptTotals
	asideBytes int64 // of what is damaged
	lossesOver bool  // the loss report takes more than its share, and can be made shorter
	retention  retention
	replayFrom edge.Position // first position that a start has to read again
	replayRead int64         // window.read at that position
}

// end tells what became of the transaction.
func (tx *transaction) end(held bool) {
	for _, ended := range tx.ended {
		ended(held)
	}
}

// write fills the transaction.
func (c *committer) write(conn *sqlite.Conn, tx *transaction) (err error) {
	tx.fileState, tx.totals = c.fileState, c.q.ledger.read()
	if tx.sets, err = c.q.sets.write(conn, tx.sets); err != nil {
		return err
	}
	if g := tx.group; g != nil && g.count > 0 {
		row := g.row()
		if err := row.Insert(conn); err != nil {
			return fmt.Errorf("append frame: %w", err)
		}
		tx.retention.appended(g)
	}
	if err := c.keepRefused(conn, tx); err != nil {
		return fmt.Errorf("keep refused messages: %w", err)
	}
	// Not after a write that found no room: what the reserve held is for removing records.
	if tx.maintenance && tx.lossesOver && !c.space.full.struck {
		if tx.lossesOver, err = queuefile.CoarsenLosses(conn, c.q.bounds.losses); err != nil {
			return fmt.Errorf("shorten the loss report: %w", err)
		}
	}
	if c.behind() {
		tx.saving = max(tx.saving, saveSome)
	}
	if tx.damaged != nil {
		if err := c.moveDamaged(conn, tx); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	if (tx.damaged != nil || tx.maintenance) && tx.asideBytes > c.q.bounds.aside {
		if tx.asideBytes, err = queuefile.EmptyQuarantine(conn, c.q.bounds.aside); err != nil {
			return err
		}
	}
	if tx.merged != nil {
		if err := tx.merged.write(conn, &tx.retention); err != nil {
			return fmt.Errorf("merge frames: %w", err)
		}
	}
	// Before the state is saved: on a full disk that may need the room.
	if err := c.removeFrames(conn, tx); err != nil {
		return fmt.Errorf("remove old frames: %w", err)
	}
	if err := c.writeState(conn, tx); err != nil {
		return err
	}
	if tx.written, err = conn.WALWritten(); err != nil {
		return err
	}
	if c.space.full.asks(tx.written) {
		tx.usage, err = conn.Usage()
	}
	return err
}

// keepRefused stores what was refused at the door. There must be room for it, even
// when nothing comes any more.
func (c *committer) keepRefused(conn *sqlite.Conn, tx *transaction) error {
	var letters []queuefile.Letter
	if tx.group != nil {
		letters = tx.group.letters
	}
	bytesMax := c.q.bounds.ingress
	if len(letters) == 0 && !(tx.maintenance && tx.ingress.exceeds(bytesMax)) {
		return nil
	}
	return tx.ingress.keep(conn, letters, bytesMax, &tx.totals, tx.now)
}

// removeFrames removes frames that are due. When a start would miss them, the
// identity window has to be saved: by the same transaction when that is little, or
// else by this one and the next ones, which then remove them.
func (c *committer) removeFrames(conn *sqlite.Conn, tx *transaction) error {
	urgent := c.space.full.urgent()
	if !tx.retention.due(c.q, tx.now, urgent) {
		return nil
	}
	replayFrom := c.replayFrom
	if tx.retention.end > replayFrom && tx.saving < saveEverything {
		if !c.q.window.savedWithin(int(c.q.bounds.walHard)) {
			tx.saving = saveMuch
			return nil
		}
		tx.saving = saveEverything
	}
	if tx.saving == saveEverything {
		replayFrom = c.q.Head() + 1
	}
	return tx.retention.remove(conn, c.q, replayFrom, tx.now, urgent)
}

// writeState saves as much of the state as the transaction is meant to. The
// state is that before the group of the transaction.
func (c *committer) writeState(conn *sqlite.Conn, tx *transaction) (err error) {
	// What only appends saves its clock now and then, for the next start.
	tx.clock = tx.group != nil && tx.now.Sub(c.clockAt) >= clockInterval
	changed := tx.maintenance || tx.clock || tx.damaged != nil || tx.saving >= saveSome || tx.group != nil && len(tx.group.letters) > 0
	if tx.saving >= saveSettled {
		if tx.save, err = c.saveAccounts(conn, tx); err != nil {
			return err
		}
		if tx.maintenance || tx.attempts.bytes > c.q.bounds.attempts {
			// More than the accounts can have added, so that it catches up with them.
			rows := (len(tx.save.accounts) + 1) * unsavedAttemptsMax
			if err := tx.attempts.removeOld(conn, c.q.bounds.attempts, rows, tx.now); err != nil {
				return fmt.Errorf("remove old attempts: %w", err)
			}
		}
		changed = changed || len(tx.save.accounts) > 0
	}
	if tx.saving >= saveSome {
		budget := savesPerCommit
		switch tx.saving {
		case saveMuch:
			budget = windowBudget{rows: math.MaxInt, bytes: int(c.q.bounds.walHard)}
		case saveEverything:
			budget = windowBudget{rows: math.MaxInt, bytes: math.MaxInt}
		}
		tx.window = c.q.window.take(c.q.Head(), budget)
		if err := tx.window.write(conn); err != nil {
			return err
		}
		tx.replayFrom, tx.replayRead = c.q.window.replay(c.q.Head())
	}
	if tx.damaged != nil && tx.damaged.sink == int64(edge.Ingress) {
		if err := queuefile.WriteDeaths(conn, edge.Ingress, tx.totals.deaths); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	tx.clock = true
	if err := c.q.clock.write(conn, time.Now().Round(0)); err != nil {
		return fmt.Errorf("save the clock: %w", err)
	}
	return tx.totals.write(conn, c.q.logs.Current, tx.replayFrom, tx.attempts.bytes)
}

// behind reports whether a start would have to read too much again.
func (c *committer) behind() bool {
	return c.q.Head()-c.replayFrom > queuefile.ReplayRecords || c.q.window.read.Load()-c.replayRead > replayBytes
}
