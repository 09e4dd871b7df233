package queue

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/sqlite"
)

// TestQueue_CheckFiles removes the WAL and its index from under a queue. What was
// acknowledged before somebody looked is in the file that has kept its name, for
// whoever kills the gateway then; what comes later is there once Run has ended.
func TestQueue_CheckFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	accepted(t, q, large(0, 5))
	if err := q.CheckFiles(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path+"-wal"), os.Remove(path+"-shm")); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, large(5, 5))
	taken, ok := errors.AsType[*sqlite.TakenAwayError](q.CheckFiles())
	if !ok || taken.Path != path+"-wal" {
		t.Fatalf("got %v, want that the WAL was taken away", taken)
	}
	killed := filepath.Join(t.TempDir(), "queue.db")
	content, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(killed, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, large(10, 5))
	stop()
	for path, want := range map[string]int{killed: 10, path: 15} {
		q, stop := run(t, Settings{Path: path})
		if got := len(leaseAll(t, q, 1)); got != want {
			t.Errorf("%s: leased %d of %d", path, got, want)
		}
		stop()
	}
}
