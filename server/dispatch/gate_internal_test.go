package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
)

func TestGate_Enter(t *testing.T) {
	t.Run("AnotherSlotProbesFirst", func(t *testing.T) {
		for range 20 { // which timer wakes first is chance
			synctest.Test(t, func(t *testing.T) {
				g, probes := newGate(), make(chan int, 3)
				generation, _ := g.enter(t.Context(), 1)
				g.leave(generation, 1, edge.Outcome{Class: edge.Unavailable})
				for slot := range 3 {
					go func() {
						if generation, ok := g.enter(t.Context(), slot); ok {
							probes <- slot
							g.leave(generation, slot, edge.Outcome{Class: edge.Delivered})
						}
					}()
				}
				if first := <-probes; first == 1 {
					t.Error("the slot that failed probed, although others were waiting")
				}
				<-probes
				<-probes
			})
		}
	})
	t.Run("TheOnlySlotProbesItself", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			for failures := range 5 {
				generation, ok := g.enter(t.Context(), 3)
				if !ok || generation != failures {
					t.Fatalf("got generation %d, %v", generation, ok)
				}
				g.leave(generation, 3, edge.Outcome{Class: edge.Unavailable})
			}
		})
	})
}

func TestGate_Leave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		attempt := func(class edge.Class) time.Duration {
			generation, _ := g.enter(t.Context(), 0)
			g.leave(generation, 0, edge.Outcome{Class: class})
			_, retryAt := g.state()
			return time.Until(retryAt)
		}
		for range 10 {
			attempt(edge.Misconfigured)
		}
		if delay := attempt(edge.Unavailable); delay > backoffMin {
			t.Errorf("the first failure of another class waits %v, want at most %v", delay, backoffMin)
		}

		// A late failure may ask for a longer rest, and changes nothing else; a
		// late success changes nothing at all.
		late := g.generation - 1
		g.leave(late, 1, edge.Outcome{Class: edge.Unavailable, RetryAfter: time.Minute})
		g.leave(late, 2, edge.Outcome{Class: edge.Delivered})
		closedBy, retryAt := g.state()
		if closedBy != edge.Unavailable || time.Until(retryAt) != time.Minute || g.failures != 1 {
			t.Errorf("closed by %v for %v after %d failures, want busy for a minute after 1", closedBy, time.Until(retryAt), g.failures)
		}
	})
}

func TestGate_Withdraw(t *testing.T) {
	t.Run("AnotherSlotProbes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			generation, _ := g.enter(t.Context(), 0)
			g.leave(generation, 0, edge.Outcome{Class: edge.Unavailable})
			probe, _ := g.enter(t.Context(), 1)
			probed := make(chan bool, 1)
			go func() {
				_, ok := g.enter(t.Context(), 2)
				probed <- ok
			}()
			synctest.Wait()
			g.withdraw(probe)
			if !<-probed {
				t.Error("nobody probes")
			}
			if closedBy, _ := g.state(); closedBy != edge.Unavailable {
				t.Errorf("the gate is closed by %v, though nobody has tried", closedBy)
			}
		})
	})
	t.Run("LateItChangesNothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			late, _ := g.enter(t.Context(), 0)
			generation, _ := g.enter(t.Context(), 1)
			g.leave(generation, 1, edge.Outcome{Class: edge.Unavailable})
			if _, ok := g.enter(t.Context(), 2); !ok || !g.probing {
				t.Fatal("nobody probes")
			}
			g.withdraw(late)
			if !g.probing {
				t.Error("the probe of another attempt was withdrawn")
			}
		})
	})
	t.Run("WhileOpen", func(t *testing.T) {
		g := newGate()
		generation, _ := g.enter(t.Context(), 0)
		g.withdraw(generation)
		if next, ok := g.enter(t.Context(), 1); !ok || next != generation {
			t.Errorf("got generation %d, %v; want %d", next, ok, generation)
		}
	})
}
