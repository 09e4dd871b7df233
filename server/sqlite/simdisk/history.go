package simdisk

import "math/rand/v2"

// History is what happened to a disk, change by change: from it every state can
// be made that a power cut at any moment could have left.
type History struct {
	from  *platter
	steps []step
}

// Record starts a history. It ends with the power.
func (d *Disk) Record() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.history = &History{from: d.platter.clone()}
}

// Now returns how many changes the history has: the time of [Replay]. Without a
// history no time passes.
func (d *Disk) Now() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.history == nil {
		return 0
	}
	return len(d.history.steps)
}

// History returns what happened since Record.
func (d *Disk) History() History {
	d.mu.Lock()
	defer d.mu.Unlock()
	return History{from: d.history.from, steps: d.history.steps[:len(d.history.steps):len(d.history.steps)]}
}

// take makes a change known to the platter and to the history.
func (d *Disk) take(s step) {
	d.platter.take(s, d.random)
	if d.history != nil {
		d.history.steps = append(d.history.steps, s)
	}
}

// Replay goes through a history.
type Replay struct {
	steps   []step
	at      int
	random  *rand.Rand
	platter *platter
}

// Replay begins at the first change. Several replays may run at the same time.
func (h History) Replay(seed uint64) *Replay {
	return &Replay{steps: h.steps, random: rand.New(rand.NewPCG(seed, 1)), platter: h.from.clone()}
}

// Next goes one change further and reports whether there was one.
func (r *Replay) Next() bool {
	if r.at == len(r.steps) {
		return false
	}
	r.platter.take(r.steps[r.at], r.random)
	r.at++
	return true
}

// Now returns how many changes lie behind.
func (r *Replay) Now() int { return r.at }

// Len returns how many changes there are in all.
func (r *Replay) Len() int { return len(r.steps) }

// Unsynced counts the changes that a power cut could take away here.
func (r *Replay) Unsynced() int { return r.platter.unsynced() }

// Crash returns the files that a power cut would leave here, for [Settings].
func (r *Replay) Crash(survives Survival) map[string][]byte {
	return r.platter.crash(survives, r.random)
}
