package simdisk

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// inode is a file as processes see it.
type inode struct {
	number int
	data   []byte
	room   int64 // bytes of the capacity that it takes
	linked bool  // it has a name
	opens  int
	locks  locks
	shared shared
}

// handle is an open file. Its methods return an errno, 0 for success.
type handle struct {
	disk    *Disk
	process *process
	path    string // empty: a temporary file without a name, which nothing happens to
	inode   *inode
	folders bool // its first sync syncs the folder as well
	level   int32
	maps    bool  // it uses the shared memory
	offset  int64 // of the next sequential read or write

	pages    bool // SQLite reads it: what is as long as a page it may write back
	readOnly bool // it cannot be locked for writing
}

func blocks(bytes int64) int64 { return (bytes + BlockBytes - 1) / BlockBytes * BlockBytes }

// open takes the flags of os.OpenFile.
func (p *process) open(path string, flag int) (*handle, syscall.Errno) {
	d, fault := p.disk, p.begin(Open, path)
	defer d.mu.Unlock()
	if fault.Err != 0 {
		return nil, fault.Err
	}
	n := d.names[path]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, syscall.ENOENT
	case n == nil:
		d.number++
		n = &inode{number: d.number, linked: true}
		d.names[path] = n
		d.take(step{act: actCreate, number: n.number, name: path})
	case flag&os.O_EXCL != 0:
		return nil, syscall.EEXIST
	}
	n.opens++
	h := &handle{disk: d, process: p, path: path, inode: n}
	if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		h.resize(0)
	}
	if flag&os.O_APPEND != 0 {
		h.offset = int64(len(n.data))
	}
	return h, 0
}

// begin locks the disk for a call on an open file.
func (h *handle) begin(call Calls) Fault { return h.beginAt(call, 0, math.MaxInt64) }

func (h *handle) beginAt(call Calls, from, to int64) Fault {
	if h.path == "" {
		h.disk.mu.Lock()
		return Fault{}
	}
	return h.process.beginAt(call, h.path, from, to)
}

// read returns how much there was.
func (h *handle) read(b []byte, offset int64) (int, syscall.Errno) {
	fault := h.beginAt(Read, offset, offset+int64(len(b)))
	defer h.disk.mu.Unlock()
	if fault.Err != 0 {
		return 0, fault.Err
	}
	count := 0
	if offset < int64(len(h.inode.data)) {
		count = copy(b, h.inode.data[offset:])
	}
	if fault.Flip && count > 0 {
		bit := h.disk.random.IntN(count * 8)
		b[bit/8] ^= 1 << (bit % 8)
		if h.pages && len(b) == BlockBytes {
			h.disk.fired[PageFlipped]++
		}
	}
	return count, 0
}

// write returns how much was written, which may be some even with an error.
func (h *handle) write(b []byte, offset int64) (int, syscall.Errno) {
	fault := h.beginAt(Write, offset, offset+int64(len(b)))
	defer h.disk.mu.Unlock()
	if fault.Err != 0 {
		if !fault.Short || h.process.dead || len(b) == 0 {
			return 0, fault.Err
		}
		b = b[:h.disk.random.IntN(len(b))]
	} else if end := h.grow(offset + int64(len(b))); end < offset+int64(len(b)) {
		fault.Err = syscall.ENOSPC
		h.disk.fired["write without room"]++
		b = b[:max(end-offset, 0)]
	}
	if len(b) > 0 {
		h.inode.data = overwrite(h.inode.data, b, offset)
		h.take(step{act: actWrite, offset: offset, data: slices.Clone(b)})
	}
	return len(b), fault.Err
}

// grow gives the file room up to an offset, and returns up to where it has room.
func (h *handle) grow(end int64) int64 {
	more := blocks(end) - h.inode.room
	if more <= 0 {
		return end
	}
	if d := h.disk; d.capacity > 0 && h.path != "" {
		more = min(more, max(d.capacity-d.used, 0)/BlockBytes*BlockBytes)
	}
	h.inode.room += more
	h.disk.used += more
	return min(end, h.inode.room)
}

func (h *handle) truncate(size int64) syscall.Errno {
	fault := h.begin(Truncate)
	defer h.disk.mu.Unlock()
	if fault.Err == 0 {
		h.resize(size)
	}
	return fault.Err
}

