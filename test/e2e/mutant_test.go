package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a fault: a file of the product with some places changed.
type mutant struct {
	name    string
	file    string      // below the root of the product's module
	changes [][2]string // what is there, and what takes its place
}

// acknowledgeEarly answers when a group's frame is ready, which is before its
// commit: the fault that TestCrash exists to find.
var acknowledgeEarly = mutant{
	name: "gateway-early",
	file: "server/queue/queue.go",
	changes: [][2]string{
		{"\t\tq.assembler.assemble(g)\n", "\t\tq.assembler.assemble(g)\n\t\tg.reply(nil)\n"},
		{"\t\tflush = g.reply(flush)\n", "\t\tflush = flush[:0] // answered already\n"},
	},
}

// build builds the gateway with the fault. A place that is no longer there stops
// the test: the mutant must follow the code.
func (m *mutant) build(t *testing.T) string {
	t.Helper()
	dir, original := t.TempDir(), filepath.Join(binaries.Root(), filepath.FromSlash(m.file))
	bytes, err := os.ReadFile(original)
	must(t, err)
	source := string(bytes)
	for _, change := range m.changes {
		if count := strings.Count(source, change[0]); count != 1 {
			t.Fatalf("%s holds the text to mutate %d times, want once; adapt the mutant:\n%s", m.file, count, change[0])
		}
		source = strings.Replace(source, change[0], change[1], 1)
	}
	mutated := filepath.Join(dir, "mutated.go")
	must(t, os.WriteFile(mutated, []byte(source), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutated}})
	must(t, err)
	path := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(path, overlay, 0o600))
	binary, err := binaries.BuildOverlay(t.Context(), path, m.name)
	must(t, err)
	return binary
}

// TestCrash_Mutant runs TestCrash against a gateway that acknowledges before the
// commit: if nothing is found missing there, TestCrash proves nothing.
func TestCrash_Mutant(t *testing.T) {
	skipShort(t, "half a minute")
	crash := newCrash(t, acknowledgeEarly.build(t))
	crash.cycles()
	crash.finish()
	lost := 0
	for sink, arrivals := range crash.arrivals {
		missing := len(arrivals.Missing(crash.acknowledged))
		t.Logf("%s lacks %d of %d messages that the mutant acknowledged", sink, missing, len(crash.acknowledged))
		lost += missing
	}
	if lost == 0 {
		t.Error("the mutant lost nothing: TestCrash would not notice a gateway that acknowledges too early")
	}
}
