package harness

import "testing"

// Two processes give no address away that the other one has given away, nor one of their
// own soon after, though nobody listens on any of them.
func TestFreeAddress(t *testing.T) {
	var processes [2]portBlock
	given := map[string]int{}
	for range 100 {
		for i := range processes {
			address, err := processes[i].next()
			if err != nil {
				t.Fatal(err)
			}
			if before, twice := given[address]; twice {
				t.Fatalf("process %d gives %s away, and process %d has done so before", i, address, before)
			}
			given[address] = i
		}
	}
	for i := range processes {
		if err := processes[i].taken.Close(); err != nil {
			t.Error(err)
		}
	}
}
