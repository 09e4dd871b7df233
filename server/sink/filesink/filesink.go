// Package filesink appends records to files, one JSON object per line, in a
// folder that other programs read or ship.
//
//	DIR/2026-11-22/18-00000000000000004711.ndjson   day and hour (UTC) in which it was written,
//	                                                position of the first record in it
//	DIR/.current                                    names the file that is being written
//	DIR/.lock                                       locked by whoever writes to the folder
//
// It promises that a batch is synced, and so is the name of its file, before it
// counts as delivered, and that readers find whole lines: a write that fails is
// cut off again, at once or, after a crash, before the next write. Records of a
// batch stand together and in order. The hour is that of writing, not of
// receiving: a file is complete when .current names another one. A start in the
// same hour goes on in the file that it names, so that the files, read in the
// order of their names, hold the records of a device in order. A file that is
// removed, renamed, replaced or emptied while it is being written is not written
// on: the next batch begins another one, and makes the folders again.
//
// A record that cannot be written as JSON is refused as unwritable; the others
// of its batch are written. A full or faulty disk is Unavailable; a folder that
// may not be written, or is none, or that another sink writes to, of this gateway
// or of another one, is Misconfigured. New touches no file, so that a disk which is
// not mounted yet keeps no gateway from starting.
//
// It does not delete, compress or limit files. Records come twice after a crash
// and after an attempt that outlived its deadline; correlation_id tells.
//
// Deliver is safe for concurrent use; batches are written one after the other.
// The package starts one goroutine per batch, because a write to a dead disk or
// a lost network drive cannot be interrupted: it outlives Deliver until the
// system call returns, and later batches wait for it. Tests use a temporary
// folder.
package filesink

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/wire"
)

// closeTimeout bounds how long Close waits for a write that hangs.
const closeTimeout = 5 * time.Second

// statusUnwritable is that of a record that cannot be written as JSON, and of a
// batch without any other.
const statusUnwritable = "unwritable"

// Settings say where to write.
type Settings struct {
	Dir     string
	Gateway edge.GatewayID
}

// Sink writes to the files of one folder. It implements [edge.Sink].
type Sink struct {
	renderers sync.Pool     // of *wire.Renderer, which serve one batch at a time
	turn      chan struct{} // holds the token of whoever may use files
	files     *files
}

// New returns a sink that has not touched its folder yet.
func New(settings Settings, observer *observe.Observer) *Sink {
	s := &Sink{turn: make(chan struct{}, 1), files: newFiles(settings.Dir, observer.Log)}
	s.renderers.New = func() any { return wire.NewRenderer(settings.Gateway) }
	s.turn <- struct{}{}
	return s
}

// Deliver implements [edge.Sink]. The excerpt of a delivered batch names the
// file that it is in.
func (s *Sink) Deliver(ctx context.Context, batch []edge.Delivery) edge.Outcome {
	lines, refused := s.render(batch)
	if len(refused) == len(batch) {
		return edge.Outcome{Class: edge.Delivered, Status: statusUnwritable, Refused: refused}
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ended(ctx)
	}
	if ctx.Err() != nil {
		s.turn <- struct{}{}
		return ended(ctx)
	}
	// Nothing of the batch is used below: it may belong to somebody else again
	// while a hanging write goes on.
	first := batch[0].Record.Position
	written := make(chan edge.Outcome, 1)
	go func() {
		path, err := s.files.append(lines, first, time.Now().UTC())
		s.turn <- struct{}{}
		written <- outcomeOf(path, err)
	}()
	select {
	case outcome := <-written:
		outcome.Refused = refused
		return outcome
	case <-ctx.Done():
		return ended(ctx)
	}
}

func (s *Sink) render(batch []edge.Delivery) (lines []byte, refused []edge.Refused) {
	renderer := s.renderers.Get().(*wire.Renderer)
	defer s.renderers.Put(renderer)
	for i := range batch {
		extended, err := renderer.AppendRecord(lines, &batch[i])
		if err != nil {
			refused = append(refused, edge.Refused{Index: i, Status: statusUnwritable, Excerpt: edge.Excerpt(err.Error()), Unwritable: true})
			continue
		}
		lines = append(extended, '\n')
	}
	return lines, refused
}

// Close implements [edge.Sink]. Everything delivered is on the disk already.
func (s *Sink) Close() error {
	select {
	case <-s.turn:
		return s.files.release()
	case <-time.After(closeTimeout):
		return errors.New("close file sink: a write is still under way")
	}
}

// outcomeOf sorts what went wrong by who can mend it.
func outcomeOf(path string, err error) edge.Outcome {
	if err == nil {
		return edge.Outcome{Class: edge.Delivered, Status: "synced", Excerpt: path}
	}
	outcome := edge.Outcome{Class: edge.Unavailable, Status: "write failed", Excerpt: err.Error()}
	if errors.Is(err, errClaimed) {
		outcome.Class, outcome.Status = edge.Misconfigured, "folder in use"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		outcome.Status = errno.Error()
		switch errno {
		case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG:
			outcome.Class = edge.Misconfigured
		}
	}
	return outcome
}

func ended(ctx context.Context) edge.Outcome {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return edge.Outcome{Class: edge.Unavailable, Status: "timeout", Excerpt: "the disk did not answer in time"}
	}
	return edge.Outcome{Class: edge.Unavailable, Status: "stopped"}
}
