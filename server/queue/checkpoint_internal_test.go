package queue

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/observe"
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
		})
	}
}
