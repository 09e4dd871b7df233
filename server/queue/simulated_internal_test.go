package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// Somebody else takes the last byte of a disk under load, and gives it back. The
// power is cut in between: what was acknowledged is still there.
func TestQueue_SimulatedFullDisk(t *testing.T) {
	const capacity = 24 << 20
	for name, cut := range map[string]bool{"GoesOn": false, "PowerCut": true} {
		bubble(t, name, func(t *testing.T) {
			disk := simulated(t, capacity)
			f := openOn(t, simulatedSettings(disk))
			f.append(t, 1000)
			if reserve := f.Stats().ReserveBytes; reserve != f.bounds.reserve {
				t.Errorf("the reserve holds %d bytes, want %d", reserve, f.bounds.reserve)
			}
			disk.SetCapacity(disk.UsedBytes())
			f.fill(t)
			if stats := f.Stats(); stats.ReserveBytes != 0 || stats.Accepting {
				t.Errorf("on a full disk: %+v", stats)
			}
			if cut {
				disk.Cut(simdisk.Nothing)
				f.abandon(t)
				again := openOn(t, simulatedSettings(disk))
				again.stored, again.next = f.stored, f.next
				f = again
			}
			f.drain(t)
			f.balanced(t)
			disk.SetCapacity(capacity)
			f.resumes(t)
			f.drain(t)
			f.balanced(t)
			if reserve := f.Stats().ReserveBytes; reserve != f.bounds.reserve {
				t.Errorf("the reserve holds %d bytes again, want %d", reserve, f.bounds.reserve)
			}
		})
	}
}

// abandon waits for the end of a queue whose disk is gone.
func (f *filled) abandon(t *testing.T) {
	t.Helper()
	f.stop = func() {}
	f.cancel()
	<-f.done // an error, and which one does not matter
}

// TestQueue_NoRoomAtAnyCall lets every write and every allocation from the nth on
// find no room, for a while. Nothing ends, nothing that was acknowledged is lost,
// and records are taken again.
func TestQueue_NoRoomAtAnyCall(t *testing.T) {
	const calls = simdisk.Write | simdisk.Allocate
	struck := 0
	for n := 0; n < 120; n += 3 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := simulated(t, 64<<20)
				f := openOn(t, simulatedSettings(disk))
				f.append(t, 20)
				disk.Inject(simdisk.Fault{Calls: calls, Skip: n, Err: syscall.ENOSPC, Short: n%2 == 0})
				for range 6 {
					f.append(t, 5)
					f.deliver(t, 3)
				}
				synctest.Wait()
				if !f.intake.accepting() {
					struck++
				}
				disk.Heal()
				f.resumes(t)
				f.drain(t)
				f.balanced(t)
			})
		})
	}
	if struck < 10 {
		t.Errorf("only %d of the queues were full", struck)
	}
}

// deliver delivers so many records, or fewer when no more wait.
func (f *filled) deliver(t *testing.T, most int) {
	t.Helper()
	if len(f.stored) == 0 {
		return
	}
	leased, err := f.Lease(t.Context(), 1, edge.LeaseLimit{Records: most, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, delivery := range leased {
		delete(f.stored, delivery.Record.Position)
	}
	if err := f.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
		t.Fatal(err)
	}
}

// A quota, a disk that has become read-only and a file that may not be longer are
// input/output errors to SQLite, but no reason to end: the next start would find
// the same. A write that fails for any other reason is one.
func TestQueue_TakesNoMore(t *testing.T) {
	for name, test := range map[string]struct {
		fault simdisk.Fault
		ends  bool
	}{
		"Quota":        {simdisk.Fault{Calls: simdisk.Write | simdisk.Allocate, Err: syscall.EDQUOT}, false},
		"ReadOnly":     {simdisk.Fault{Calls: simdisk.AnyCall &^ simdisk.Read &^ simdisk.Open, Err: syscall.EROFS}, false},
		"CannotOpen":   {simdisk.Fault{Calls: simdisk.AnyCall &^ simdisk.Read, Err: syscall.EROFS}, false},
		"FileTooLarge": {simdisk.Fault{Calls: simdisk.Write | simdisk.Truncate | simdisk.Allocate, Err: syscall.EFBIG}, false},
		"Broken":       {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO}, true},
		"BrokenOnce":   {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO, Times: 1}, true},
	} {
		bubble(t, name, func(t *testing.T) {
			disk := simulated(t, 64<<20)
			f := openOn(t, simulatedSettings(disk))
			f.append(t, 20)
			disk.Inject(test.fault)
			if test.ends {
				go func() { _ = f.Append(context.Background(), random(f.next, 1)...) }()
				var failure *FatalError
				if err := <-f.done; !errors.As(err, &failure) {
					t.Errorf("Run ended with %v, want a FatalError", err)
				}
				f.stop = func() {}
				disk.Kill()
				return
			}
			f.append(t, 20)
			f.intake.waitUntil(t, false)
			if room := f.Room(); !strings.Contains(room.Refusal.Message, test.fault.Err.Error()) {
				t.Errorf("the refusal says %q, want %v", room.Refusal.Message, test.fault.Err)
			}
			f.drain(t)
			disk.Heal()
			f.resumes(t)
			f.drain(t)
			f.balanced(t)
		})
	}
}
