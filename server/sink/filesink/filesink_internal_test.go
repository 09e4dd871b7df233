package filesink

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// TestFiles_makeDir lets one sync of a folder fail: the next batch makes up for it,
// before it counts as delivered.
func TestFiles_makeDir(t *testing.T) {
	parent := t.TempDir()
	for failing := range 3 {
		f := newFiles(filepath.Join(parent, fmt.Sprint(failing), "out"), slog.New(slog.DiscardHandler))
		var synced []string
		calls := 0
		f.sync = func(dir string) error {
			if calls++; calls == failing+1 {
				return syscall.EIO
			}
			synced = append(synced, dir)
			return syncDir(dir)
		}
		now := time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC)
		if _, err := f.append([]byte("{}\n"), 1, now); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync %d: got %v, want it to fail", failing, err)
		}
		if _, err := f.append([]byte("{}\n"), 1, now); err != nil {
			t.Fatal(err)
		}
		for dir := filepath.Join(f.dir, "2000-01-01"); dir != filepath.Dir(parent); dir = filepath.Dir(dir) {
			if !slices.Contains(synced, dir) {
				t.Errorf("sync %d: the names in %s are not durable: %v", failing, dir, synced)
			}
		}
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFiles_Append/TakenAwayMeanwhile looks inside, because nobody outside can
// remove a file at the right moment.
func TestFiles_Append(t *testing.T) {
	t.Run("TakenAwayMeanwhile", func(t *testing.T) {
		now := time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC)
		f := newFiles(t.TempDir(), slog.New(slog.DiscardHandler))
		path, err := f.append([]byte("{}\n"), 1, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(f.dir, path)); err != nil {
			t.Fatal(err)
		}
		if err := f.write([]byte("[]\n")); !errors.Is(err, errTakenAway) {
			t.Errorf("got %v, want %v", err, errTakenAway)
		}
		if got := outcomeOf("", errTakenAway).Class; got != edge.Unavailable {
			t.Errorf("got %v, want it tried again", got)
		}
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("OrderOfNamesIsThatOfWriting", func(t *testing.T) {
		now := time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC)
		f := newFiles(t.TempDir(), slog.New(slog.DiscardHandler))
		var got []string
		for _, first := range []edge.Position{50, 3, 3, 70} { // of batches of several slots
			path, err := f.append([]byte("{}\n"), first, now)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, path)
			f.abandon() // as after a write that failed
		}
		want := []string{
			"2000-01-01/00-00000000000000000050.ndjson", "2000-01-01/00-00000000000000000051.ndjson",
			"2000-01-01/00-00000000000000000052.ndjson", "2000-01-01/00-00000000000000000070.ndjson",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("FailedWriteRemovesNoOtherFile", func(t *testing.T) {
		now := time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC)
		f := newFiles(t.TempDir(), slog.New(slog.DiscardHandler))
		if err := f.roll(now.Format("2006-01-02/15"), 1); err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(f.dir, f.path)
		if err := errors.Join(os.Remove(other), os.WriteFile(other, []byte("precious"), 0o640)); err != nil {
			t.Fatal(err)
		}
		f.abandon()
		if text, err := os.ReadFile(other); err != nil || string(text) != "precious" {
			t.Errorf("got %q, %v", text, err)
		}
	})
}

func TestOutcomeOf(t *testing.T) {
	for errno, want := range map[syscall.Errno]edge.Class{
		syscall.EACCES: edge.Misconfigured, syscall.EPERM: edge.Misconfigured, syscall.EROFS: edge.Misconfigured,
		syscall.ENOTDIR: edge.Misconfigured, syscall.EISDIR: edge.Misconfigured, syscall.ENAMETOOLONG: edge.Misconfigured,
		syscall.ENOSPC: edge.Unavailable, syscall.EDQUOT: edge.Unavailable, syscall.EIO: edge.Unavailable,
		syscall.ENOENT: edge.Unavailable, syscall.ESTALE: edge.Unavailable, syscall.EMFILE: edge.Unavailable,
	} {
		err := fmt.Errorf("append to x: %w", &fs.PathError{Op: "write", Path: "x", Err: errno})
		got := outcomeOf("", err)
		if diff := cmp.Diff(edge.Outcome{Class: want, Status: errno.Error(), Excerpt: err.Error()}, got); diff != "" {
			t.Error(diff)
		}
	}
	if got := outcomeOf("", errors.New("file already closed")); got.Class != edge.Unavailable || got.Status != "write failed" {
		t.Errorf("got %+v", got)
	}
}
