package crashtest_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

var sweepStride = flag.Int("sweep-stride", 20, "TestQueue_Sweep lets every so many-th call fail; 1 is each")

// afterwards is a moment behind all that have come.
const afterwards = math.MaxInt - 1

// TestQueue_Sweep lets single calls fail, or all from one on: while a queue
// migrates, appends, settles, checkpoints, removes what is old and stops. Then the
// power goes. Each call, which takes minutes:
//
//	go test ./server/queue/crashtest -run TestQueue_Sweep -sweep-stride 1 -timeout 1h
func TestQueue_Sweep(t *testing.T) {
	old := oldFiles(t)
	for name, fault := range map[string]simdisk.Fault{
		"EIO":              {Calls: simdisk.AnyCall, Err: syscall.EIO, Times: 1},
		"EIOForEver":       {Calls: simdisk.AnyCall, Err: syscall.EIO},
		"ShortWrite":       {Calls: simdisk.Write, Err: syscall.EIO, Times: 1, Short: true},
		"ENOSPC":           {Calls: simdisk.Write | simdisk.Allocate, Err: syscall.ENOSPC, Times: 1, Short: true},
		"ENOSPCForEver":    {Calls: simdisk.Write | simdisk.Allocate, Err: syscall.ENOSPC, Short: true},
		"EDQUOTForEver":    {Calls: simdisk.Write | simdisk.Allocate, Err: syscall.EDQUOT, Short: true},
		"PowerCut":         {Calls: simdisk.AnyCall, Cut: true, Times: 1},
		"KillThenPowerCut": {Calls: simdisk.AnyCall, Kill: true, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			struck := map[string]int{}
			for fault.Skip = 0; ; fault.Skip += *sweepStride {
				fired := sweep(t, fault, old)
				if len(fired) == 0 || t.Failed() {
					break
				}
				for effect := range fired {
					struck[effect]++
				}
			}
			t.Log(struck)
			if len(struck) == 0 {
				t.Error("no call was hit")
			}
		})
	}
}

// oldFiles is a database of the first schema.
func oldFiles(t *testing.T) map[string][]byte {
	t.Helper()
	disk := simdisk.New(simdisk.Settings{})
	defer disk.Close()
	text, err := os.ReadFile("../../queuefile/schema/0001_queue.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Settings{
		Path: simPath, Disk: disk.Port(), Migrations: sqlite.NewMigrations(fstest.MapFS{"0001_queue.sql": {Data: text}}, "*.sql"),
	})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range disk.Names() {
		if files[name], err = disk.Content(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// sweep lives with one fault, and looks at what the power leaves.
func sweep(t *testing.T, fault simdisk.Fault, files map[string][]byte) (fired map[string]int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(simdisk.New(simdisk.Settings{Seed: uint64(fault.Skip), Files: files}), 1)
		defer w.disk.Close()
		defer w.end()
		w.disk.Inject(fault)
		err := w.open()
		if err == nil {
			err = w.live(8)
		}
		fired = w.disk.Fired()
		w.disk.Heal()
		_, fatal := errors.AsType[*queue.FatalError](err)
		if full := fault.Err == syscall.ENOSPC || fault.Err == syscall.EDQUOT; err != nil && w.queue != nil && (!fatal || full) {
			t.Errorf("call %d: the queue ended with %v", fault.Skip, err)
		} else if full && w.queue != nil {
			w.recovers(t)
		}
		w.end()
		w.disk.Cut(simdisk.AnySurvival)
		found, err := inspect(w.witness, w.disk, true)
		if err == nil {
			err = w.witness.judge(found, afterwards)
		}
		if err != nil {
			t.Errorf("call %d: %v: %v", fault.Skip, fired, err)
		}
	})
	return fired
}

// recovers waits until the queue takes messages again, now that there is room.
func (w *workload) recovers(t *testing.T) {
	t.Helper()
	time.Sleep(5 * time.Second)
	w.append()
	w.answered()
	last := w.witness.appends[len(w.witness.appends)-1]
	if last[0].acked == never {
		t.Errorf("the queue takes nothing 5 s after the disk had room again")
	}
}

// TestQueue_FailedSync lets one sync fail, restarts, lets the clients send again
// what they had sent, and cuts the power: whatever was acknowledged before or after
// must be there.
func TestQueue_FailedSync(t *testing.T) {
	for name, test := range map[string]struct {
		mutate func(sqlite.Disk) sqlite.Disk
		runs   int
		loses  bool
	}{
		"LosesNothing": {nil, 100, false},
		"MutantWithoutANewWAL": {func(disk sqlite.Disk) sqlite.Disk {
			disk.Files = hidesWAL{disk.Files}
			return disk
		}, 30, true},
	} {
		t.Run(name, func(t *testing.T) {
			var losses []error
			duplicates := 0
			for run := range test.runs {
				known, err := failedSync(t, run, test.mutate)
				duplicates += known
				if err != nil {
					losses = append(losses, fmt.Errorf("run %d: %w", run, err))
				}
			}
			t.Logf("%d of %d runs are bad, %d messages were known when they came again: %v", len(losses), test.runs, duplicates, errors.Join(losses...))
			if (len(losses) > 0) != test.loses || duplicates == 0 {
				t.Errorf("want losses: %v", test.loses)
			}
		})
	}
}

// hidesWAL hides the WAL from everybody but SQLite: it is not written anew.
type hidesWAL struct{ sqlite.Files }

func (f hidesWAL) Stat(path string) (sqlite.Stat, error) {
	if strings.HasSuffix(path, "-wal") {
		return sqlite.Stat{}, fs.ErrNotExist
	}
	return f.Files.Stat(path)
}

func (f hidesWAL) Open(path string, flag int) (sqlite.File, error) {
	if strings.HasSuffix(path, "-wal") {
		return nil, fs.ErrNotExist
	}
	return f.Files.Open(path, flag)
}

// failedSync is one run. It returns how many messages the second life knew from
// the first, and what is bad after the power cut.
func failedSync(t *testing.T, run int, mutate func(sqlite.Disk) sqlite.Disk) (known int, bad error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(simdisk.New(simdisk.Settings{Seed: uint64(run)}), uint64(run))
		defer w.disk.Close()
		defer w.end()
		w.mutate = mutate
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		w.disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Skip: w.random.IntN(8), Times: 1, Err: syscall.EIO})
		err := w.live(7)
		if _, fatal := errors.AsType[*queue.FatalError](err); !fatal {
			t.Fatalf("run %d: a failed sync (%v) did not end the queue: %v", run, w.disk.Fired(), err)
		}
		w.disk.Heal()
		w.end()
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		known = int(w.queue.Head())
		w.again()
		w.disk.Cut(simdisk.AnySurvival)
		w.end()
		found, err := inspect(w.witness, w.disk, false)
		if err == nil {
			err = w.witness.judge(found, afterwards)
		}
		bad = err
	})
	return known, bad
}
