package queue

import (
	"context"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/edgetest"
)

// TestQueue_Recount_LargeFrames counts frames that are a piece each: the last one
// ends it, and one that is damaged is damaged once.
func TestQueue_Recount_LargeFrames(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	const each = 1 + pieceBytes/4000
	for i := range 3 {
		accepted(t, q, random(i*each, each))
	}
	recount := func() Recount {
		ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
		defer cancel()
		found, err := q.Recount(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := recount(); !found.Balanced() || found.Stored != 3*each {
		t.Errorf("got %+v, want %d messages stored", found, 3*each)
	}
	damage(t, q, 1+each)
	if found := recount(); found.Damaged != 1 || found.Stored != 2*each {
		t.Errorf("got %+v, want one of three frames damaged", found)
	}
}
