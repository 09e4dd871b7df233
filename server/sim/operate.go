package sim

import (
	"context"
	"syscall"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// quietOneIn is how rare a long pause is: it takes as long as everything else.
const quietOneIn = 100

// operate does one thing that happens in a gateway's life.
func (w *world) operate() {
	if w.life == nil {
		return
	}
	switch draw := w.random.IntN(100); {
	case draw < 40:
		d := pick(w.random, w.fleet.devices...)
		for range 1 + w.random.IntN(5) {
			w.fleet.say(d)
		}
		w.fleet.send(d)
	case draw < 50:
		for _, d := range w.fleet.devices {
			w.fleet.send(d)
		}
	case draw < 57:
		if len(w.fleet.messages) > 0 {
			for range 1 + w.random.IntN(3) {
				w.fleet.repeat()
			}
		}
	case draw < 61:
		d := pick(w.random, w.fleet.devices...)
		w.fleet.contradict(d)
		w.fleet.send(d)
	case draw < 80 && w.random.IntN(quietOneIn) == 0:
		time.Sleep(11 * time.Minute) // all that is small is merged
	case draw < 80:
		time.Sleep(pick(w.random, time.Microsecond, time.Millisecond, 10*time.Millisecond, 60*time.Millisecond, time.Second, 5*time.Second))
	case draw < 88:
		synctest.Wait() // nothing that can happen now is left
	case draw < 93:
		pick(w.random, w.sinks[:]...).change()
	case draw < 94:
		w.reconfigure()
	case draw < 97:
		w.requeue()
	case draw < 98:
		w.stop()
	default:
		w.disk.Heal()
		w.setFull(false)
		w.note("the disk works again")
	}
}

// requeue sends dead letters back to their sinks.
func (w *world) requeue() {
	count, err := w.life.queue.RequeueMatching(context.Background(), edge.DeadLetterFilter{}, false)
	w.note("requeued %d: %v", count, err)
}

// breakDisk draws a fault that strikes now, or at a call that is to come.
func (w *world) breakDisk() {
	switch draw := w.random.IntN(20); {
	case draw < 2:
		w.cut()
		return
	case draw < 3:
		w.kill()
		return
	case draw < 5:
		w.setFull(true)
		return
	}
	fault := w.drawFault()
	w.disk.Inject(fault)
	w.note("a fault waits on the disk: %+v", fault)
}

// breakStart lets one of the first calls of a process fail: those that bring a
// WAL to the disk anew, and put it in its place.
func (w *world) breakStart() {
	calls := pick(w.random, simdisk.SyncFolder, simdisk.SyncFolder, simdisk.Rename, simdisk.Sync|simdisk.Open, simdisk.AnyCall)
	fault := simdisk.Fault{Calls: calls, Times: 1, Skip: w.random.IntN(2), Err: syscall.EIO}
	if w.flips {
		fault = simdisk.Fault{Calls: simdisk.Read, Times: 1, Skip: w.random.IntN(40), Flip: true}
	}
	w.disk.Inject(fault)
	w.note("a fault waits for the start: %+v", fault)
}

func (w *world) drawFault() simdisk.Fault {
	calls := pick(w.random, simdisk.Write, simdisk.Sync, simdisk.Write|simdisk.Sync, simdisk.AnyCall)
	fault := simdisk.Fault{Calls: calls, Times: 1, Skip: pick(w.random, 0, w.random.IntN(5), w.random.IntN(60))}
	switch draw := w.random.IntN(15); {
	case w.flips && draw < 8:
		fault.Calls, fault.Flip = simdisk.Read, true
	case draw < 6:
		fault.Cut = true
	case draw < 7:
		fault.Kill = true
	case draw < 8:
		fault.Calls, fault.Err, fault.Short = simdisk.Write, syscall.EIO, w.random.IntN(2) == 0
	case draw < 9:
		fault.Calls, fault.Err = calls, syscall.EIO
	case draw < 11:
		fault.Calls, fault.Err = simdisk.Sync, syscall.EIO
	case draw < 13:
		fault.Calls, fault.Err, fault.Times = simdisk.Write|simdisk.Allocate, syscall.ENOSPC, 1+w.random.IntN(20)
		fault.Short = w.random.IntN(2) == 0
	case draw < 14:
		fault.Calls, fault.Times = simdisk.Sync, 1+w.random.IntN(5)
		fault.Delay = pick(w.random, 5*time.Millisecond, time.Second, 20*time.Second)
	default:
		fault.Calls, fault.Err = simdisk.Read, syscall.EIO
	}
	return fault
}

// cut takes the power away, and some of what was not synced.
func (w *world) cut() {
	if w.life == nil {
		return
	}
	w.disk.Cut(simdisk.AnySurvival)
	w.life.bury("power cut")
	w.life = nil
}

// kill ends the process between two instructions.
func (w *world) kill() {
	if w.life == nil {
		return
	}
	w.disk.Kill()
	w.life.bury("killed")
	w.life = nil
}

// setFull leaves little room on the disk, or as much as anybody wants.
func (w *world) setFull(full bool) {
	w.full = full
	if !full {
		w.disk.SetCapacity(0)
		return
	}
	room := int64(w.random.IntN(64)) * simdisk.BlockBytes
	w.disk.SetCapacity(w.disk.UsedBytes() + room)
	w.note("the disk has room for %d bytes", room)
}

// mend ends every fault.
func (w *world) mend() {
	w.disk.Heal()
	w.setFull(false)
	for _, s := range w.sinks {
		s.mend()
	}
	w.note("everything is mended")
}