// resize cuts the file, which gives room back, or extends it, which takes none.
func (h *handle) resize(size int64) {
	h.inode.data = resize(h.inode.data, size)
	if room := blocks(size); room < h.inode.room {
		h.disk.used -= h.inode.room - room
		h.inode.room = room
	}
	h.take(step{act: actTruncate, offset: size})
}

func (h *handle) allocate(size int64) syscall.Errno {
	fault := h.begin(Allocate)
	defer h.disk.mu.Unlock()
	if fault.Err != 0 {
		return fault.Err
	}
	before := h.inode.room
	if h.grow(size) < size {
		h.disk.used -= h.inode.room - before
		h.inode.room = before
		h.disk.fired["allocate without room"]++
		return syscall.ENOSPC
	}
	if size > int64(len(h.inode.data)) {
		h.inode.data = resize(h.inode.data, size)
		h.take(step{act: actTruncate, offset: size})
	}
	return 0
}

func (h *handle) sync() syscall.Errno {
	fault := h.begin(Sync)
	defer h.disk.mu.Unlock()
	switch {
	case h.process.dead || fault.Lie:
	case fault.Err != 0:
		h.take(step{act: actLoseSync})
	default:
		h.take(step{act: actSync})
	}
	return fault.Err
}

// syncFolder makes the names of a folder durable.
func (p *process) syncFolder(folder string) syscall.Errno {
	d, fault := p.disk, p.begin(SyncFolder, folder)
	defer d.mu.Unlock()
	if fault.Err == 0 && !fault.Lie {
		d.take(step{act: actSyncFolder, name: folder})
	}
	return fault.Err
}

func (h *handle) size() int64 {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return int64(len(h.inode.data))
}

// take makes a change known, unless the file has no name and never had one.
func (h *handle) take(s step) {
	if h.path != "" {
		s.number = h.inode.number
		h.disk.take(s)
	}
}

func (h *handle) close() {
	h.unlock(sqlite3.SQLITE_LOCK_NONE)
	h.unmap()
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.inode.opens--
	if !h.process.dead {
		h.disk.free(h.inode)
	}
}

// free gives back the room of a file that has neither a name nor a user.
func (d *Disk) free(n *inode) {
	if !n.linked && n.opens == 0 {
		d.used -= n.room
		n.room = 0
	}
}

func (p *process) remove(path string) syscall.Errno {
	d, fault := p.disk, p.begin(Remove, path)
	defer d.mu.Unlock()
	n := d.names[path]
	switch {
	case fault.Err != 0:
		return fault.Err
	case n == nil:
		return syscall.ENOENT
	}
	d.unlink(path)
	d.take(step{act: actRemove, number: n.number, name: path})
	return 0
}

func (p *process) rename(from, to string) syscall.Errno {
	d, fault := p.disk, p.begin(Rename, from)
	defer d.mu.Unlock()
	n := d.names[from]
	switch {
	case fault.Err != 0:
		return fault.Err
	case n == nil:
		return syscall.ENOENT
	case filepath.Dir(from) != filepath.Dir(to):
		return syscall.EXDEV // two folders would have to be synced, in an order
	}
	d.unlink(to)
	delete(d.names, from)
	d.names[to] = n
	d.take(step{act: actRename, number: n.number, name: from, target: to})
	return 0
}

// unlink takes the name from the file that has it.
func (d *Disk) unlink(path string) {
	n := d.names[path]
	if n == nil {
		return
	}
	delete(d.names, path)
	n.linked = false
	d.free(n)
}

// hasMoved reports whether another file, or none, has the name under which this
// one was opened.
func (h *handle) hasMoved() bool {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.path != "" && h.disk.names[h.path] != h.inode
}

// isFolder reports whether some file lies below. On a disk without files it goes by the
// name, so that a new database finds the folder that it is to lie in.
func (d *Disk) isFolder(path string) bool {
	for name := range d.names {
		if strings.HasPrefix(name, strings.TrimSuffix(path, "/")+"/") {
			return true
		}
	}
	return len(d.names) == 0 && filepath.Ext(path) == ""
}
