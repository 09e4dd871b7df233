package queue

import (
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"combotto.io/gateway/server/queuefile"
)

const (
	seenBytes = int(unsafe.Sizeof(queuefile.Seen{}))
	// ringMin is the size that a ring starts with: most devices need no more.
	ringMin = 16
)

// boot remembers the last sequences of one boot of a device. Sequence s lies in
// slot s modulo the number of slots, which is a power of two.
type boot struct {
	id    string
	high  uint64 // the largest sequence so far
	slots []queuefile.Seen
}

func newBoot(id string) *boot {
	return &boot{id: string([]byte(id)), slots: make([]queuefile.Seen, ringMin)}
}

func (b *boot) bytes() int { return int(unsafe.Sizeof(*b)) + len(b.id) + cap(b.slots)*seenBytes }

func (b *boot) slot(sequence uint64) *queuefile.Seen {
	return &b.slots[sequence&uint64(len(b.slots)-1)]
}

// covers reports whether the sequence has a slot of its own.
func (b *boot) covers(sequence uint64) bool {
	return sequence <= b.high && b.high-sequence < uint64(len(b.slots))
}

func (b *boot) find(sequence uint64) *queuefile.Seen {
	if !b.covers(sequence) {
		return nil
	}
	return b.slot(sequence)
}

// put returns by how many bytes the boot has grown, which has at most so many slots
// then. A sequence that lies too far back is not remembered.
func (b *boot) put(sequence uint64, now queuefile.Seen, most int) (grown int) {
	for len(b.slots) < most && b.overwrites(sequence, uint64(most)) {
		grown += b.grow()
	}
	if sequence > b.high {
		for next := b.high + 1; next < sequence && next-b.high <= uint64(len(b.slots)); next++ {
			*b.slot(next) = queuefile.Seen{}
		}
		b.high = sequence
	}
	if b.covers(sequence) {
		*b.slot(sequence) = now
	}
	return grown
}

// overwrites reports whether putting the sequence would forget another one, or
// not be possible, while more slots would help.
func (b *boot) overwrites(sequence, most uint64) bool {
	if sequence <= b.high {
		return !b.covers(sequence) && b.high-sequence < most
	}
	advance := sequence - b.high
	if advance >= most {
		return false // everything is forgotten anyway
	}
	for next := b.high + 1; next <= sequence && next-b.high <= uint64(len(b.slots)); next++ {
		if b.slot(next).Position != 0 {
			return true
		}
	}
	return false
}

func (b *boot) grow() (grown int) {
	size := len(b.slots)
	b.resize(2 * size)
	return size * seenBytes
}

// shorten keeps the newest sequences, and returns by how many bytes the boot has
// become smaller.
func (b *boot) shorten(most int) (freed int) {
	if len(b.slots) <= most {
		return 0
	}
	freed = (len(b.slots) - most) * seenBytes
	b.resize(most)
	return freed
}

// resize keeps the newest sequences that have a slot before and after.
func (b *boot) resize(slots int) {
	old := *b
	b.slots = make([]queuefile.Seen, slots)
	for back := range uint64(min(len(old.slots), slots)) {
		if back > old.high {
			break
		}
		*b.slot(old.high - back) = *old.slot(old.high - back)
	}
}

func hashMessageID(id string) queuefile.MessageKey {
	var second xxhash.Digest
	second.ResetWithSeed(0x9E3779B97F4A7C15)
	_, _ = second.WriteString(id) // cannot fail
	return queuefile.MessageKey{xxhash.Sum64String(id), second.Sum64()}
}

// ring remembers the last message ids of a device in order of arrival, and finds
// them by hash. The index is a table with linear probing, twice as large as the
// ring, of slot numbers counted from 1.
type ring struct {
	keys  []queuefile.MessageKey
	slots []queuefile.Seen
	next  int // the slot to write, which holds the oldest id once the ring is full
	full  bool
	index []uint16
}

func newRing() *ring { return newRingOf(ringMin) }

func newRingOf(size int) *ring {
	return &ring{keys: make([]queuefile.MessageKey, size), slots: make([]queuefile.Seen, size), index: make([]uint16, 2*size)}
}

func (r *ring) bytes() int {
	return int(unsafe.Sizeof(*r)) + len(r.slots)*(seenBytes+int(unsafe.Sizeof(queuefile.MessageKey{}))+2*2)
}

// home is where the search for a key begins.
func (r *ring) home(key queuefile.MessageKey) int { return int(key[0]) & (len(r.index) - 1) }

// probe returns the place of the key in the index, or the free place that ends
// the search for it.
func (r *ring) probe(key queuefile.MessageKey) int {
	place := r.home(key)
	for r.index[place] != 0 && r.keys[r.index[place]-1] != key {
		place = (place + 1) & (len(r.index) - 1)
	}
	return place
}

func (r *ring) find(key queuefile.MessageKey) *queuefile.Seen {
	if slot := r.index[r.probe(key)]; slot != 0 {
		return &r.slots[slot-1]
	}
	return nil
}

// put returns by how many bytes the ring has grown, which has at most so many slots
// then.
func (r *ring) put(key queuefile.MessageKey, now queuefile.Seen, most int) (grown int) {
	if known := r.find(key); known != nil {
		*known = now
		return 0
	}
	if r.full && len(r.slots) < most {
		grown = r.grow()
	}
	if r.full {
		r.unlink(r.keys[r.next])
	}
	r.keys[r.next], r.slots[r.next] = key, now
	r.index[r.probe(key)] = uint16(r.next + 1)
	r.next++
	if r.next == len(r.slots) {
		r.next, r.full = 0, true
	}
	return grown
}

func (r *ring) grow() (grown int) {
	larger := newRingOf(2 * len(r.slots))
	r.each(func(key queuefile.MessageKey, known queuefile.Seen) { larger.put(key, known, len(larger.slots)) })
	grown = larger.bytes() - r.bytes()
	*r = *larger
	return grown
}

// shorten keeps the ids that came last, and returns by how many bytes the ring has
// become smaller.
func (r *ring) shorten(most int) (freed int) {
	if len(r.slots) <= most {
		return 0
	}
	shorter := newRingOf(most)
	r.each(func(key queuefile.MessageKey, known queuefile.Seen) { shorter.put(key, known, most) })
	freed = r.bytes() - shorter.bytes()
	*r = *shorter
	return freed
}

// each visits the ids, the oldest first.
func (r *ring) each(visit func(key queuefile.MessageKey, known queuefile.Seen)) {
	if r.full {
		for i := r.next; i < len(r.slots); i++ {
			visit(r.keys[i], r.slots[i])
		}
	}
	for i := range r.next {
		visit(r.keys[i], r.slots[i])
	}
}

// unlink takes a key out of the index and moves those behind it that would no
// longer be found across the gap.
func (r *ring) unlink(key queuefile.MessageKey) {
	mask := len(r.index) - 1
	gap := r.probe(key)
	r.index[gap] = 0
	for place := (gap + 1) & mask; r.index[place] != 0; place = (place + 1) & mask {
		home := r.home(r.keys[r.index[place]-1])
		if (place-home)&mask >= (place-gap)&mask {
			r.index[gap], r.index[place] = r.index[place], 0
			gap = place
		}
	}
}
