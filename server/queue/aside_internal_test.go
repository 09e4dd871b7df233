package queue

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// logged opens a queue and returns what the start logs.
func logged(t *testing.T, settings Settings) string {
	t.Helper()
	log, err := loggedStart(t, settings)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// loggedStart is logged for a start that may fail.
func loggedStart(t *testing.T, settings Settings) (log string, err error) {
	t.Helper()
	var text bytes.Buffer
	observer := observe.NewDiscard()
	observer.Log = slog.New(slog.NewJSONHandler(&text, nil))
	q, err := Open(t.Context(), settings, observer)
	if err == nil {
		err = q.Close()
	}
	return text.String(), err
}

// asideOf lists what stands beside a database under names of files set aside.
func asideOf(t *testing.T, path string) []string {
	t.Helper()
	return slices.DeleteFunc(leftBeside(t, path), func(name string) bool {
		return !strings.Contains(name, ".damaged-") && !strings.Contains(name, ".replaced-")
	})
}

// Of files all of which was salvaged the newest two are kept, and the log says which
// one goes; those that hold more are never removed.
func TestOpen_KeepsOldFiles(t *testing.T) {
	path := stopped(t)
	behead := func(b []byte) []byte { clear(b[:100]); return b }
	want := [][]string{{"1"}, {"1", "2"}, {"2", "3"}, {"1", "3"}, {"1", "2"}, {"2", "3"}}
	for n, numbers := range want {
		rewrite(t, path, behead)
		log := logged(t, Settings{Path: path})
		var names []string
		for _, number := range numbers {
			names = append(names, "queue.db.damaged-spent-"+number)
			if !strings.Contains(log, `"kept":"`+path+".damaged-spent-"+number+`"`) {
				t.Errorf("the log does not name %s: %s", number, log)
			}
		}
		if diff := cmp.Diff(names, asideOf(t, path)); diff != "" {
			t.Errorf("after %d: %s", n+1, diff)
		}
		if removed := strings.Contains(log, `"removed"`); removed != (n > 1) {
			t.Errorf("after %d: the log says that one was removed: %v", n+1, removed)
		}
	}
	damageIn(t, path, 5)
	rewrite(t, path, behead)
	logged(t, Settings{Path: path})
	if diff := cmp.Diff([]string{"queue.db.damaged-1", "queue.db.damaged-spent-2", "queue.db.damaged-spent-3"}, asideOf(t, path)); diff != "" {
		t.Errorf("a file with a damaged frame: %s", diff)
	}
	log := logged(t, Settings{Path: path})
	if strings.Count(log, "a file that was moved aside is still kept") != 3 {
		t.Errorf("a start that has nothing to mend does not name three files: %s", log)
	}
}

// A start that puts another file in the place of the queue's says so: it cannot know
// whether a crash has left it there, or somebody's hand.
func TestOpen_TellsOfReplacement(t *testing.T) {
	path := stopped(t)
	if log := logged(t, Settings{Path: path}); strings.Contains(log, "has taken the place") {
		t.Errorf("nothing was replaced: %s", log)
	}
	content, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(path+".compacted", content, 0o600)); err != nil {
		t.Fatal(err)
	}
	if log := logged(t, Settings{Path: path}); !strings.Contains(log, "has taken the place") || !strings.Contains(log, path+".compacted") {
		t.Errorf("the log does not tell: %s", log)
	}
}

// A file whose rows are damaged, and nothing else, is mended where it is, whether a
// start does it or an operator. Where a dead letter would be given up it is not.
func TestMend(t *testing.T) {
	for name, test := range map[string]struct {
		statement string
		kept      bool
	}{
		"Ledger": {"UPDATE ledger SET counted = counted + 100", false},
		"Owed":   {"UPDATE owed SET checksum = 1", false},
		"Counts": {"UPDATE sink SET delivered = delivered + 1", false},
		"Sink":   {"UPDATE sink SET cursor = 2, settled = x'', checksum = 1", true}, // with its letter
	} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			inFile(t, path, test.statement)
			done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
			if err != nil || done.Records != 6 || (done.Kept != "") != test.kept {
				t.Fatalf("got %+v, %v", done, err)
			}
			q, stop := run(t, Settings{Path: path})
			defer stop()
			got := PositionsOf(leaseAll(t, q, q.registry.all()[0].id))
			if undecided := []edge.Position{4, 5, 6}; !test.kept && !slices.Equal(got, undecided) {
				t.Errorf("leased %v, want %v", got, undecided)
			}
			if stats := q.Stats(); stats.Quarantined != 0 || stats.Salvaged != 1 {
				t.Errorf("quarantined %d, salvaged %d", stats.Quarantined, stats.Salvaged)
			}
			expectBalance(t, q, 6)
		})
	}
}
