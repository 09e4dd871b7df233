package simdisk

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// Survival is what a power cut leaves of what was not synced.
type Survival int

// Ways in which disks forget.
const (
	AnySurvival Survival = iota // one of the others, by the seed
	Nothing
	Everything // what kill -9 leaves
	Prefix     // in order, the last write torn
	Writes     // any subset of whole writes: reordered
	Sectors    // any subset of pieces of 512 bytes
	Pages      // any subset of pieces of 4096 bytes
	AllButOne  // one piece of 512 bytes is missing
	OnlyLast   // the newest write overtook all others
	Garbage    // as Sectors, and some pieces that were to change hold random bytes
)

// Survivals lists every way but AnySurvival.
func Survivals() []Survival {
	return []Survival{Nothing, Everything, Prefix, Writes, Sectors, Pages, AllButOne, OnlyLast, Garbage}
}

func (s Survival) String() string {
	return [...]string{"any", "nothing", "everything", "prefix", "writes", "sectors", "pages", "all but one", "only the last", "garbage"}[s]
}

const sectorBytes = 512

// survive returns content after a power cut with changes that were not synced.
func survive(content []byte, unsynced []step, survives Survival, random *rand.Rand) []byte {
	content = slices.Clone(content)
	if len(unsynced) == 0 {
		return content
	}
	keep := func(steps []step) {
		for _, s := range steps {
			content = apply(content, s)
		}
	}
	switch survives {
	case Nothing:
	case Everything:
		keep(unsynced)
	case OnlyLast:
		keep(unsynced[len(unsynced)-1:])
	case Prefix:
		whole := random.IntN(len(unsynced) + 1)
		keep(unsynced[:whole])
		if whole < len(unsynced) && unsynced[whole].act == actWrite {
			torn := pieces(unsynced[whole:whole+1], sectorBytes)
			keep(torn[:random.IntN(len(torn)+1)])
		}
	case Writes:
		keep(subset(unsynced, random))
	case Pages:
		keep(subset(pieces(unsynced, BlockBytes), random))
	case AllButOne:
		all := pieces(unsynced, sectorBytes)
		missing := random.IntN(len(all))
		keep(slices.Delete(all, missing, missing+1))
	case Garbage:
		keep(spoil(content, subset(pieces(unsynced, sectorBytes), random), random))
	default:
		keep(subset(pieces(unsynced, sectorBytes), random))
	}
	return content
}

// pieces cuts writes at multiples of unit.
func pieces(steps []step, unit int64) []step {
	var cut []step
	for _, s := range steps {
		for s.act == actWrite && unit-s.offset%unit < int64(len(s.data)) {
			first := s
			first.data = s.data[:unit-s.offset%unit]
			cut = append(cut, first)
			s.offset, s.data = s.offset+int64(len(first.data)), s.data[len(first.data):]
		}
		cut = append(cut, s)
	}
	return cut
}

// subset keeps steps with a probability that is drawn first, so that nearly
// everything and nearly nothing are as likely as a half.
func subset(steps []step, random *rand.Rand) []step {
	var kept []step
	for likely := random.Float64(); len(steps) > 0; steps = steps[1:] {
		if random.Float64() < likely {
			kept = append(kept, steps[0])
		}
	}
	return kept
}

// spoil puts random bytes into some of the writes. Where a write would change
// nothing it leaves nothing else either: on a disk that is full to the last block
// a WAL is written over in place (see sqlite.Open), and no drive of today mixes up
// a sector that it is interrupted in.
func spoil(content []byte, steps []step, random *rand.Rand) []step {
	for i, s := range steps {
		if s.act != actWrite || random.IntN(8) > 0 {
			continue
		}
		if end := s.offset + int64(len(s.data)); end <= int64(len(content)) && bytes.Equal(content[s.offset:end], s.data) {
			continue
		}
		noise := make([]byte, len(s.data)+8)
		for at := 0; at < len(s.data); at += 8 {
			binary.LittleEndian.PutUint64(noise[at:], random.Uint64())
		}
		steps[i].data = noise[:len(s.data)]
	}
	return steps
}
