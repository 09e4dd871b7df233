package queue

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

// TestCheckpointer_run asks for a checkpoint before the goroutine looks.
func TestCheckpointer_run(t *testing.T) {
	for name, test := range map[string]struct {
		failure error
		moves   bool
	}{
		"Moves":               {nil, true},
		"NothingAfterFailure": {errors.New("input/output error"), false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			if _, err := q.EnsureSinks(t.Context(), []SinkSpec{{Name: "sink-1", Kind: "test"}}); err != nil {
				t.Fatal(err)
			}
			content := func() []byte {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return content
			}
			before := content()
			c := newCommitter(q)
			nudge(c.checkpointer.request)
			if test.failure != nil {
				_ = c.fail(test.failure)
			}
			c.checkpointer.stop()
			c.checkpointer.run()
			if moved := !bytes.Equal(before, content()); moved != test.moves {
				t.Errorf("the database file has changed: %v, want %v", moved, test.moves)
			}
			if told := len(c.checkpointer.ended) == 1; told != test.moves {
				t.Errorf("the committer was told: %v, want %v", told, test.moves)
			}
		})
	}
}

// TestCheckpointer_finish tells the committer, which has failed or not, that a
// checkpoint beside it has ended, after commits of so many bytes.
func TestCheckpointer_finish(t *testing.T) {
	for name, test := range map[string]struct {
		appended int64
		failure  error // of the committer, before
		ended    error // of the checkpoint
		moves    bool
		fails    bool
	}{
		"MovesALittle":        {appended: 2 << 20, moves: true},
		"LeavesMuch":          {appended: 2<<20 + 1},
		"NothingAfterFailure": {failure: errors.New("input/output error")},
		"CheckpointFailed":    {ended: &sqlite.Error{Statement: "PRAGMA wal_checkpoint", Code: 10, Err: errors.New("disk I/O error")}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			if _, err := q.EnsureSinks(t.Context(), []SinkSpec{{Name: "sink-1", Kind: "test"}}); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c := newCommitter(q)
			c.checkpointer.beside = true
			if err := c.checkpointer.wrote(test.appended); err != nil {
				t.Fatal(err)
			}
			if test.failure != nil {
				_ = c.fail(test.failure)
			}
			c.finishCheckpoint(test.ended)
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if moved := !bytes.Equal(before, after); moved != test.moves {
				t.Errorf("the database file has changed: %v, want %v", moved, test.moves)
			}
			if fails := c.failed != nil; fails != (test.fails || test.failure != nil) {
				t.Errorf("the committer has failed: %v", c.failed)
			}
		})
	}
}

// TestCheckpointer_wrote lets more than the soft bound come while a checkpoint runs.
// A second one is requested when the first has ended, not before: the committer
// would wait for it.
func TestCheckpointer_wrote(t *testing.T) {
	c := newCheckpointer(nil, 16<<20, 64<<20)
	write := func(want int) {
		t.Helper()
		if err := c.wrote(17 << 20); err != nil {
			t.Fatal(err)
		}
		if requests := len(c.request); requests != want {
			t.Errorf("%d requests, want %d", requests, want)
		}
	}
	write(1)
	<-c.request
	write(0)
	if err := c.finish(nil); err != nil {
		t.Fatal(err)
	}
	write(1)
}

// TestCommitter_run/WALIsUsedAgain lets a commit come while each checkpoint runs
// beside the committer, so that none of them can move everything.
func TestCommitter_run(t *testing.T) {
	bubble(t, "WALIsUsedAgain", func(t *testing.T) {
		settings := simulatedSettings(simulated(t, 0))
		settings.MaxBytes = 64 << 20
		q, err := Open(t.Context(), settings, observe.NewDiscard())
		if err != nil {
			t.Fatal(err)
		}
		c, assembled, committed := newCommitter(q), make(chan *group), make(chan *group)
		ended := make(chan error)
		go func() { ended <- c.run(t.Context(), assembled, committed) }()
		commits := 0
		commit := func() {
			g := &group{entries: edgetest.Entries(1, 1, 1)}
			g.entries[0].Record = edgetest.Record("dev", commits)
			q.assembler.assemble(g)
			assembled <- g
			if <-committed; g.failure != nil {
				t.Fatal(g.failure)
			}
			commits++
			synctest.Wait()
		}
		for range 2 * q.bounds.walHard / q.bounds.walSoft {
			for len(c.checkpointer.request) == 0 {
				commit()
			}
			<-c.checkpointer.request
			// A reader of the snapshot that the checkpoint began with keeps it from
			// moving what comes meanwhile.
			err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
				if _, err := conn.Usage(); err != nil {
					return err
				}
				commit()
				wal, err := q.db.Checkpoint()
				if err == nil && wal.Left == 0 {
					t.Error("the checkpoint has moved everything")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			c.checkpointer.ended <- nil
			synctest.Wait()
		}
		if length, err := q.db.WALBytes(); err != nil || length > 2*q.bounds.walSoft {
			t.Errorf("after %d commits the WAL takes %d bytes, error %v; a checkpoint began at %d", commits, length, err, q.bounds.walSoft)
		}
		q.broken <- errors.New("the test ends")
		close(assembled)
		<-ended
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}
