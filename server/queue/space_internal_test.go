package queue

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewBounds(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		limit, capacity int64
		want            bounds
	}{
		"LargeDisk":   {0, 1 << 40, bounds{walSoft: 16 * mib, walHard: 64 * mib, pending: 32 * mib, reserve: 72 * mib, assess: mib, window: 64 * mib, ingress: 64 * mib, attempts: 64 * mib, aside: 64 * mib, losses: 64 * mib}},
		"SmallDisk":   {51 * mib, 64 * mib, bounds{walSoft: 51 * mib / 256, walHard: 51 * mib / 64, pending: 51 * mib / 32, reserve: 51 * mib / 20, assess: 51 * mib / 256, window: 51 * mib / 4, ingress: 51 * mib / 16, attempts: 51 * mib / 16, aside: 51 * mib / 16, losses: 51 * mib / 16}},
		"SmallLimit":  {8 * mib, 1 << 40, bounds{walSoft: 64 << 10, walHard: 256 << 10, pending: 256 << 10, reserve: 8 * mib / 20, assess: 32 << 10, window: 2 * mib, ingress: mib / 2, attempts: mib / 2, aside: mib / 2, losses: mib / 2}},
		"LeastLimit":  {4 * mib, 1 << 40, bounds{walSoft: 64 << 10, walHard: 256 << 10, pending: 128 << 10, reserve: 4 * mib / 20, assess: 16 << 10, window: mib, ingress: mib / 4, attempts: mib / 4, aside: mib / 4, losses: mib / 4}},
		"LimitTooBig": {1 << 40, 64 * mib, bounds{walSoft: 256 << 10, walHard: mib, pending: 2 * mib, reserve: 64 * mib / 20, assess: 256 << 10, window: 16 * mib, ingress: 4 * mib, attempts: 4 * mib, aside: 4 * mib, losses: 4 * mib}},
		"NeverFull":   {0, math.MaxInt64, bounds{walSoft: 16 * mib, walHard: 64 * mib, pending: 32 * mib, assess: mib, window: 64 * mib, ingress: 64 * mib, attempts: 64 * mib, aside: 64 * mib, losses: 64 * mib}},
	} {
		t.Run(name, func(t *testing.T) {
			got := newBounds(test.limit, test.capacity, pendingDefault)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(bounds{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// state is what full says after a look.
type state struct{ warned, crowded, reached, scarce bool }

func (f *full) state() state { return state{f.warned, f.crowded, f.reached, f.scarce} }

func TestFull_Measured(t *testing.T) {
	const limit = 1000
	steps := []struct {
		taken int64
		want  state
	}{
		{0, state{}},
		{699, state{}},
		{700, state{warned: true}},
		{650, state{warned: true}},
		{649, state{}},
		{900, state{warned: true, crowded: true}},
		{899, state{warned: true}},
		{949, state{warned: true, crowded: true}},
		{950, state{warned: true, crowded: true, reached: true}},
		{900, state{warned: true, crowded: true, reached: true}},
		{899, state{warned: true}},
		{940, state{warned: true, crowded: true}},
		{2000, state{warned: true, crowded: true, reached: true}},
		{0, state{}},
	}
	// Whatever the bytes are, only their sum counts.
	for name, at := range map[string]func(taken int64) diskUsage{
		"Database": func(taken int64) diskUsage { return diskUsage{used: taken, free: unbounded} },
		"WAL":      func(taken int64) diskUsage { return diskUsage{wal: taken, free: unbounded} },
		"Reserve":  func(taken int64) diskUsage { return diskUsage{reserve: taken, free: unbounded} },
		"All": func(taken int64) diskUsage {
			return diskUsage{used: taken / 2, wal: taken - taken/2 - taken/4, reserve: taken / 4, spare: 5000, free: unbounded}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := full{limit: limit}
			for i, step := range steps {
				found := at(step.taken)
				f.update(&found)
				if got := f.state(); got != step.want {
					t.Errorf("step %d, %d bytes: got %+v, want %+v", i, step.taken, got, step.want)
				}
				if f.closed() != step.want.reached || f.urgent() != (step.want.crowded || step.want.reached) {
					t.Errorf("step %d: closed %v, urgent %v", i, f.closed(), f.urgent())
				}
			}
		})
	}
}

// What is under way needs 100 bytes for the WAL and 60 for records; the margin
// is 40.
var smallBounds = bounds{walHard: 100, pending: 60, reserve: 50}

func TestFull_Scarce(t *testing.T) {
	for name, steps := range map[string][]struct {
		look diskUsage
		want bool
	}{
		"UntilClearlyMoreIsFree": {
			{diskUsage{reserve: 50, free: 160}, false},
			{diskUsage{reserve: 50, free: 159}, true},
			{diskUsage{reserve: 50, free: 160}, true},
			{diskUsage{reserve: 50, free: 199}, true},
			{diskUsage{reserve: 50, free: 200}, false},
			{diskUsage{reserve: 50, free: 160}, false},
		},
		"AWALThatIsLongAlreadyNeedsLess": {
			{diskUsage{reserve: 50, wal: 100, free: 60}, false},
			{diskUsage{reserve: 50, wal: 90, free: 69}, true},
			{diskUsage{reserve: 50, wal: 300, free: 100}, false},
		},
		"FreePagesTakeRecordsButNotTheWAL": {
			{diskUsage{reserve: 50, spare: 1000, free: 100}, false},
			{diskUsage{reserve: 50, spare: 1000, free: 99}, true},
			{diskUsage{reserve: 50, spare: 1000, free: 100}, false},
		},
		"FreePagesStandForTheReserve": {
			{diskUsage{reserve: 20, spare: 30, free: 1000}, false},
			{diskUsage{reserve: 20, spare: 29, free: 1000}, true},
			{diskUsage{reserve: 0, spare: 50, free: 1000}, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := full{bounds: smallBounds}
			for i, step := range steps {
				f.update(&step.look)
				if f.scarce != step.want || f.closed() != step.want {
					t.Errorf("step %d: scarce is %v, want %v", i, f.scarce, step.want)
				}
			}
		})
	}
}

// What every sink has goes before anything is refused.
func TestFull_Crowded(t *testing.T) {
	for name, test := range map[string]struct {
		look diskUsage
		want bool
	}{
		"Room":          {diskUsage{reserve: 50, free: 240}, false},
		"Little":        {diskUsage{reserve: 50, free: 239}, true},
		"FreePages":     {diskUsage{reserve: 50, free: 200, spare: 40}, false},
		"FewFreePages":  {diskUsage{reserve: 50, free: 200, spare: 39}, true},
		"AlmostNothing": {diskUsage{reserve: 50, free: 10}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := full{bounds: smallBounds}
			f.update(&test.look)
			if f.crowded != test.want || f.urgent() != test.want {
				t.Errorf("crowded is %v, want %v", f.crowded, test.want)
			}
		})
	}
}

func TestFull_Restores(t *testing.T) {
	for name, test := range map[string]struct {
		look diskUsage
		size int64
		ok   bool
	}{
		"Plenty":              {diskUsage{free: 1000}, 50, true},
		"IsWhole":             {diskUsage{reserve: 50, free: 1000}, 50, true},
		"IsWholeOnAFullDisk":  {diskUsage{reserve: 50, free: 0}, 50, true},
		"IsTooLarge":          {diskUsage{reserve: 70, free: 0}, 50, true},
		"JustEnough":          {diskUsage{free: 250}, 50, true},
		"NotEnough":           {diskUsage{free: 249}, 49, false},
		"FreePagesStandForIt": {diskUsage{free: 120, spare: 500}, 20, true},
		"TooFewFreePages":     {diskUsage{free: 240, spare: 4}, 44, false},
		"Grows":               {diskUsage{reserve: 20, free: 210}, 30, false},
		"Nothing":             {diskUsage{}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := full{bounds: smallBounds}
			size, ok := f.refills(&test.look)
			if size != test.size || ok != test.ok {
				t.Errorf("got %d, %v; want %d, %v", size, ok, test.size, test.ok)
			}
		})
	}
}

func TestFull_asks(t *testing.T) {
	f := full{bounds: bounds{assess: 100}}
	var asked []bool
	for range 5 {
		asked = append(asked, f.asks(50))
	}
	if diff := cmp.Diff([]bool{true, false, true, false, true}, asked); diff != "" {
		t.Error(diff)
	}
	f.crowded = true
	for range 2 {
		if !f.asks(1) {
			t.Error("it does not look after every commit while room is short")
		}
	}
}

func TestFull_crowdsForGood(t *testing.T) {
	for name, test := range map[string]struct {
		limit int64
		look  diskUsage
		want  bool
	}{
		"Room":                     {1000, diskUsage{used: 724, reserve: 50, free: 1000}, false},
		"NearTheLimit":             {1000, diskUsage{used: 725, reserve: 50, free: 1000}, true},
		"ALongWAL":                 {1000, diskUsage{used: 724, wal: 5000, reserve: 50, free: 1000}, false},
		"ALargeLimit":              {10_000, diskUsage{used: 8549, reserve: 50, free: 1000}, false},
		"NearALargeLimit":          {10_000, diskUsage{used: 8550, reserve: 50, free: 1000}, true},
		"NoLimit":                  {0, diskUsage{used: 1 << 40, free: 240}, false},
		"ASmallDisk":               {0, diskUsage{used: 100, free: 239}, true},
		"ASmallDiskWithFreePages":  {0, diskUsage{used: 100, spare: 100, free: 140}, false},
		"ADiskWithoutRoomForAWAL":  {0, diskUsage{used: 100, wal: 40, free: 59}, false},
		"TheSameNearTheLimit":      {1000, diskUsage{used: 960, wal: 40, free: 59}, false},
		"ADiskWithALongWALAlready": {0, diskUsage{used: 100, wal: 300, free: 20}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := full{bounds: smallBounds, limit: test.limit}
			if got := f.crowdsForGood(&test.look); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
