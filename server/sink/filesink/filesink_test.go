package filesink_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sink/filesink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *filesink.Sink {
	t.Helper()
	sink := filesink.New(filesink.Settings{Dir: dir, Gateway: "gw-1"}, observe.NewDiscard())
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	return sink
}

// batch returns deliveries with the positions first to first+count-1, which
// their sequences repeat.
func batch(first, count int) []edge.Delivery {
	deliveries := make([]edge.Delivery, count)
	for i := range deliveries {
		record := edgetest.Record("dev-1", first+i)
		record.Position = edge.Position(first + i)
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, record.Position, 0, 1)
		deliveries[i] = edge.Delivery{Record: record}
	}
	return deliveries
}

func deliver(t *testing.T, sink edge.Sink, first, count int) {
	t.Helper()
	if outcome := sink.Deliver(t.Context(), batch(first, count)); outcome.Class != edge.Delivered {
		t.Fatalf("got %+v, want Delivered", outcome)
	}
}

// deliverAndEnd delivers as a process does that ends behind it.
func deliverAndEnd(t *testing.T, dir string, first, count int) {
	t.Helper()
	sink := filesink.New(filesink.Settings{Dir: dir, Gateway: "gw-1"}, observe.NewDiscard())
	deliver(t, sink, first, count)
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents returns the sequences in each file below dir; every line has to be
// a record.
func contents(t *testing.T, dir string) map[string][]uint64 {
	t.Helper()
	files := make(map[string][]uint64)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = []uint64{}
		for line := range bytes.Lines(text) {
			var record struct {
				CorrelationID string `json:"correlation_id"`
				Gateway       string `json:"gateway_id"`
				Sequence      uint64
			}
			if err := json.Unmarshal(line, &record); err != nil || !bytes.HasSuffix(line, []byte("\n")) || record.Gateway != "gw-1" {
				return fmt.Errorf("%s: line %q: %v", name, line, err)
			}
			files[name] = append(files[name], record.Sequence)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func expect(t *testing.T, dir string, want map[string][]uint64) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestSink_Contract(t *testing.T) {
	edgetest.TestSink(t, func(t *testing.T) edge.Sink { return open(t, t.TempDir()) })
}

// TestSink_OneFolder lets two sinks write to one folder, which a link gives another
// name. Only one of them may, and what it has delivered stays.
func TestSink_OneFolder(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	first, second := filesink.New(filesink.Settings{Dir: dir, Gateway: "gw-1"}, observe.NewDiscard()), open(t, link)
	expectOnly := func() {
		t.Helper()
		outcome := second.Deliver(t.Context(), batch(100, 3))
		if outcome.Class != edge.Misconfigured || outcome.Status != "folder in use" || !strings.Contains(outcome.Excerpt, link) {
			t.Errorf("got %+v, want Misconfigured with the folder", outcome)
		}
	}
	deliver(t, first, 1, 2)
	expectOnly()
	deliver(t, first, 3, 2)
	if err := os.Remove(filepath.Join(dir, ".lock")); err != nil { // somebody tidies up
		t.Fatal(err)
	}
	deliver(t, first, 5, 1)
	expectOnly()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	deliver(t, second, 6, 2)
	var got []uint64
	for _, name := range slices.Sorted(maps.Keys(contents(t, dir))) {
		got = append(got, contents(t, dir)[name]...)
	}
	if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6, 7}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSink_Deliver(t *testing.T) {
	t.Run("RollsByTheHourOfWriting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // the bubble begins at midnight of 2000-01-01, UTC
			dir := filepath.Join(t.TempDir(), "not", "there", "yet")
			sink := open(t, dir)
			deliver(t, sink, 5, 2)
			deliver(t, sink, 7, 1)
			<-time.After(23*time.Hour + 30*time.Minute)
			deliver(t, sink, 8, 1)
			<-time.After(time.Hour)
			deliver(t, sink, 9, 2)
			expect(t, dir, map[string][]uint64{
				"2000-01-01/00-00000000000000000005.ndjson": {5, 6, 7},
				"2000-01-01/23-00000000000000000008.ndjson": {8},
				"2000-01-02/00-00000000000000000009.ndjson": {9, 10},
			})
			current, err := os.ReadFile(filepath.Join(dir, ".current"))
			if got := string(current); err != nil || got != "2000-01-02/00-00000000000000000009.ndjson\n" {
				t.Errorf(".current is %q, %v", got, err)
			}
		})
	})
	t.Run("SaysWhere", func(t *testing.T) {
		dir := t.TempDir()
		outcome := open(t, dir).Deliver(t.Context(), batch(1, 1))
		if _, err := os.Stat(filepath.Join(dir, outcome.Excerpt)); err != nil || outcome.Status != "synced" {
			t.Errorf("got %+v, want the path of the file: %v", outcome, err)
		}
	})
	t.Run("KeepsOthersOut", func(t *testing.T) {
		dir := t.TempDir()
		outcome := open(t, dir).Deliver(t.Context(), batch(1, 1))
		for path, want := range map[string]fs.FileMode{outcome.Excerpt: 0o640, filepath.Dir(outcome.Excerpt): fs.ModeDir | 0o750} {
			if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode()&^0o022 != want&^0o022 {
				t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, want)
			}
		}
	})
	t.Run("BatchesStayTogether", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			sink := open(t, dir)
			var slots sync.WaitGroup
			for slot := range 4 {
				slots.Go(func() {
					for n := range 20 {
						deliver(t, sink, 1000*slot+10*n, 10)
					}
				})
			}
			slots.Wait()
			for name, sequences := range contents(t, dir) {
				if len(sequences) != 800 {
					t.Errorf("%s has %d records, want 800", name, len(sequences))
				}
				for i, sequence := range sequences {
					if sequence%10 != uint64(i%10) {
						t.Fatalf("%s: record %d has sequence %d: batches are mixed", name, i, sequence)
					}
				}
			}
		})
	})
}

