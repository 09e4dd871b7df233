package sim_test

import (
	"context"
	"flag"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"combotto.io/gateway/server/sim/overlay"
)

var everyMutant = flag.Bool("mutants", false, "look for every mutant, not only for those that are found at once")

// mutantSeeds is within how many seeds each fault has to be found.
const mutantSeeds = 1000

// mutant is the product with a fault that the simulation has to find.
type mutant struct {
	name    string
	quick   bool // found within the first seeds
	changes []overlay.Change
}

// TestMutants builds the simulation with one fault of the product at a time, and
// expects some seed to fail.
func TestMutants(t *testing.T) {
	root, err := overlay.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			folder, planted := t.TempDir(), overlay.Overlay{Changes: m.changes}
			if underRace || testing.Short() {
				t.Skip("takes a while")
			}
			if !*everyMutant && !m.quick {
				if err := planted.Compile(t.Context(), root, folder); err != nil {
					t.Fatal(err)
				}
				t.Skip("it compiles; finding it takes a while: make mutants")
			}
			list, err := planted.Write(root, folder)
			if err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(folder, "sim.test")
			output, err := run(t.Context(), root, "go", "test", "-c", "-overlay", list, "-o", binary, "./server/sim")
			if err != nil {
				t.Fatalf("build: %v\n%s", err, output)
			}
			began := time.Now()
			output, err = run(t.Context(), folder, binary, "-test.run", "^TestSim$", "-seeds", strconv.Itoa(mutantSeeds))
			found := caught.FindSubmatch(output)
			if err == nil || found == nil {
				t.Fatalf("%d seeds did not find it (%v): the simulation has a hole\n%s", mutantSeeds, err, output)
			}
			t.Logf("found after %s seeds, %v: %s", found[1], time.Since(began).Round(time.Millisecond), found[2])
		})
	}
}

// caught finds the first failed seed and its first failure.
var caught = regexp.MustCompile(`seed (\d+) fails; .*\n\s*(.*)`)

func run(ctx context.Context, folder, name string, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = folder
	return command.CombinedOutput()
}
