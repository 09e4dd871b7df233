package queue

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// space assesses how much room the queue has on the disk, and opens and closes the
// intake by it. Only the committer uses it; what others may know is published.
type space struct {
	q       *Queue
	reserve *queuefile.Reserve

	full    full
	cause   error         // with full.struck
	usage   diskUsage     // as of the last assessment
	oldest  edge.Position // that is stored, about; 0 when there is none
	letters holder        // the sink whose dead letters take most, when there is little room
	refused *edge.Error   // what the intake says while it is closed
}

func newSpace(q *Queue) space {
	return space{q: q, reserve: q.reserve, full: full{bounds: q.bounds, limit: q.settings.MaxBytes}}
}

// readUsage reads how full the disk is. What the database uses of its pages was
// read before.
func (s *space) readUsage(usage sqlite.Usage) (diskUsage, error) {
	wal, err := s.q.db.WALBytes()
	if err != nil {
		return diskUsage{}, err
	}
	system, err := s.q.settings.Disk.Stat(filepath.Dir(s.reserve.Path))
	if err != nil {
		return diskUsage{}, fmt.Errorf("measure the file system: %w", err)
	}
	return diskUsage{used: usage.Used, spare: usage.Spare, wal: wal, reserve: s.reserve.Size, free: min(system.Free, unbounded)}, nil
}

// assess reads how the disk is, makes the reserve whole where that is possible, and
// opens or closes the intake.
func (s *space) assess(usage sqlite.Usage) {
	found, err := s.readUsage(usage)
	if err != nil {
		s.q.observer.Log.Warn("the size of the queue is not known", "error", err)
		return
	}
	if !s.full.struck && found.reserve != s.full.bounds.reserve {
		s.refill(&found)
	}
	before := s.full
	s.full.update(&found)
	s.usage = found
	s.apply(before)
}

// strike closes the intake after a write that found no room, and gives the
// reserve back, for what is to be removed.
func (s *space) strike(cause error) {
	s.cause = cause
	if s.full.struck {
		return
	}
	s.q.observer.Log.Error("the disk takes no more: the queue takes nothing until it does", "error", cause)
	before := s.full
	s.full.struck = true
	if err := s.reserve.Resize(0); err != nil {
		s.q.observer.Log.Warn("the reserve cannot be given back", "error", err)
	}
	s.usage.free += s.usage.reserve - s.reserve.Size
	s.usage.reserve = s.reserve.Size
	s.apply(before)
}

// reopen opens the intake after a write that found no room, when the reserve can
// have its room again. By then everything in the WAL was moved to the database, so
// that nothing is left which needs more room than is known.
func (s *space) reopen(usage sqlite.Usage) {
	found, err := s.readUsage(usage)
	if err != nil || !s.refill(&found) {
		return // tried again by the next round
	}
	before := s.full
	s.full.struck, s.full.scarce = false, true // there must be clearly more room than when it began
	s.full.update(&found)
	s.usage = found
	s.apply(before)
}

// refill makes the reserve as large as it should be and can be, and reports
// whether that is enough to take records.
func (s *space) refill(found *diskUsage) (ok bool) {
	size, ok := s.full.refills(found)
	if !ok {
		return false
	}
	if err := s.reserve.Resize(size); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return false
		}
		// The file system has no call for it, or is broken: the next write will
		// tell. Records are taken without a reserve rather than not at all.
		s.q.observer.Log.Warn("nothing is held in reserve for a full disk until the next start", "error", err)
		s.full.bounds.reserve, size = 0, found.reserve
	}
	found.free -= size - found.reserve
	found.reserve = size
	return true
}

// apply opens or closes the intake, and says so when something has changed.
func (s *space) apply(before full) {
	held := s.holder(s.usage.used)
	s.q.room.Store(&room{
		usage: s.usage, left: s.untilFull(), closed: s.full.closed(), warned: s.full.warned, warning: s.warning(held), holder: held.sink,
	})
	s.refused = s.refusal(held)
	s.q.intake.refuse(s.refused)
	log, facts := s.q.observer.Log, []any{
		"bytes", s.usage.taken(), "limit", s.full.limit, "free", s.usage.free, "sink", held.sink, "sink_holds", held.bytes, "dead_letters", held.letters,
	}
	switch {
	case s.full.closed() && !before.closed():
		log.Error("the queue is full: messages are refused", facts...)
	case before.closed() && !s.full.closed():
		log.Info("the queue has room again: messages are taken", facts...)
	case s.full.warned && !before.warned:
		log.Warn("the queue is filling up: gatewayctl forecast tells when it is full", facts...)
	case before.warned && !s.full.warned:
		log.Info("the queue is not filling up any more", facts...)
	}
}

// noRoom says why a group is not stored.
func (s *space) noRoom() *edge.Error {
	if s.refused != nil {
		return s.refused
	}
	return edge.NewFull()
}

// room is what others may know of it.
type room struct {
	usage   diskUsage
	left    int64 // see space.untilFull
	closed  bool
	warned  bool
	warning string // with warned
	holder  string // the sink that keeps most records from being removed; empty when there is none
}
