package crash_test

import (
	"slices"
	"testing"

	"combotto.io/gateway/test/harness"
)

// mutant is a fault that the tests of this package exist to find.
type mutant struct {
	name    string
	finds   string // the invariant that it breaks
	changes []harness.Change
}

// killMutants are those that a kill can find.
var killMutants = []mutant{
	{
		// Answers when a group's frame is ready, which is before its commit.
		name: "acknowledge-early", finds: "I1",
		changes: []harness.Change{
			{File: "server/queue/queue.go", Old: "\t\tq.assembler.assemble(g)\n", New: "\t\tq.assembler.assemble(g)\n\t\tg.reply(nil)\n"},
			{File: "server/queue/queue.go", Old: "\t\tflush = g.reply(flush)\n", New: "\t\tflush = flush[:0] // answered already\n"},
		},
	},
	{
		// Saves what is leased as decided: the cursor moves before the sink's reply.
		name: "cursor-early", finds: "I1",
		changes: []harness.Change{{
			File: "server/queue/save.go",
			Old:  "Cursor: a.cursor, Settled: a.settled.AppendTo([]byte{}, a.cursor),",
			New:  "Cursor: a.next, Settled: []byte{},",
		}},
	},
	{
		// Forgets the last commits' messages at a start: a device that sends again
		// what was not acknowledged has it stored twice.
		name: "window-forgets", finds: "I3",
		changes: []harness.Change{{File: "server/queue/recover.go", Old: "\t\tq.window.replayed(record)\n", New: ""}},
	},
	{
		// Gives up what has waited for 50 ms, and reports it. Nobody has set such a
		// limit.
		name: "expires-unasked", finds: "I1",
		changes: []harness.Change{{
			File: "server/gateway/gateway.go", Old: "RetentionUndelivered: time.Duration(g.Config.Retention.Undelivered),",
			New: "RetentionUndelivered: 50 * time.Millisecond,",
		}},
	},
	{
		// Saves settlements every 5 s, and seals nothing that would save them sooner:
		// a crash repeats many batches of a slot.
		name: "settlements-late", finds: "I3",
		changes: []harness.Change{
			{File: "server/queue/commit.go", Old: "\tsaveInterval = 25 * time.Millisecond\n", New: "\tsaveInterval = 5 * time.Second\n"},
			{File: "server/gateway/sinks.go", Old: "\t\t\tSealed: true, ", New: "\t\t\tSealed: false, "},
		},
	},
	{
		// Forgets at a start which batches were under way: they come again under
		// other names.
		name: "seal-forgotten", finds: "I3",
		changes: []harness.Change{{File: "server/queuefile/seal.go", Old: "\tfor len(rest.rest) > 0 {\n\t\tmembers, err", New: "\tfor false {\n\t\tmembers, err"}},
	},
}

// TestOverlays compiles what this package changes in the product, also what only
// tests that need root or a loop device would build.
func TestOverlays(t *testing.T) {
	overlays := map[string]harness.Overlay{"points": pointsOverlay(), "operations": operationsOverlay()}
	for _, mutant := range slices.Concat(killMutants, powerMutants) {
		overlays[mutant.name] = harness.Overlay{Changes: mutant.changes}
	}
	for name, overlay := range overlays {
		t.Run(name, func(t *testing.T) { harness.Must(t, harness.CompileOverlay(t.Context(), overlay)) })
	}
}

// mutantCycles is how many kills a mutant may survive.
const mutantCycles = 50

// TestKill_Mutant kills gateways with faults. Each of them has to be found.
func TestKill_Mutant(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	for _, mutant := range killMutants {
		t.Run(mutant.name, func(t *testing.T) {
			binary, err := binaries.BuildOverlay(t.Context(), mutant.name, harness.Overlay{Changes: mutant.changes})
			harness.Must(t, err)
			r := newRig(t, binary)
			for number := 1; number <= mutantCycles; number++ {
				r.cycle()
				if number%5 > 0 {
					continue
				}
				if finding, found := r.verify("as it lies there", true).Finding(mutant.finds); found {
					t.Logf("found after %d kills: %v", number, finding)
					return
				}
			}
			t.Errorf("%d kills did not show it", mutantCycles)
		})
	}
}
