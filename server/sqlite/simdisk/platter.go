package simdisk

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// act is what a disk was asked to do and did.
type act int

const (
	actCreate act = iota
	actWrite
	actTruncate
	actSync
	actLoseSync // a sync that failed
	actRename
	actRemove
	actSyncFolder
)

// step is one change.
type step struct {
	act    act
	number int    // inode
	name   string // of a file, or of a folder
	target string // of a rename
	offset int64  // of a write; the new size of a truncation
	data   []byte // never changed
}

// platter is what survives: durable content, and what is on its way there.
type platter struct {
	files map[int]*stored
	names map[string]int // durable
	moved []step         // creates, renames and removes whose folder was not synced
}

// stored is the content of one inode.
type stored struct {
	synced   []byte
	unsynced []step // writes and truncations since the last sync
}

func newPlatter() *platter { return &platter{files: map[int]*stored{}, names: map[string]int{}} }

// put adds a durable file.
func (p *platter) put(name string, number int, content []byte) {
	p.files[number] = &stored{synced: slices.Clone(content)}
	p.names[name] = number
}

func (p *platter) clone() *platter {
	c := &platter{files: make(map[int]*stored, len(p.files)), names: maps.Clone(p.names), moved: slices.Clone(p.moved)}
	for number, file := range p.files {
		c.files[number] = &stored{synced: slices.Clone(file.synced), unsynced: slices.Clone(file.unsynced)}
	}
	return c
}

// take brings the platter one step further. A sync that fails has brought some
// pieces to the disk; which ones is decided here and now.
func (p *platter) take(s step, random *rand.Rand) {
	switch s.act {
	case actCreate:
		p.files[s.number] = &stored{}
		p.moved = append(p.moved, s)
	case actRename, actRemove:
		p.moved = append(p.moved, s)
	case actSyncFolder:
		p.moved = slices.DeleteFunc(p.moved, func(m step) bool {
			here := filepath.Dir(m.name) == s.name
			if here {
				move(p.names, m)
			}
			return here
		})
	case actWrite, actTruncate:
		file := p.files[s.number]
		file.unsynced = append(file.unsynced, s)
	case actSync:
		file := p.files[s.number]
		for _, u := range file.unsynced {
			file.synced = apply(file.synced, u)
		}
		file.unsynced = nil
	case actLoseSync:
		file := p.files[s.number]
		file.synced = survive(file.synced, file.unsynced, Sectors, random)
		file.unsynced = nil
	}
}

// unsynced counts what a power cut could take away.
func (p *platter) unsynced() int {
	count := len(p.moved)
	for _, file := range p.files {
		count += len(file.unsynced)
	}
	return count
}

// crash returns the files that a power cut leaves.
func (p *platter) crash(survives Survival, random *rand.Rand) map[string][]byte {
	if survives == AnySurvival {
		survives = Survivals()[random.IntN(len(Survivals()))]
	}
	names := maps.Clone(p.names)
	moved := 0 // changes of names are journaled, so that a prefix of them is there
	switch survives {
	case Nothing:
	case Everything:
		moved = len(p.moved)
	default:
		moved = random.IntN(len(p.moved) + 1)
	}
	for _, m := range p.moved[:moved] {
		move(names, m)
	}
	files := make(map[string][]byte, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		file := p.files[names[name]]
		files[name] = survive(file.synced, file.unsynced, survives, random)
	}
	return files
}

func move(names map[string]int, s step) {
	switch s.act {
	case actCreate:
		names[s.name] = s.number
	case actRename:
		names[s.target] = s.number
		if names[s.name] == s.number {
			delete(names, s.name)
		}
	case actRemove:
		if names[s.name] == s.number {
			delete(names, s.name)
		}
	}
}

func apply(content []byte, s step) []byte {
	if s.act == actTruncate {
		return resize(content, s.offset)
	}
	return overwrite(content, s.data, s.offset)
}

func overwrite(content, data []byte, offset int64) []byte {
	if end := int(offset) + len(data); end > len(content) {
		content = resize(content, int64(end))
	}
	copy(content[offset:], data)
	return content
}

// resize cuts content or extends it with zeros.
func resize(content []byte, size int64) []byte {
	if grown := int(size) - len(content); grown > 0 {
		before := len(content)
		content = slices.Grow(content, grown)[:size]
		clear(content[before:])
	}
	return content[:size]
}
