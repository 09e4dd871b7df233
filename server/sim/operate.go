package sim

import (
	"context"
	"syscall"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite/simdisk"
)

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
	case draw < 80:
		time.Sleep(pick(w.random, time.Microsecond, time.Millisecond, 10*time.Millisecond, 60*time.Millisecond, time.Second, 5*time.Second))
	case draw < 88:
		synctest.Wait() // nothing that can happen now is left
	case draw < 94:
		pick(w.random, w.sinks[:]...).change()
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
	fault := simdisk.Fault{Times: 1, Skip: pick(w.random, 0, w.random.IntN(5), w.random.IntN(60))}
	writes := pick(w.random, simdisk.Write, simdisk.Sync, simdisk.Write|simdisk.Sync, simdisk.AnyCall)
	switch w.random.IntN(12) {
	case 0:
		w.cut()
		return
	case 1:
		w.kill()
		return
	case 2:
		w.setFull(true)
		return
	case 3, 4:
		fault.Calls, fault.Cut = writes, true
	case 5:
		fault.Calls, fault.Kill = writes, true
	case 6:
		fault.Calls, fault.Err = writes&^simdisk.Sync|simdisk.Write, syscall.EIO
		fault.Short = w.random.IntN(2) == 0
	case 7, 8:
		fault.Calls, fault.Err = simdisk.Sync, syscall.EIO
	case 9:
		fault.Calls, fault.Err, fault.Times = simdisk.Write|simdisk.Allocate, syscall.ENOSPC, 1+w.random.IntN(20)
		fault.Short = w.random.IntN(2) == 0
	case 10:
		fault.Calls, fault.Delay, fault.Times = simdisk.Sync, pick(w.random, 5*time.Millisecond, time.Second, 20*time.Second), 1+w.random.IntN(5)
	default:
		fault.Calls = simdisk.Read
		if fault.Flip = w.flips; !w.flips {
			fault.Err = syscall.EIO
		}
	}
	w.disk.Inject(fault)
	w.note("a fault waits on the disk: %+v", fault)
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
