package queuefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"combotto.io/gateway/server/sqlite"
)

// Files for which there is no name left are not written over.
func TestAsideNames_Exhausted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(asideDamaged.name(path, asideDamaged.most), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := asideDamaged.choose(sqlite.Disk{}, path); err == nil || !strings.Contains(err.Error(), "move the files") {
		t.Errorf("got %v, want a hint", err)
	}
}
