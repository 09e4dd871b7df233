package crashtest_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// TestQueue_Fatal shows what ends the queue, and what it tells the operator.
// SQLite calls all of these a failed write.
func TestQueue_Fatal(t *testing.T) {
	for name, test := range map[string]struct {
		fault simdisk.Fault
		hint  string // empty: the queue goes on
	}{
		"AFailedSync":          {simdisk.Fault{Calls: simdisk.Sync, Err: syscall.EIO}, "disk-errors.md"},
		"AFailedWrite":         {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO}, "disk-errors.md"},
		"AReadOnlyFileSystem":  {simdisk.Fault{Calls: simdisk.Write | simdisk.Open, Err: syscall.EROFS}, ""},
		"AQuota":               {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EDQUOT}, ""},
		"AFileThatIsTooLong":   {simdisk.Fault{Calls: simdisk.Write | simdisk.Truncate, Err: syscall.EFBIG}, ""},
		"AQuotaAndAFailedSync": {simdisk.Fault{Calls: simdisk.Sync, Err: syscall.EDQUOT}, "disk-errors.md"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkload(simdisk.New(simdisk.Settings{}), 1)
				defer w.disk.Close()
				defer w.end()
				if err := w.open(); err != nil {
					t.Fatal(err)
				}
				w.disk.Inject(test.fault)
				err := w.live(2)
				fatal, ended := errors.AsType[*queue.FatalError](err)
				switch {
				case test.hint != "" && (!ended || !strings.Contains(fatal.Error(), test.hint)):
					t.Errorf("got %v, want a FatalError that says %q", err, test.hint)
				case test.hint == "" && (err != nil || w.queue.Room().Refusal == nil):
					t.Errorf("got %v, accepting: %v; want a queue that is full", err, w.queue.Room().Refusal == nil)
				case test.hint == "":
					w.disk.Heal()
					w.recovers(t)
				}
			})
		})
	}
}

// TestQueue_Fatal_AtTheStop breaks the last call of an orderly stop: the removal of
// the mark that says the queue runs.
func TestQueue_Fatal_AtTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(simdisk.New(simdisk.Settings{}), 1)
		defer w.disk.Close()
		defer w.end()
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		if err := w.live(2); err != nil {
			t.Fatal(err)
		}
		w.disk.Inject(simdisk.Fault{Calls: simdisk.SyncFolder, Err: syscall.EIO})
		w.stop()
		err := <-w.done
		w.done = nil
		if _, fatal := errors.AsType[*queue.FatalError](err); !fatal {
			t.Errorf("Run ended with %v, want a FatalError", err)
		}
	})
}

// TestQueue_Open_FullDisk kills a queue and starts it again on a disk that others
// have filled since.
func TestQueue_Open_FullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(simdisk.New(simdisk.Settings{Capacity: 64 << 20}), 1)
		defer w.disk.Close()
		defer w.end()
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		if err := w.live(6); err != nil {
			t.Fatal(err)
		}
		w.end()
		w.disk.SetCapacity(w.disk.UsedBytes())
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		w.again() // what is known is known on a full disk, too
		w.disk.SetCapacity(64 << 20)
		w.recovers(t)
	})
}

// TestQueue_DeadLetters_WhileSaving asks for dead letters while the commit that
// saves one is on its way to the disk.
func TestQueue_DeadLetters_WhileSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(simdisk.New(simdisk.Settings{}), 1)
		defer w.disk.Close()
		defer w.end()
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		w.append()
		w.answered()
		leased, err := w.queue.Lease(t.Context(), 1, everything)
		if err != nil {
			t.Fatal(err)
		}
		w.disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Delay: time.Minute})
		settlement := edge.Settlement{Attempt: attempt(leased, edge.Rejected), Acked: leased[1:]}
		settlement.Dead = []edge.Death{{Delivery: leased[0], Reason: edge.DeathRejected}}
		if err := w.queue.Settle(t.Context(), 1, settlement); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the commit waits for the disk
		letters, err := w.queue.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 10)
		if err != nil || len(letters) != 1 {
			t.Errorf("got %d dead letters, %v; want the one that was settled", len(letters), err)
		}
	})
}
