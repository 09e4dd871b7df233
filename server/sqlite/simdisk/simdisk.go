// Package simdisk is a disk that tests can break: a file system in memory below
// the real SQLite, with a page cache that may be lost.
//
//	SQLite --xWrite--> [ vfs ] \                    +--Sync--> durable
//	                            > page cache, live -+
//	sqlite.Disk -------------> /                    +--Cut---> some, torn, none
//
// It promises what Linux and a disk with power-safe overwrites promise, and not
// more: what was written is readable at once and durable after a sync that
// succeeded; of what was not synced, a power cut leaves any part, in any order;
// names are made durable by a sync of their folder, in order; a sync that fails
// loses what it should have synced for ever, though it stays readable and the
// next sync succeeds. A write touches only the bytes that it was given.
//
// A process dies with [Disk.Kill] or [Disk.Cut]: every open file fails from then
// on and every lock is gone, while its goroutines may still run. Whatever opens
// the files afterwards is the next process. [Disk.Inject] makes single calls fail.
//
// All choices come from the seed of the disk. SQLite's own random numbers, which
// the salts of a WAL are made of, belong to the process and are not repeatable.
//
// Disks are independent of each other, and a Disk is safe for concurrent use. It
// works inside testing/synctest: whatever waits, waits on package time.
package simdisk

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"combotto.io/gateway/server/sqlite"
)

// BlockBytes is how room is given to files.
const BlockBytes = 4096

// Settings of a disk. Zero values are an empty disk without a bound.
type Settings struct {
	Seed     uint64
	Capacity int64             // bytes in blocks of [BlockBytes]; 0 is unlimited
	Files    map[string][]byte // what the disk holds, by absolute path; durable
}

// Disk is one simulated disk.
type Disk struct {
	mu       sync.Mutex
	capacity int64
	process  *process // that lives; nil until it asks for the port
	died     []*process
	random   *rand.Rand
	names    map[string]*inode
	number   int // of the newest inode
	used     int64
	platter  *platter
	faults   []*injected
	fired    map[string]int
	opened   []io.Closer // databases of the living process
	buried   []io.Closer // of those that died
	history  *History    // nil unless it is recorded
}

// New makes a disk and registers it with SQLite.
func New(settings Settings) *Disk {
	d := &Disk{
		capacity: settings.Capacity, random: rand.New(rand.NewPCG(settings.Seed, 0)), fired: map[string]int{},
	}
	d.reset(settings.Files)
	return d
}

// process is whoever uses the disk between two deaths. Nothing that a dead one
// still tries reaches the files.
type process struct {
	disk *Disk
	vfs  string  // under which SQLite knows it
	key  uintptr // in the table of all processes
	dead bool
}

// Port returns what makes a database live on this disk. It belongs to the process
// that lives; the one after [Disk.Kill] or [Disk.Cut] asks for its own.
func (d *Disk) Port() sqlite.Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		d.process = register(d)
	}
	return sqlite.Disk{VFS: d.process.vfs, Files: files{d.process}, Opened: d.noteOpened}
}

func (d *Disk) noteOpened(db io.Closer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = append(d.opened, db)
}

// Lives reports whether a process uses the disk. A fault may have killed it, which
// it only notices with its next call.
func (d *Disk) Lives() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process != nil
}

// Kill ends the process that uses the disk. What it has written stays in the page
// cache: the next process reads it, and a power cut may still take it away.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
	d.fired["process killed"]++
}

// Cut ends the process and the power with it. It leaves what was synced, and of
// the rest what survives.
func (d *Disk) Cut(survives Survival) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut(survives)
}

func (d *Disk) cut(survives Survival) {
	lost := d.platter.unsynced() > 0
	d.kill()
	d.reset(d.platter.crash(survives, d.random))
	d.history = nil
	d.fired["power cut"]++
	if lost {
		d.fired["power cut with unsynced writes"]++
	}
}

// kill lets the next process find the same content without locks and memory that
// was shared.
func (d *Disk) kill() {
	if d.process != nil {
		d.process.dead = true
		d.died, d.process = append(d.died, d.process), nil
	}
	d.used = 0
	for name, old := range d.names {
		d.names[name] = &inode{number: old.number, data: old.data, room: old.room, linked: true}
		d.used += old.room
	}
	d.buried, d.opened = append(d.buried, d.opened...), nil
}

// reset makes the disk hold durable files only.
func (d *Disk) reset(files map[string][]byte) {
	d.names, d.used, d.platter = map[string]*inode{}, 0, newPlatter()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		d.number++
		content := files[name]
		d.names[name] = &inode{number: d.number, data: slices.Clone(content), room: blocks(int64(len(content))), linked: true}
		d.used += d.names[name].room
		d.platter.put(name, d.number, content)
	}
}

// Bury closes the databases of processes that have died, which gives their memory
// back and touches no file. Call it when none of their goroutines is left.
func (d *Disk) Bury() error {
	d.mu.Lock()
	buried := d.buried
	d.buried = nil
	d.mu.Unlock()
	var errs []error
	for _, db := range buried {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// Close forgets the disk. Close its databases first, or [Disk.Bury] them.
func (d *Disk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
	for _, p := range d.died {
		p.unregister()
	}
}

// Names lists the files.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// Content returns what a process would read from a file.
func (d *Disk) Content(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[path]
	if n == nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return slices.Clone(n.data), nil
}

// Fired says how often each kind of fault has struck.
func (d *Disk) Fired() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.fired)
}

// UsedBytes returns how much of the capacity is taken.
func (d *Disk) UsedBytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// SetCapacity changes how much room there is, as other users of the disk do.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}