// hour is where files are written when a bubble begins.
const hour = "2000-01-01/00-"

// tear leaves text behind the last line of a file, as a crash does.
func tear(t *testing.T, dir, name, text string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestSink_Mend(t *testing.T) {
	for name, tail := range map[string]string{
		"HalfALine":          `{"correlation_id":"0`,
		"OneByte":            "{",
		"LongerThanOneChunk": strings.Repeat("x", 200<<10),
		"Zeros":              strings.Repeat("\x00", 4096),
	} {
		t.Run("SameHour"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				deliverAndEnd(t, dir, 1, 2)
				tear(t, dir, hour+"00000000000000000001.ndjson", tail)
				deliverAndEnd(t, dir, 3, 1)
				expect(t, dir, map[string][]uint64{hour + "00000000000000000001.ndjson": {1, 2, 3}})
			})
		})
		t.Run("EarlierHour"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				deliverAndEnd(t, dir, 1, 2)
				tear(t, dir, hour+"00000000000000000001.ndjson", tail)
				<-time.After(48 * time.Hour)
				deliverAndEnd(t, dir, 3, 1)
				expect(t, dir, map[string][]uint64{
					hour + "00000000000000000001.ndjson":        {1, 2},
					"2000-01-03/00-00000000000000000003.ndjson": {3},
				})
			})
		})
	}
	t.Run("SameBatchGoesOnInItsFile", sameBatchGoesOnInItsFile)
	t.Run("OrderOfNamesIsThatOfDelivery", orderOfNamesIsThatOfDelivery)
	t.Run("NamedButNeverMade", namedButNeverMade)
	t.Run("OnlyItsOwnFiles", onlyItsOwnFiles)
}

func sameBatchGoesOnInItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		deliverAndEnd(t, dir, 1, 2)
		tear(t, dir, hour+"00000000000000000001.ndjson", `{"half`)
		deliverAndEnd(t, dir, 1, 3)
		expect(t, dir, map[string][]uint64{hour + "00000000000000000001.ndjson": {1, 2, 1, 2, 3}})
	})
}

// orderOfNamesIsThatOfDelivery has a batch come first that begins below the
// position in the name of the file that was being written.
func orderOfNamesIsThatOfDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		deliverAndEnd(t, dir, 3, 2)
		deliverAndEnd(t, dir, 1, 6)
		expect(t, dir, map[string][]uint64{hour + "00000000000000000003.ndjson": {3, 4, 1, 2, 3, 4, 5, 6}})
		// A file that was taken away is not begun again under its name.
		if err := os.Remove(filepath.Join(dir, hour+"00000000000000000003.ndjson")); err != nil {
			t.Fatal(err)
		}
		deliverAndEnd(t, dir, 5, 2)
		expect(t, dir, map[string][]uint64{hour + "00000000000000000005.ndjson": {5, 6}})
	})
}

// namedButNeverMade has a crash come between naming the next file and making it.
// The batch that comes again begins below the file before it.
func namedButNeverMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		deliverAndEnd(t, dir, 3, 2)
		if err := os.WriteFile(filepath.Join(dir, ".current"), []byte(hour+"00000000000000000004.ndjson\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		deliverAndEnd(t, dir, 1, 2)
		expect(t, dir, map[string][]uint64{hour + "00000000000000000003.ndjson": {3, 4}, hour + "00000000000000000005.ndjson": {1, 2}})
	})
}

func onlyItsOwnFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "precious.ndjson")
	for _, name := range []string{"../precious.ndjson", outside, "precious.ndjson", "2000-01-01/../precious.ndjson"} {
		dir := filepath.Join(filepath.Dir(outside), "out")
		for path, text := range map[string]string{
			outside: "no line feed", filepath.Join(dir, "precious.ndjson"): "no line feed", filepath.Join(dir, ".current"): name + "\n",
		} {
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		deliverAndEnd(t, dir, 1, 1)
		for _, path := range []string{outside, filepath.Join(dir, "precious.ndjson")} {
			if text, err := os.ReadFile(path); err != nil || string(text) != "no line feed" {
				t.Errorf(".current names %s: %s became %q, %v", name, path, text, err)
			}
		}
	}
}
