package queue

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

// uncheckpointed opens a queue of which nothing was moved out of the WAL yet, and returns
// what reports whether that has changed.
func uncheckpointed(t *testing.T) (q *Queue, moved func() bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
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
	return q, func() bool { return !bytes.Equal(before, content()) }
}

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
			q, moved := uncheckpointed(t)
			c := newCommitter(q)
			nudge(c.checkpointer.request)
			if test.failure != nil {
				_ = c.fail(test.failure)
			}
			c.checkpointer.stop()
			c.checkpointer.run()
			if moved() != test.moves {
				t.Errorf("the database file has changed: %v, want %v", !test.moves, test.moves)
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
			q, moved := uncheckpointed(t)
			c := newCommitter(q)
			c.checkpointer.beside = true
			if _, err := c.checkpointer.wrote(test.appended); err != nil {
				t.Fatal(err)
			}
			if test.failure != nil {
				_ = c.fail(test.failure)
			}
			c.finishCheckpoint(test.ended)
			if moved() != test.moves {
				t.Errorf("the database file has changed: %v, want %v", !test.moves, test.moves)
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
		due, err := c.wrote(17 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if requests := len(c.request); requests != want || due != (want > 0) {
			t.Fatalf("%d requests, want %d; said to be due: %v", requests, want, due)
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

// driven is a committer of a queue with so much room, on a disk in memory. Its
// checkpoints are the test's to make.
type driven struct {
	*committer
	assembled, committed chan *group
	commits              int
}

func newDriven(t *testing.T, maxBytes int64) *driven {
	t.Helper()
	settings := simulatedSettings(simulated(t, 0))
	settings.MaxBytes = maxBytes
	q, err := Open(t.Context(), settings, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	d := &driven{committer: newCommitter(q), assembled: make(chan *group), committed: make(chan *group)}
	ended := make(chan error)
	go func() { ended <- d.run(context.Background(), d.assembled, d.committed) }()
	t.Cleanup(func() {
		q.broken <- errors.New("the test ends")
		close(d.assembled)
		<-ended
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// commit commits one message.
func (d *driven) commit(t *testing.T) {
	t.Helper()
	g := &group{entries: edgetest.Entries(1, 1, 1)}
	g.entries[0].Record = edgetest.Record("dev", d.commits)
	d.q.assembler.assemble(g)
	d.assembled <- g
	if <-d.committed; g.failure != nil {
		t.Fatal(g.failure)
	}
	d.commits++
	synctest.Wait()
}

// untilAsked commits until a checkpoint is requested.
func (d *driven) untilAsked(t *testing.T) {
	t.Helper()
	for began := d.commits; len(d.checkpointer.request) == 0; d.commit(t) {
		if d.commits > began+1000 {
			t.Fatalf("nobody asked for a checkpoint in %d commits", d.commits-began)
		}
	}
	<-d.checkpointer.request
}

// end tells the committer that the checkpoint has ended.
func (d *driven) end(t *testing.T) {
	t.Helper()
	select {
	case d.checkpointer.ended <- nil:
		synctest.Wait()
	default:
		t.Fatal("the committer has not looked how the last checkpoint ended")
	}
}

// TestCommitter_run/WALIsUsedAgain lets a commit come while each checkpoint runs
// beside the committer, so that none of them can move everything. A WAL that a reader
// holds for longer still counts against the hard bound. In a small queue a commit of
// one message is more than a little; still not each of them pays for a checkpoint.
func TestCommitter_run(t *testing.T) {
	bubble(t, "WALIsUsedAgain", func(t *testing.T) {
		d := newDriven(t, 64<<20)
		bounds := d.q.bounds
		for range 2 * bounds.walHard / bounds.walSoft {
			d.untilAsked(t)
			// A reader of the snapshot that the checkpoint began with keeps it from
			// moving what comes meanwhile.
			err := d.q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
				if _, err := conn.Usage(); err != nil {
					return err
				}
				d.commit(t)
				wal, err := d.q.db.Checkpoint()
				if err == nil && wal.Left == 0 {
					t.Error("the checkpoint has moved everything")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			d.end(t)
		}
		if length, err := d.q.db.WALBytes(); err != nil || length > 2*bounds.walSoft {
			t.Errorf("after %d commits the WAL takes %d bytes, error %v; a checkpoint began at %d", d.commits, length, err, bounds.walSoft)
		}
	})
	bubble(t, "ReaderHoldsWAL", func(t *testing.T) {
		d := newDriven(t, 64<<20)
		err := d.q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
			if _, err := conn.Usage(); err != nil {
				return err
			}
			d.untilAsked(t)
			d.end(t)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d.checkpointer.length < d.q.bounds.walSoft {
			t.Errorf("the committer believes that the WAL holds %d bytes, but none of %d could be moved", d.checkpointer.length, d.q.bounds.walSoft)
		}
	})
	bubble(t, "SmallQueue", func(t *testing.T) {
		d := newDriven(t, 16<<20)
		const checkpoints = 20
		for range checkpoints {
			d.untilAsked(t)
			d.commit(t)
			d.end(t)
		}
		if d.commits < 4*checkpoints {
			t.Errorf("%d checkpoints for %d commits", checkpoints, d.commits)
		}
	})
}
