package filesink

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

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
