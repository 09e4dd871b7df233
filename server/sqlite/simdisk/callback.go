package simdisk

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

func processAt(vfs uintptr) *process {
	if p := processes.get(at[sqlite3.Tsqlite3_vfs](vfs).FpAppData); p != nil {
		return p
	}
	return &process{disk: &Disk{}, dead: true} // it died, and was forgotten
}

func handleAt(file uintptr) *handle { return handles.get(at[cFile](file).key) }

func xOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, flagsOut uintptr) int32 {
	f := at[cFile](file)
	*f = cFile{} // without methods SQLite does not close what was not opened
	p := processAt(vfs)
	h := &handle{disk: p.disk, process: p, inode: &inode{opens: 1}}
	if name != 0 {
		flag := os.O_RDWR
		if flags&sqlite3.SQLITE_OPEN_CREATE != 0 {
			flag |= os.O_CREATE
		}
		opened, errno := p.open(libc.GoString(name), flag)
		if errno != 0 {
			return sqlite3.SQLITE_CANTOPEN
		}
		h = opened
		const journals = sqlite3.SQLITE_OPEN_WAL | sqlite3.SQLITE_OPEN_MAIN_JOURNAL | sqlite3.SQLITE_OPEN_SUPER_JOURNAL
		h.folders = flag&os.O_CREATE != 0 && flags&journals != 0
		h.pages, h.readOnly = true, flags&sqlite3.SQLITE_OPEN_READONLY != 0
	}
	f.key, f.methods = handles.add(h), ioMethods()
	if flagsOut != 0 {
		*at[int32](flagsOut) = flags
	}
	return sqlite3.SQLITE_OK
}

func xClose(tls *libc.TLS, file uintptr) int32 {
	h := handleAt(file)
	handles.remove(at[cFile](file).key)
	h.close()
	return sqlite3.SQLITE_OK
}

// The codes of failed calls are those of SQLite's own VFS for Unix.

func xRead(tls *libc.TLS, file, buffer uintptr, count int32, offset int64) int32 {
	b := bytesAt(buffer, count)
	n, errno := handleAt(file).read(b, offset)
	switch {
	case errno == syscall.EIO:
		return sqlite3.SQLITE_IOERR_CORRUPTFS
	case errno != 0:
		return sqlite3.SQLITE_IOERR_READ
	case n < len(b):
		clear(b[n:]) // SQLite relies on it
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return sqlite3.SQLITE_OK
}

func xWrite(tls *libc.TLS, file, buffer uintptr, count int32, offset int64) int32 {
	switch _, errno := handleAt(file).write(bytesAt(buffer, count), offset); errno {
	case 0:
		return sqlite3.SQLITE_OK
	case syscall.ENOSPC:
		return sqlite3.SQLITE_FULL
	}
	return sqlite3.SQLITE_IOERR_WRITE
}

func xTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	if handleAt(file).truncate(size) != 0 {
		return sqlite3.SQLITE_IOERR_TRUNCATE
	}
	return sqlite3.SQLITE_OK
}

func xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	h := handleAt(file)
	if h.sync() != 0 {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	if h.folders {
		h.folders = false
		_ = h.process.syncFolder(filepath.Dir(h.path)) // SQLite's own does not look at the result either
	}
	return sqlite3.SQLITE_OK
}

func xFileSize(tls *libc.TLS, file, size uintptr) int32 {
	*at[int64](size) = handleAt(file).size()
	return sqlite3.SQLITE_OK
}

func xLock(tls *libc.TLS, file uintptr, level int32) int32 { return handleAt(file).lock(level) }

func xUnlock(tls *libc.TLS, file uintptr, level int32) int32 {
	handleAt(file).unlock(level)
	return sqlite3.SQLITE_OK
}

func xCheckReservedLock(tls *libc.TLS, file, out uintptr) int32 {
	*at[int32](out) = libc.BoolInt32(handleAt(file).isReserved())
	return sqlite3.SQLITE_OK
}

func xFileControl(tls *libc.TLS, file uintptr, operation int32, argument uintptr) int32 {
	switch operation {
	case sqlite3.SQLITE_FCNTL_HAS_MOVED:
		*at[int32](argument) = libc.BoolInt32(handleAt(file).hasMoved())
	case sqlite3.SQLITE_FCNTL_MMAP_SIZE:
		*at[int64](argument) = 0 // nothing is ever mapped
	default:
		return sqlite3.SQLITE_NOTFOUND // all others may be missing
	}
	return sqlite3.SQLITE_OK
}

func xSectorSize(tls *libc.TLS, file uintptr) int32 { return BlockBytes }

func xDeviceCharacteristics(tls *libc.TLS, file uintptr) int32 {
	return sqlite3.SQLITE_IOCAP_POWERSAFE_OVERWRITE // as on Unix
}

func xShmMap(tls *libc.TLS, file uintptr, region, size, extend int32, out uintptr) int32 {
	memory, code := handleAt(file).mapShared(tls, region, size, extend != 0)
	*at[uintptr](out) = memory
	return code
}

func xShmLock(tls *libc.TLS, file uintptr, first, count, flags int32) int32 {
	return handleAt(file).lockSlots(first, count, flags)
}

func xShmBarrier(tls *libc.TLS, file uintptr) { handleAt(file).size() } // a lock and an unlock order memory

func xShmUnmap(tls *libc.TLS, file uintptr, remove int32) int32 {
	handleAt(file).unmap()
	return sqlite3.SQLITE_OK
}

func xDelete(tls *libc.TLS, vfs, name uintptr, syncs int32) int32 {
	p, path := processAt(vfs), libc.GoString(name)
	switch p.remove(path) {
	case 0:
	case syscall.ENOENT:
		return sqlite3.SQLITE_IOERR_DELETE_NOENT
	default:
		return sqlite3.SQLITE_IOERR_DELETE
	}
	if syncs != 0 && p.syncFolder(filepath.Dir(path)) != 0 {
		return sqlite3.SQLITE_IOERR_DIR_FSYNC
	}
	return sqlite3.SQLITE_OK
}

func xAccess(tls *libc.TLS, vfs, name uintptr, flags int32, out uintptr) int32 {
	stat, err := files{processAt(vfs)}.Stat(libc.GoString(name))
	there := err == nil && (flags != sqlite3.SQLITE_ACCESS_EXISTS || stat.Size > 0) // as on Unix
	*at[int32](out) = libc.BoolInt32(there)
	return sqlite3.SQLITE_OK
}

func xFullPathname(tls *libc.TLS, vfs, name uintptr, size int32, out uintptr) int32 {
	path := libc.GoString(name)
	if len(path) >= int(size) {
		return sqlite3.SQLITE_CANTOPEN
	}
	b := bytesAt(out, int32(len(path)+1))
	b[copy(b, path)] = 0
	return sqlite3.SQLITE_OK
}

// Inside a testing/synctest bubble both are virtual.

func xSleep(tls *libc.TLS, vfs uintptr, microseconds int32) int32 {
	time.Sleep(time.Duration(microseconds) * time.Microsecond)
	return microseconds
}

func xCurrentTimeInt64(tls *libc.TLS, vfs, out uintptr) int32 {
	const epoch = 210866760000000 // 1970 as a Julian day, in milliseconds
	*at[int64](out) = time.Now().UnixMilli() + epoch
	return sqlite3.SQLITE_OK
}
