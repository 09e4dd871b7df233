package queue

import (
	"combotto.io/gateway/server/sqlite"
)

// holder is the sink that keeps most records from being removed.
type holder struct {
	sink    string // empty when there is none
	removed bool
	bytes   int64
	letters int64 // dead letters, when they are what takes the room
	bounded bool  // the oldest of them make room by themselves
}

// readLetters finds the sink whose dead letters take most. Nobody asks while there is
// room.
func (s *space) readLetters(conn *sqlite.Conn) error {
	s.letters = holder{}
	if !s.full.warned && !s.full.urgent() {
		return nil
	}
	for _, account := range s.q.registry.all() {
		account.mu.Lock()
		found := holder{sink: account.name, removed: account.removed, letters: account.Dead, bounded: account.limits.MaxLagBytes > 0}
		account.mu.Unlock()
		var err error
		if found.bytes, err = s.q.lettersBytes(conn, account.id, found.letters); err != nil {
			return err
		}
		if found.bytes > s.letters.bytes {
			s.letters = found
		}
	}
	return nil
}

// holder finds the sink whose oldest record is the oldest of all, or whose dead
// letters take more than what lies behind that.
func (s *space) holder(used int64) (held holder) {
	first := s.q.Head() + 1
	for _, account := range s.q.registry.all() {
		if position, pending := account.pinned(); pending && position < first {
			first = position
			held.sink, held.removed = account.name, account.isRemoved()
		}
	}
	if held.sink != "" {
		held.bytes = s.q.bytesFrom(first, s.oldest, used)
	}
	if s.letters.bytes > held.bytes {
		return s.letters
	}
	return held
}
