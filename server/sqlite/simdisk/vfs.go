package simdisk

import (
	"fmt"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// pointer turns a function into what the translated C code takes for a function
// pointer. A Go function value points to a record, which is static data for a
// function at package level and stays where it is. A closure or a method value
// lives on the Go heap, where C memory does not keep it alive: never pass one.
// The types must be exactly those of the C prototype; nothing checks them.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }

// at views C memory, which the garbage collector neither moves nor frees.
func at[T any](p uintptr) *T { return (*T)(*(*unsafe.Pointer)(unsafe.Pointer(&p))) }

// bytesAt views C memory, valid during the call only.
func bytesAt(p uintptr, count int32) []byte { return unsafe.Slice(at[byte](p), int(count)) }

// cFile is what SQLite keeps for an open file.
type cFile struct {
	methods uintptr // first: sqlite3_file.pMethods
	key     uintptr // of a handle in the table, never a Go pointer
}

// table is how callbacks of SQLite find Go values. There is one per process,
// because a C function pointer cannot carry one.
type table[T any] struct {
	mu   sync.RWMutex
	next uintptr
	rows map[uintptr]T
}

func (t *table[T]) add(value T) uintptr {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[uintptr]T{}
	}
	t.next++
	t.rows[t.next] = value
	return t.next
}

func (t *table[T]) get(key uintptr) T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows[key]
}

func (t *table[T]) remove(key uintptr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, key)
}

var (
	handles   table[*handle]
	processes table[*process]
)

// ioMethods are the callbacks on open files, in memory that SQLite may read.
var ioMethods = sync.OnceValue(func() uintptr {
	tls := libc.NewTLS()
	defer tls.Close()
	methods := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
	*at[sqlite3.Tsqlite3_io_methods](methods) = sqlite3.Tsqlite3_io_methods{
		FiVersion:               2, // with a WAL index; 3 would read around xRead by mapping files
		FxClose:                 pointer(xClose),
		FxRead:                  pointer(xRead),
		FxWrite:                 pointer(xWrite),
		FxTruncate:              pointer(xTruncate),
		FxSync:                  pointer(xSync),
		FxFileSize:              pointer(xFileSize),
		FxLock:                  pointer(xLock),
		FxUnlock:                pointer(xUnlock),
		FxCheckReservedLock:     pointer(xCheckReservedLock),
		FxFileControl:           pointer(xFileControl),
		FxSectorSize:            pointer(xSectorSize),
		FxDeviceCharacteristics: pointer(xDeviceCharacteristics),
		FxShmMap:                pointer(xShmMap),
		FxShmLock:               pointer(xShmLock),
		FxShmBarrier:            pointer(xShmBarrier),
		FxShmUnmap:              pointer(xShmUnmap),
	}
	return methods
})

// register makes a VFS of SQLite for the next process on a disk. What it allocates
// is never freed: a connection that somebody forgot may still use it, and it is
// little.
func register(d *Disk) *process {
	tls := libc.NewTLS()
	defer tls.Close()
	p := &process{disk: d}
	p.key = processes.add(p)
	p.vfs = fmt.Sprintf("simdisk-%d", p.key)
	vfs := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	v := at[sqlite3.Tsqlite3_vfs](vfs)
	*v = *at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0)) // for randomness and the like
	name, err := libc.CString(p.vfs)
	if err != nil {
		panic("simdisk: out of memory")
	}
	v.FpNext, v.FzName, v.FpAppData = 0, name, p.key
	v.FszOsFile, v.FmxPathname = int32(unsafe.Sizeof(cFile{})), 1024
	v.FxOpen, v.FxDelete, v.FxAccess, v.FxFullPathname = pointer(xOpen), pointer(xDelete), pointer(xAccess), pointer(xFullPathname)
	v.FxSleep, v.FxCurrentTime, v.FxCurrentTimeInt64 = pointer(xSleep), 0, pointer(xCurrentTimeInt64)
	v.FxSetSystemCall, v.FxGetSystemCall, v.FxNextSystemCall = 0, 0, 0
	if code := sqlite3.Xsqlite3_vfs_register(tls, vfs, 0); code != sqlite3.SQLITE_OK {
		panic(fmt.Sprintf("simdisk: register: SQLite code %d", code))
	}
	return p
}

// unregister forgets a process that has died.
func (p *process) unregister() {
	tls := libc.NewTLS()
	defer tls.Close()
	name, err := libc.CString(p.vfs)
	if err != nil {
		panic("simdisk: out of memory")
	}
	defer libc.Xfree(tls, name)
	if vfs := sqlite3.Xsqlite3_vfs_find(tls, name); vfs != 0 {
		sqlite3.Xsqlite3_vfs_unregister(tls, vfs)
	}
	processes.remove(p.key)
}
