package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

// TestQueue_Corrupt looks at a file whose pages became unreadable for SQLite while
// it is served. Whoever meets that first, the process is to end.
func TestQueue_Corrupt(t *testing.T) {
	for name, look := range map[string]func(ctx context.Context, q *Queue) error{
		"Lease": func(ctx context.Context, q *Queue) error {
			_, err := q.leaseNow(ctx, q.registry.all()[0], edge.LeaseLimit{Records: 9, Bytes: 1 << 20})
			return err
		},
		"Losses": func(ctx context.Context, q *Queue) error {
			_, err := q.Losses(ctx, edge.LossFilter{}, 0, 10)
			return err
		},
		"DeadLetters": func(ctx context.Context, q *Queue) error {
			_, err := q.DeadLetters(ctx, edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 10)
			return err
		},
		"Journey": func(ctx context.Context, q *Queue) error {
			_, err := q.Journey(ctx, edge.NewCorrelationID(time.Now(), 4, 0, q.logs.Current))
			return err
		},
		"Ledger": func(ctx context.Context, q *Queue) error {
			_, err := q.Recount(ctx)
			return err
		},
		"Sizes": func(ctx context.Context, q *Queue) error { return q.scanSizes(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			q, err := Open(t.Context(), Settings{Path: stopped(t)}, observe.NewDiscard())
			if err != nil {
				t.Fatal(err)
			}
			ruin(t, q.settings.Path)
			if err := look(t.Context(), q); err == nil {
				t.Error("what cannot be read was read")
			}
			select {
			case <-q.broken:
			default:
				t.Error("the queue would go on")
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The process ends with a mark for the next start, which looks at everything and
// goes on with what is whole.
func TestQueue_Corrupt_Restart(t *testing.T) {
	path := stopped(t)
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	ruin(t, path)
	err = q.Run(t.Context()) // it looks after itself
	if _, fatal := errors.AsType[*FatalError](err); !fatal || !isThere(t, path+".suspect") {
		t.Errorf("Run: %v; marked: %v", err, isThere(t, path+".suspect"))
	}
	after := filepath.Join(t.TempDir(), "queue.db") // as the next process finds it
	for _, suffix := range []string{"", "-wal", ".suspect"} {
		if content, err := os.ReadFile(path + suffix); err == nil {
			if err := os.WriteFile(after+suffix, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	q, stop := run(t, Settings{Path: after})
	defer stop()
	if q.ledger.read().Salvaged != 1 || isThere(t, after+".suspect") {
		t.Errorf("ledger %+v, want a salvaged file", q.ledger.read())
	}
	accepted(t, q, large(50, 2))
}

// ruin writes over everything but the first page of a file.
func ruin(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	garbage := make([]byte, info.Size()-sqlite.PageBytes)
	for i := range garbage {
		garbage[i] = 0xA5
	}
	if _, err := file.WriteAt(garbage, sqlite.PageBytes); err != nil {
		t.Fatal(err)
	}
	// Never closed: that could let go of SQLite's locks.
	t.Cleanup(func() { _ = file.Close() })
}
