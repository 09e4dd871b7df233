package sqlite

import (
	"sync"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite makes a commit durable with fdatasync where it is built for that, as it is in
// every distribution; the build in modernc.org/sqlite calls fsync. That makes durable
// when the WAL was modified, too, which nobody asks for: three blocks of journal for a
// commit of one page, and a third more time. So here is SQLite's own VFS for Unix with
// one method replaced. What a file holds and how long it is, fdatasync makes durable.

// datasync is what SQLite calls instead of its own; C function pointers carry no state.
var datasync struct {
	mu       sync.Mutex
	open     openFile
	sync     syncFile
	replaced map[uintptr]uintptr // methods of files, by those of SQLite
}

type (
	openFile = func(tls *libc.TLS, vfs, path, file uintptr, flags int32, flagsOut uintptr) int32
	syncFile = func(tls *libc.TLS, file uintptr, flags int32) int32
)

// systemVFS returns the name of the VFS for the disks of the operating system.
var systemVFS = sync.OnceValue(func() string {
	tls := libc.NewTLS()
	defer tls.Close()
	unix := sqlite3.Xsqlite3_vfs_find(tls, 0)
	name, err := libc.CString("unix-datasync")
	if err != nil || unix == 0 {
		return ""
	}
	vfs := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	v := cMemory[sqlite3.Tsqlite3_vfs](vfs)
	*v = *cMemory[sqlite3.Tsqlite3_vfs](unix)
	datasync.open = *cMemory[openFile](uintptr(unsafe.Pointer(&v.FxOpen)))
	datasync.replaced = map[uintptr]uintptr{}
	v.FzName, v.FpNext, v.FxOpen = name, 0, cFunction[openFile](openDatasync)
	if sqlite3.Xsqlite3_vfs_register(tls, vfs, 0) != sqlite3.SQLITE_OK {
		return ""
	}
	return libc.GoString(name)
})

func openDatasync(tls *libc.TLS, vfs, path, file uintptr, flags int32, flagsOut uintptr) int32 {
	code := datasync.open(tls, vfs, path, file, flags, flagsOut)
	if code == sqlite3.SQLITE_OK {
		opened := cMemory[sqlite3.TunixFile](file)
		opened.FpMethod = replaceSync(tls, opened.FpMethod)
	}
	return code
}

// replaceSync returns the methods of a file with another xSync.
func replaceSync(tls *libc.TLS, methods uintptr) uintptr {
	datasync.mu.Lock()
	defer datasync.mu.Unlock()
	replaced, known := datasync.replaced[methods]
	if !known {
		replaced = libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		m := cMemory[sqlite3.Tsqlite3_io_methods](replaced)
		*m = *cMemory[sqlite3.Tsqlite3_io_methods](methods)
		datasync.sync = *cMemory[syncFile](uintptr(unsafe.Pointer(&m.FxSync)))
		m.FxSync = cFunction[syncFile](syncData)
		datasync.replaced[methods] = replaced
	}
	return replaced
}

// syncData makes the content of a file durable. The name of a new one is left to SQLite.
func syncData(tls *libc.TLS, file uintptr, flags int32) int32 {
	opened := cMemory[sqlite3.TunixFile](file)
	if opened.FctrlFlags&sqlite3.UNIXFILE_DIRSYNC != 0 {
		return datasync.sync(tls, file, flags)
	}
	for {
		switch err := syscall.Fdatasync(int(opened.Fh)); err {
		case nil:
			return sqlite3.SQLITE_OK
		case syscall.EINTR:
		default:
			errno, _ := err.(syscall.Errno)
			opened.FlastErrno = int32(errno)
			return sqlite3.SQLITE_IOERR_FSYNC
		}
	}
}

// cMemory views memory of SQLite, which the garbage collector neither moves nor frees.
func cMemory[T any](p uintptr) *T { return (*T)(*(*unsafe.Pointer)(unsafe.Pointer(&p))) }

// cFunction turns a function of the package into what the translated C code takes for a
// pointer to one. Its type must be exactly that of the C prototype.
func cFunction[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }
