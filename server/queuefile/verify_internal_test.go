package queuefile

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/sqlite"
)

// TestVerification_Run_Ended lets whoever asked be gone once the file is open: a
// backlog takes minutes to read.
func TestVerification_Run_Ended(t *testing.T) {
	db, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	encoder, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		for i := range 10 {
			encoder.Reset()
			record := edgetest.Record("dev", i+1)
			encoder.Add(&record, 1)
			row := StoredFrame{First: edge.Position(i + 1), Count: 1, Owed: 1, Raw: int64(encoder.Size()), Body: encoder.Body(edge.Position(i + 1))}
			if err := row.Insert(conn); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, pacerOf := range map[string]func(context.Context) *pacer{"Gentle": newGentlePacer, "Quick": newPacer} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var v Verification
			err := v.run(t.Context(), db, pacerOf(ctx))
			if !errors.Is(err, context.Canceled) || v.Frames > 0 {
				t.Errorf("read %d frames, and ended with %v", v.Frames, err)
			}
		})
	}
	var v Verification
	if err := v.run(t.Context(), db, nil); err != nil || v.Frames != 10 {
		t.Errorf("nobody is gone: read %d frames, %v", v.Frames, err)
	}
}
