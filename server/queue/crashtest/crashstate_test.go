package crashtest_test

import (
	"flag"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"combotto.io/gateway/server/sqlite/simdisk"
)

var crashStates = flag.Int("states", 500, "how many distinct crash states TestQueue_CrashStates opens")

// TestQueue_CrashStates records what the queue writes, and opens every kind of
// state that a power cut at any moment could have left. More of it:
//
//	go test ./server/queue/crashtest -run TestQueue_CrashStates -states 100000 -timeout 2h
func TestQueue_CrashStates(t *testing.T) {
	total := census{}
	for seed := uint64(1); total.distinct < *crashStates; seed++ {
		one := enumerate(t, seed, *crashStates-total.distinct, func(*workload) {})
		if one.bad > 0 {
			t.Errorf("seed %d: %d of %d states are bad, the first: %v", seed, one.bad, one.states, one.first)
		}
		total.add(one)
	}
	t.Logf("%+v", total)
	if total.checkpoints == 0 || total.removed == 0 || total.dead == 0 {
		t.Errorf("the workload does not cover everything: %+v", total)
	}
}

// TestQueue_CrashStates_Mutants breaks the promise, and expects to be caught.
func TestQueue_CrashStates_Mutants(t *testing.T) {
	for name, mutate := range map[string]func(*workload){
		"AcknowledgedBeforeTheCommit": func(w *workload) { w.early = true },
		// What synchronous=NORMAL means for a WAL.
		"SynchronousNormal": func(w *workload) {
			w.disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "-wal", Lie: true})
		},
		"DatabaseNotSynced": func(w *workload) {
			w.disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "queue.db", Lie: true})
		},
		"FolderNotSynced": func(w *workload) {
			w.disk.Inject(simdisk.Fault{Calls: simdisk.SyncFolder, Lie: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := census{}
			for seed := uint64(1); found.bad == 0 && seed <= 20; seed++ {
				found.add(enumerate(t, seed, 50, mutate))
			}
			if found.bad == 0 {
				t.Errorf("not caught: %+v", found)
			}
			t.Logf("caught: %v", found.first)
		})
	}
}

// census is what an enumeration has seen.
type census struct {
	states, distinct, bad      int
	moments                    int
	checkpoints, removed, dead int
	first                      error // what was bad
}

func (c *census) add(other census) {
	c.states, c.distinct, c.bad = c.states+other.states, c.distinct+other.distinct, c.bad+other.bad
	c.moments += other.moments
	c.checkpoints, c.removed, c.dead = c.checkpoints+other.checkpoints, c.removed+other.removed, c.dead+other.dead
	if c.first == nil {
		c.first = other.first
	}
}

// survivalsPerMoment is how many states are looked at between two changes of the
// disk, besides those where everything and nothing survives.
const survivalsPerMoment = 3

// enumerate records one life and opens states of it, at most so many that differ.
// When these do not suffice for every moment, the moments are spread.
func enumerate(t *testing.T, seed uint64, most int, mutate func(*workload)) (c census) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(simdisk.New(simdisk.Settings{Seed: seed}), seed)
		defer w.disk.Close()
		defer w.end()
		mutate(w)
		w.disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "queue.db"}) // to count checkpoints
		w.disk.Record()
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		if err := w.live(24); err != nil {
			t.Fatal(err)
		}
		c.checkpoints = w.disk.Fired()["sync seen"]
		for _, m := range w.witness.messages {
			if m.removed != never {
				c.removed++
			}
			if m.fates[0].dead || m.fates[1].dead {
				c.dead++
			}
		}
		replay := w.disk.History().Replay(seed)
		w.end() // time does not pass twice
		perMoment := survivalsPerMoment + 2
		stride := max(1, replay.Len()*perMoment/(2*most)) // about half of the states are alike
		states := &states{witness: w.witness, seen: map[uint64]verdict{}, census: &c}
		for at := 0; replay.Next() && c.distinct < most; at++ {
			if at%stride != 0 {
				continue
			}
			c.moments++
			for _, survives := range someSurvivals(w, replay.Unsynced() > 0) {
				states.look(replay, survives, seed)
			}
		}
	})
	return c
}

// someSurvivals draws the ways to forget of one moment.
func someSurvivals(w *workload, unsynced bool) []simdisk.Survival {
	if !unsynced {
		return []simdisk.Survival{simdisk.Nothing}
	}
	drawn := []simdisk.Survival{simdisk.Nothing, simdisk.Everything}
	for range survivalsPerMoment {
		all := simdisk.Survivals()
		drawn = append(drawn, all[2+w.random.IntN(len(all)-2)])
	}
	return drawn
}

// states looks at each state once, however many moments share it.
type states struct {
	witness *witness
	seen    map[uint64]verdict
	census  *census
}

// verdict is what was found in a state, or why it is bad at any moment.
type verdict struct {
	found map[*message]whereabouts
	err   error
}

var hashSeed = maphash.MakeSeed()

func (s *states) look(replay *simdisk.Replay, survives simdisk.Survival, seed uint64) {
	files := replay.Crash(survives)
	var hash maphash.Hash
	hash.SetSeed(hashSeed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = hash.WriteString(name)
		_, _ = hash.Write(files[name])
	}
	key := hash.Sum64()
	s.census.states++
	verdict, known := s.seen[key]
	if !known {
		s.census.distinct++
		disk := simdisk.New(simdisk.Settings{Files: files})
		verdict.found, verdict.err = inspect(s.witness, disk, s.census.distinct%16 == 0)
		disk.Close()
		s.seen[key] = verdict
	}
	err := verdict.err
	if err == nil {
		err = s.witness.judge(verdict.found, replay.Now())
	}
	if err == nil {
		return
	}
	s.census.bad++
	if s.census.first == nil {
		s.census.first = fmt.Errorf("seed %d, change %d, %s survives: %w", seed, replay.Now(), survives, err)
	}
}
