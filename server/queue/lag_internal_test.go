package queue

import (
	"path/filepath"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// What a limit in bytes has given up, and a crash has undone before it was saved, is
// given up by the next start as well. Its lane may have delivered what came behind it:
// it would arrive after later messages of its device.
func TestQueue_MaxLagAfterACrash(t *testing.T) {
	bubble(t, "BordersOfSegments", func(t *testing.T) {
		settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
		sink := SinkSpec{Name: "sink-1", Kind: "test", Limits: Limits{MaxLagBytes: 150 << 10}}
		q, stop := run(t, settings)
		next := 0
		appendOne := func() {
			accepted(t, q, large(next, 1))
			next++
		}
		for range 9 {
			appendOne()
		}
		stop()
		q, cancel, done := Begin(t, settings, observe.NewDiscard(), sink)
		undone := 0
		for range 60 {
			<-time.After(2 * maintenanceInterval)
			appendOne()
			if err := q.expireAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			given := q.registry.all()[0].undecided(0)
			saved, again := givenUpAgain(t, crashed(t, q), sink)
			if again < given {
				t.Errorf("everything below %d was given up before the crash, below %d after it", given, again)
			}
			if saved < given {
				undone++
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if undone == 0 {
			t.Error("the crashes have undone nothing")
		}
	})
}

// givenUpAgain starts on a file, and returns what is decided of a sink at first, and
// once its limits were looked at.
func givenUpAgain(t *testing.T, path string, sink SinkSpec) (saved, given edge.Position) {
	t.Helper()
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, err := q.EnsureSinks(t.Context(), []SinkSpec{sink}); err != nil {
		t.Fatal(err)
	}
	account := q.registry.all()[0]
	saved = account.undecided(0)
	if err := q.scanSizes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.expireAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return saved, account.undecided(0)
}
