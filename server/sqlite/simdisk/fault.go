package simdisk

import (
	"math"
	"strings"
	"syscall"
	"time"
)

// Calls is a set of calls.
type Calls uint16

// What a disk is asked to do.
const (
	Open Calls = 1 << iota
	Read
	Write
	Truncate
	Sync
	SyncFolder
	Rename
	Remove
	Allocate

	AnyCall = Calls(1<<iota - 1)
)

// PageFlipped counts in [Disk.Fired] the wrong bits that SQLite has read in pages:
// those that it may have written back.
const PageFlipped = "read of a page with flipped bit"

var callNames = map[Calls]string{
	Open: "open", Read: "read", Write: "write", Truncate: "truncate", Sync: "sync", SyncFolder: "sync of folder",
	Rename: "rename", Remove: "remove", Allocate: "allocate",
}

// Fault is what goes wrong, and when. The first fault that fits a call decides.
// A fault where nothing goes wrong only counts calls.
type Fault struct {
	Calls Calls  // which may be hit
	Path  string // how the name of the file ends; empty is any file
	Skip  int    // so many of these go well first
	Times int    // so many are hit then; 0 is all of them
	// From and To are the bytes of the file that a read or write has to touch; To 0
	// is any. A sector that is bad for good is a Fault without Times.
	From, To int64

	Err   syscall.Errno // what they fail with: EIO, ENOSPC, EDQUOT, EROFS
	Short bool          // a write that fails leaves a part of what was to be written
	Flip  bool          // a read returns one wrong bit
	Lie   bool          // a sync says that it succeeded and does nothing
	Delay time.Duration // it takes so long
	Kill  bool          // the process dies with it
	Cut   bool          // the power goes with it
}

type injected struct {
	Fault
	seen int
}

// Inject adds a fault. Calls are counted from here on.
func (d *Disk) Inject(fault Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &injected{Fault: fault})
}

// Heal removes every fault.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// begin locks the disk for a call and returns what is wrong with it. The caller
// unlocks. A delay passes before, so that nobody waits for a lock meanwhile.
func (p *process) begin(call Calls, path string) Fault {
	return p.beginAt(call, path, 0, math.MaxInt64)
}

// beginAt is begin for a call on some bytes of a file.
func (p *process) beginAt(call Calls, path string, from, to int64) Fault {
	d := p.disk
	d.mu.Lock()
	if p.dead {
		return Fault{Err: syscall.EIO}
	}
	fault := d.decide(call, path, from, to)
	if fault.Delay > 0 {
		d.mu.Unlock()
		time.Sleep(fault.Delay)
		d.mu.Lock()
	}
	switch {
	case fault.Cut:
		d.cut(AnySurvival)
	case fault.Kill:
		d.kill()
	}
	if p.dead {
		return Fault{Err: syscall.EIO}
	}
	return fault
}

func (d *Disk) decide(call Calls, path string, from, to int64) Fault {
	for _, fault := range d.faults {
		if fault.Calls&call == 0 || !strings.HasSuffix(path, fault.Path) || fault.To > 0 && (to <= fault.From || fault.To <= from) {
			continue
		}
		fault.seen++
		if fault.seen <= fault.Skip || fault.Times > 0 && fault.seen > fault.Skip+fault.Times {
			continue
		}
		d.fired[callNames[call]+" "+fault.effect()]++
		return fault.Fault
	}
	return Fault{}
}

func (f *Fault) effect() string {
	switch {
	case f.Cut:
		return "with power cut"
	case f.Kill:
		return "with kill"
	case f.Err != 0 && f.Short:
		return "short with " + f.Err.Error()
	case f.Err != 0:
		return "with " + f.Err.Error()
	case f.Flip:
		return "with flipped bit"
	case f.Lie:
		return "that lies"
	case f.Delay > 0:
		return "delayed"
	}
	return "seen"
}
