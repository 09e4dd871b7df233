package crash_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// cuts is how often TestPower cuts the power.
var cuts = flag.Int("cuts", 100, "cuts of TestPower")

const (
	// cutsPerRound is after how many cuts TestPower begins with new files, whose
	// creation the first of them may hit.
	cutsPerRound = 10
	diskBytes    = 512 << 20
	// creationMax is about how long a first start takes.
	creationMax = 120 * time.Millisecond
)

// newDisk mounts a disk whose power can be cut, or leaves the test out.
func newDisk(t *testing.T) *harness.Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("cutting the power needs root: mount, umount and a loop device")
	}
	disk, err := harness.NewDisk(t.TempDir(), diskBytes)
	if err != nil {
		t.Skipf("cutting the power needs a loop device and mkfs.ext4: %v", err)
	}
	t.Logf("if this test is interrupted: umount %s", disk.Path())
	t.Cleanup(func() {
		if err := disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// newPowerRig puts data and file sink of a new rig on a disk.
func newPowerRig(t *testing.T, binary string, disk *harness.Disk, name string) *rig {
	t.Helper()
	r := newRig(t, binary)
	r.disk = disk
	r.gateway.Volume = filepath.Join(disk.Path(), name)
	harness.Must(t, os.Mkdir(r.gateway.Volume, 0o755))
	r.setSinks()
	t.Cleanup(func() { // before the disk goes, and to make room
		if err := r.gateway.Kill(); err != nil {
			t.Error(err)
		}
		if err := disk.Remove(r.gateway.Volume); err != nil {
			t.Error(err)
		}
	})
	return r
}

// cut cuts the power of a running gateway's disk and takes the process along. The
// disk is mounted again.
func (r *rig) cut() {
	r.t.Helper()
	r.noteEnd()
	doubt := verify.Interval{From: acklog.Now(), Wall: time.Now()}
	harness.Must(r.t, r.disk.Cut())
	harness.Must(r.t, r.gateway.Kill())
	if r.load != nil {
		r.awaitCut()
	}
	doubt.To = acklog.Now()
	r.doubted = append(r.doubted, doubt)
	harness.Must(r.t, r.disk.Unmount())
	harness.Must(r.t, r.disk.Mount())
}

// powerCycle is one life of the gateway that ends with its power.
func (r *rig) powerCycle() {
	r.t.Helper()
	if r.load == nil && r.random.IntN(2) == 0 {
		// Nobody is connected yet: this one is about the files' creation.
		r.lives = append(r.lives, life{began: acklog.Now()})
		r.launch()
		<-time.After(time.Duration(r.random.Int64N(int64(creationMax))))
		r.cut()
		return
	}
	before := int64(0)
	if r.load != nil {
		before = r.load.Progress().Acknowledged
	}
	r.begin()
	r.awaitAcknowledged(before, acknowledgedMin)
	<-time.After(r.pause())
	r.cut()
}

// TestPower cuts the power of the unmodified gateway, whose files lie on a disk
// of their own. Whatever it had acknowledged before is in the sinks in the end, or
// in the file; the file sink's folder is on the same disk.
func TestPower(t *testing.T) {
	harness.SkipShort(t, "a minute")
	disk := newDisk(t)
	began, done, promised := time.Now(), 0, 0
	for round := 0; done < *cuts; round++ {
		t.Run(fmt.Sprintf("Round%d", round), func(t *testing.T) {
			r := newPowerRig(t, binaries.Path("gateway"), disk, fmt.Sprint(round))
			for range min(cutsPerRound, *cuts-done) {
				r.powerCycle()
				done++
			}
			promised += r.finishWell().Promised
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("in all: %d cuts in %v, %d acknowledged before them", done, time.Since(began).Round(time.Second), promised)
}

// powerMutants leave out a sync. No kill of a process could find them.
var powerMutants = []mutant{
	{
		// Syncs the queue at checkpoints only.
		name: "synchronous-normal", finds: "I1",
		changes: []harness.Change{{File: "server/sqlite/pragma.go", Old: `{"synchronous", "FULL", "2"}`, New: `{"synchronous", "NORMAL", "1"}`}},
	},
	{
		// Counts a batch as delivered that is in a file, but not yet on the disk.
		name: "file-sink-unsynced", finds: "I1",
		changes: []harness.Change{{File: "server/sink/filesink/files.go", Old: "\tif err := f.file.Sync(); err != nil {\n", New: "\tif err := error(nil); err != nil {\n"}},
	},
}

// TestPower_Mutant cuts the power of gateways that do not sync. Each of them has
// to be found.
func TestPower_Mutant(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	disk := newDisk(t)
	for _, mutant := range powerMutants {
		t.Run(mutant.name, func(t *testing.T) {
			binary, err := binaries.BuildOverlay(t.Context(), mutant.name, harness.Overlay{Changes: mutant.changes})
			harness.Must(t, err)
			r := newPowerRig(t, binary, disk, mutant.name)
			for number := 1; number <= mutantCycles; number++ {
				r.powerCycle()
				if r.load == nil {
					continue
				}
				if finding, found := r.verify("as it lies there", true).Finding(mutant.finds); found {
					t.Logf("found after %d cuts: %v", number, finding)
					return
				}
			}
			t.Errorf("%d cuts did not show it", mutantCycles)
		})
	}
}

// awaitFailure waits until the gateway has ended because of a failed write.
func (r *rig) awaitFailure() {
	t := r.t
	t.Helper()
	process := r.gateway.Process()
	code, err := process.Wait(harness.Within(t, patience))
	harness.Must(t, err)
	log := process.Log()
	if code != 1 || !strings.Contains(log, "a write has failed") {
		t.Fatalf("exit code %d, want 1 and a word of the failed write: %s", code, process.LogTail())
	}
	if strings.Contains(log[strings.LastIndex(log, "gateway started"):], "gateway stopped") {
		t.Errorf("the gateway stopped in order after a failed write: %s", process.LogTail())
	}
}

// TestFailedSync has writes and syncs fail under a running gateway. It has to
// end at once; the next start, the clients' repetitions and a power cut must lose
// nothing.
func TestFailedSync(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	t.Run("DiskGone", func(t *testing.T) {
		r := newPowerRig(t, binaries.Path("gateway"), newDisk(t), "gone")
		for range 5 {
			before := int64(0)
			if r.load != nil {
				before = r.load.Progress().Acknowledged
			}
			r.begin()
			r.awaitAcknowledged(before, acknowledgedMin)
			r.noteEnd()
			doubt := verify.Interval{From: acklog.Now(), Wall: time.Now()}
			harness.Must(t, r.disk.Cut())
			r.awaitFailure()
			r.awaitCut()
			doubt.To = acklog.Now()
			r.doubted = append(r.doubted, doubt)
			harness.Must(t, r.disk.Unmount())
			harness.Must(t, r.disk.Mount())
			r.powerCycle()
		}
		r.finishWell()
	})
	t.Run("OneSyncFails", testOneSyncFails)
}

// testOneSyncFails lets one sync of the queue fail while the disk is well: the
// double fault is that the kernel shows the next start what is not on the disk.
func testOneSyncFails(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("letting one sync fail needs strace, which make peers installs: %v", err)
	}
	r := newPowerRig(t, binaries.Path("gateway"), newDisk(t), "sync")
	r.cycle()
	for range 3 {
		trace := filepath.Join(r.gateway.Dir, "strace.txt")
		fault := fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", 5+r.random.IntN(30))
		r.gateway.Wrapper = []string{"strace", "-f", "-qq", "-o", trace, "-e", "trace=fdatasync", "-e", fault}
		r.begin()
		r.awaitFailure()
		r.noteEnd()
		r.awaitCut()
		if _, err := os.Stat(filepath.Join(r.gateway.DataDir(), "queue.db-wal")); err != nil {
			t.Errorf("the WAL is gone: the gateway closed the file after a failed sync: %v", err)
		}
		r.gateway.Wrapper = nil
		r.powerCycle()
	}
	r.finishWell()
}
