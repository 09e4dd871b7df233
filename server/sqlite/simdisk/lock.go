package simdisk

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// locks are the states of a database file that its users hold.
type locks struct {
	readers   int     // SHARED and above
	reserved  *handle // the next writer
	pending   *handle // waits until there are no readers, and lets no new one in
	exclusive *handle
	slots     [sqlite3.SQLITE_SHM_NLOCK]slot
}

// slot is one lock of the WAL index.
type slot struct {
	readers   int
	exclusive *handle
}

// shared is the memory of the WAL index, which is never on the disk.
type shared struct {
	regions []uintptr // C memory
	users   int
}

func (h *handle) lock(level int32) int32 {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.process.dead || h.readOnly && level > sqlite3.SQLITE_LOCK_SHARED {
		return sqlite3.SQLITE_IOERR_LOCK
	}
	if h.level >= level {
		return sqlite3.SQLITE_OK
	}
	held := &h.inode.locks
	switch level {
	case sqlite3.SQLITE_LOCK_SHARED:
		if held.pending != nil || held.exclusive != nil {
			return sqlite3.SQLITE_BUSY
		}
		held.readers++
	case sqlite3.SQLITE_LOCK_RESERVED:
		if held.reserved != nil {
			return sqlite3.SQLITE_BUSY
		}
		held.reserved = h
	case sqlite3.SQLITE_LOCK_EXCLUSIVE:
		if held.pending != nil && held.pending != h || held.reserved != nil && held.reserved != h {
			return sqlite3.SQLITE_BUSY
		}
		held.pending, h.level = h, sqlite3.SQLITE_LOCK_PENDING
		if held.readers > 1 {
			return sqlite3.SQLITE_BUSY
		}
		held.exclusive = h
	}
	h.level = level
	return sqlite3.SQLITE_OK
}

func (h *handle) unlock(level int32) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.level <= level {
		return
	}
	held := &h.inode.locks
	for _, holder := range []**handle{&held.exclusive, &held.pending, &held.reserved} {
		if *holder == h {
			*holder = nil
		}
	}
	if level == sqlite3.SQLITE_LOCK_NONE {
		held.readers--
	}
	h.level = level
}

func (h *handle) isReserved() bool {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.inode.locks.reserved != nil || h.inode.locks.exclusive != nil
}

// lockSlots takes or gives back some locks of the WAL index, all or none.
func (h *handle) lockSlots(first, count, flags int32) int32 {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.process.dead {
		return sqlite3.SQLITE_IOERR_SHMLOCK
	}
	slots := h.inode.locks.slots[first : first+count]
	unlocks, exclusive := flags&sqlite3.SQLITE_SHM_UNLOCK != 0, flags&sqlite3.SQLITE_SHM_EXCLUSIVE != 0
	if !unlocks {
		for i := range slots {
			if slots[i].exclusive != nil && slots[i].exclusive != h || exclusive && slots[i].readers > 0 {
				return sqlite3.SQLITE_BUSY
			}
		}
	}
	for i := range slots {
		switch {
		case unlocks && exclusive:
			slots[i].exclusive = nil
		case unlocks:
			slots[i].readers--
		case exclusive:
			slots[i].exclusive = h
		default:
			slots[i].readers++
		}
	}
	return sqlite3.SQLITE_OK
}

// mapShared returns a region of the WAL index, 0 when it does not exist.
func (h *handle) mapShared(tls *libc.TLS, region, size int32, extend bool) (uintptr, int32) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.process.dead {
		return 0, sqlite3.SQLITE_IOERR_SHMMAP
	}
	memory := &h.inode.shared
	if !h.maps {
		h.maps = true
		memory.users++
	}
	for len(memory.regions) <= int(region) {
		if !extend {
			return 0, sqlite3.SQLITE_OK
		}
		memory.regions = append(memory.regions, libc.Xcalloc(tls, 1, libc.Tsize_t(size)))
	}
	return memory.regions[region], sqlite3.SQLITE_OK
}

// unmap frees the WAL index with its last user.
func (h *handle) unmap() {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if !h.maps {
		return
	}
	h.maps = false
	memory := &h.inode.shared
	if memory.users--; memory.users > 0 {
		return
	}
	tls := libc.NewTLS()
	defer tls.Close()
	for _, region := range memory.regions {
		libc.Xfree(tls, region)
	}
	memory.regions = nil
}
