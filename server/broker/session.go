package broker

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// session is what the guard remembers of a client id, for as long as the client
// is connected and its session expiry after that.
type session struct {
	id     string
	users  int // connections and others that refer to it; guarded by Broker.mu
	outbox outbox

	// admission lets one CONNECT of this id in at a time, and keeps the
	// housekeeper away meanwhile.
	admission sync.Mutex

	mu        sync.Mutex
	current   *connection
	member    *member               // the last one, once there was a connection
	received  map[uint16]*reception // QoS 2 messages that wait for PUBREL
	keepUntil time.Time             // zero while connected, and when nothing is kept
	will      *will                 // waits for its delay
}

// reception is a QoS 2 message of a client: submitted once, whatever is resent.
//
//	PUBLISH -> submitted -> stored (PUBREC is sent) -> PUBREL -> forgotten
type reception struct {
	id     uint16
	digest uint64      // of topic and payload: a board that restarts uses its ids again
	owner  *connection // that it came on last: it counts against that one's Receive Maximum
	stored bool
	// waiter resent the message while it was submitted, on a later connection, and
	// is to have the answer in its place.
	waiter *connection
	token  uint64
}

func digestOf(packet *mqttwire.PublishPacket) uint64 {
	digest := fnv.New64a()
	_, _ = digest.Write(packet.Topic) // a hash never fails
	_, _ = digest.Write([]byte{0})
	_, _ = digest.Write(packet.Payload)
	return digest.Sum64()
}

// enter returns the session of a client id and counts the caller in. When the
// broker remembers too many sessions, the one that would expire first makes
// room; enter reports false when all of them are connected.
func (b *Broker) enter(id string) (*session, bool) {
	for {
		s, oldest, until := b.tryEnter(id)
		if s != nil {
			return s, true
		}
		if oldest == nil {
			return nil, false
		}
		b.metrics.evictedSessions.Inc()
		b.endSession(oldest, until)
		b.leave(oldest)
	}
}

// tryEnter returns the session of a client id. Where there is no room it returns
// the session that would expire first, counted in, and when that would be.
func (b *Broker) tryEnter(id string) (s, oldest *session, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.sessions[id]
	if !known {
		if len(b.sessions) >= b.settings.MaxSessions {
			oldest, until = b.firstToExpire()
			return nil, oldest, until
		}
		s = &session{id: id, outbox: outbox{total: &b.owed}}
		b.sessions[id] = s
	}
	s.users++
	return s, nil, time.Time{}
}

// firstToExpire returns the session, of those that nobody uses, that would
// expire first. b.mu is held.
func (b *Broker) firstToExpire() (oldest *session, until time.Time) {
	for _, s := range b.sessions {
		if s.users > 0 {
			continue
		}
		s.mu.Lock()
		if !s.keepUntil.IsZero() && (oldest == nil || s.keepUntil.Before(until)) {
			oldest, until = s, s.keepUntil
		}
		s.mu.Unlock()
	}
	if oldest != nil {
		oldest.users++
	}
	return oldest, until
}

// leave counts a user out and forgets the session if nothing is left of it.
func (b *Broker) leave(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.users--; s.users == 0 && s.isOver() {
		delete(b.sessions, s.id)
	}
}

func (s *session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current == nil && s.keepUntil.IsZero() && s.will == nil
}

// connection returns the one that is connected now, nil if there is none.
func (s *session) connection() *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (s *session) setMember(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member = m
}

// attach makes c the connection of the session. It returns a will that must be
// published now because c begins afresh; one that waits for its delay while the
// session goes on is taken back.
func (s *session) attach(c *connection) (due *will) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.cleanStart {
		due, s.received = s.will, nil
	}
	s.current, s.keepUntil, s.will = c, time.Time{}, nil
	return due
}

// detach ends c's part in the session and returns its will, if that is to be
// published at once.
func (s *session) detach(c *connection, now time.Time) (due *will) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
	due = c.will
	if c.sessionExpiry == 0 {
		s.received = nil
		return due
	}
	s.keepUntil = now.Add(c.sessionExpiry)
	if due != nil && due.delay > 0 {
		due.dueAt = now.Add(min(due.delay, c.sessionExpiry))
		s.will, due = due, nil
	}
	return due
}

// receive notes a QoS 2 message that came on c. One that is known already is
// returned as it was, with the connection that it came on before. A message that
// does not say that it comes again and is another one takes the id over: its
// sender has forgotten the first. It returns nil when too many wait for PUBREL.
func (s *session) receive(c *connection, packet *mqttwire.PublishPacket) (r *reception, before *connection) {
	id, digest := packet.ID, digestOf(packet)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.received[id]
	if known != nil && (packet.Duplicate || known.digest == digest) {
		before, known.owner = known.owner, c
		return known, before
	}
	if known == nil && len(s.received) >= c.broker.settings.MaxExactlyOnce {
		return nil, nil
	}
	if s.received == nil {
		s.received = make(map[uint16]*reception)
	}
	r = &reception{id: id, digest: digest, owner: c}
	s.received[id] = r
	return r, nil
}

// await asks for the answer to a message that c has resent, and reports true when
// the message is stored, so that the answer can be given at once.
func (s *session) await(r *reception, c *connection, token uint64) (stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.stored {
		r.waiter, r.token = c, token
	}
	return r.stored
}

func (s *session) isStored(r *reception) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.stored
}

// settle notes that a message is stored, or forgets it because it is not, and
// returns the reception with its waiter.
func (s *session) settle(r *reception, stored bool) (waiter *connection, token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.stored = stored; !stored && s.received[r.id] == r {
		delete(s.received, r.id)
	}
	return r.waiter, r.token
}

// complete forgets a message on PUBREL. It reports whether the message was known,
// and whether it counts against the Receive Maximum of c.
func (s *session) complete(c *connection, id uint16) (known, counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.received[id]
	delete(s.received, id)
	return r != nil, r != nil && r.owner == c
}

// housekeep lets sessions, wills and messages expire until ctx ends.
func (b *Broker) housekeep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.expire(now)
		}
	}
}

func (b *Broker) expire(now time.Time) {
	var members []*member
	var wills []*will
	var ended []*session
	b.mu.Lock()
	for _, s := range b.sessions {
		s.mu.Lock()
		if s.member != nil {
			members = append(members, s.member)
		}
		if s.will != nil && !now.Before(s.will.dueAt) {
			wills = append(wills, s.will)
			s.will = nil
		}
		if s.current == nil && !s.keepUntil.IsZero() && !now.Before(s.keepUntil) {
			s.users++
			ended = append(ended, s)
		}
		s.mu.Unlock()
	}
	b.mu.Unlock()

	b.exchange.expire(members)
	for _, w := range wills {
		b.publishLater(w)
	}
	for _, s := range ended {
		b.endSession(s, now)
		b.leave(s)
	}
}

// endSession forgets a session that nobody has come back to.
func (b *Broker) endSession(s *session, now time.Time) {
	if !s.admission.TryLock() {
		return // the client is just coming back
	}
	defer s.admission.Unlock()
	s.mu.Lock()
	over := s.current == nil && !s.keepUntil.IsZero() && !now.Before(s.keepUntil)
	if over {
		s.keepUntil, s.received = time.Time{}, nil
	}
	m := s.member
	s.mu.Unlock()
	if over && m != nil {
		b.exchange.forget(m)
	}
}
