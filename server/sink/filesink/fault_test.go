package filesink_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"combotto.io/gateway/server/edge"
)

// expectOutcome compares everything but the text of the excerpt, which has to
// be there.
func expectOutcome(t *testing.T, want, got edge.Outcome) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(edge.Outcome{}, "Excerpt")); diff != "" || got.Excerpt == "" {
		t.Errorf("excerpt %q: %s", got.Excerpt, diff)
	}
}

func TestSink_Faults(t *testing.T) {
	t.Run("FullDisk", fullDisk)
	t.Run("WriteThatFailsMidway", writeThatFailsMidway)
	t.Run("NotADirectory", notADirectory)
	t.Run("PermissionDenied", permissionDenied)
	t.Run("HangingDisk", hangingDisk)
	t.Run("TakenAway", takenAway)
}

// takenAway has what operators do to files that are being written. What is
// acknowledged afterwards has to be in the folder.
func takenAway(t *testing.T) {
	const first, second = "2000-01-01/00-00000000000000000001.ndjson", "2000-01-01/00-00000000000000000003.ndjson"
	for name, take := range map[string]func(dir string) error{
		"File":         func(dir string) error { return os.Remove(filepath.Join(dir, first)) },
		"Day":          func(dir string) error { return os.RemoveAll(filepath.Join(dir, "2000-01-01")) },
		"Folder":       os.RemoveAll,
		"RenamedFile":  func(dir string) error { return os.Rename(filepath.Join(dir, first), dir+".old") },
		"RenamedDay":   func(dir string) error { return os.Rename(filepath.Join(dir, "2000-01-01"), dir+".old") },
		"ReplacedFile": func(dir string) error { return replace(filepath.Join(dir, first)) },
		"EmptiedFile":  func(dir string) error { return os.Truncate(filepath.Join(dir, first), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "out")
				sink := open(t, dir)
				deliver(t, sink, 1, 2)
				if err := take(dir); err != nil {
					t.Fatal(err)
				}
				deliver(t, sink, 3, 2)
				deliver(t, sink, 5, 1)
				want := map[string][]uint64{second: {3, 4, 5}}
				if name == "ReplacedFile" || name == "EmptiedFile" {
					want[first] = []uint64{}
				}
				expect(t, dir, want)
				if current, err := os.ReadFile(filepath.Join(dir, ".current")); err != nil || string(current) != second+"\n" {
					t.Errorf(".current is %q, %v", current, err)
				}
			})
		})
	}
}

// replace puts an empty file in the place of another.
func replace(path string) error {
	if err := os.WriteFile(path+".new", nil, 0o640); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func fullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The file that the first batch is bound to open is a device that is
		// always full.
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "2000-01-01"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/full", filepath.Join(dir, "2000-01-01/00-00000000000000000001.ndjson")); err != nil {
			t.Fatal(err)
		}
		sink := open(t, dir)
		expectOutcome(t, edge.Outcome{Class: edge.Unavailable, Status: "no space left on device"}, sink.Deliver(t.Context(), batch(1, 2)))
		deliver(t, sink, 1, 2)
		expect(t, dir, map[string][]uint64{"2000-01-01/00-00000000000000000001.ndjson": {1, 2}})
	})
}

func writeThatFailsMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		sink := open(t, dir)
		deliver(t, sink, 1, 2)
		func() {
			defer limitFileSize(t, 4096)()
			expectOutcome(t, edge.Outcome{Class: edge.Unavailable, Status: "file too large"}, sink.Deliver(t.Context(), batch(3, 100)))
		}()
		// What the failed write left is gone before anything else happens.
		expect(t, dir, map[string][]uint64{"2000-01-01/00-00000000000000000001.ndjson": {1, 2}})
		deliver(t, sink, 3, 100)
		want := map[string][]uint64{"2000-01-01/00-00000000000000000001.ndjson": {1, 2}}
		for n := range uint64(100) {
			want["2000-01-01/00-00000000000000000003.ndjson"] = append(want["2000-01-01/00-00000000000000000003.ndjson"], 3+n)
		}
		expect(t, dir, want)
	})
}

func notADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		expectOutcome(t, edge.Outcome{Class: edge.Misconfigured, Status: "not a directory"}, open(t, dir).Deliver(t.Context(), batch(1, 1)))
	}
}

func permissionDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere; TestOutcomeOf has the rule")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	expectOutcome(t, edge.Outcome{Class: edge.Misconfigured, Status: "permission denied"}, open(t, dir).Deliver(t.Context(), batch(1, 1)))
}

func hangingDisk(t *testing.T) {
	// A pipe that nobody reads hangs in open(2), as a lost network drive does.
	dir := t.TempDir()
	pipe := filepath.Join(dir, ".current")
	if err := syscall.Mkfifo(pipe, 0o640); err != nil {
		t.Fatal(err)
	}
	sink := open(t, dir)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		expectOutcome(t, edge.Outcome{Class: edge.Unavailable, Status: "timeout"}, sink.Deliver(ctx, batch(1, 1)))
		cancel()
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // the drive is back
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	deliver(t, sink, 1, 1)
}

// limitFileSize makes writes beyond limit fail, as a quota does, until the
// returned function is called.
func limitFileSize(t *testing.T, limit uint64) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
	}
}
