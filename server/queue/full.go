package queue

// Per cent of the limit.
const (
	warnedFrom   = 70 // an operator should look
	warnedUntil  = 65
	crowdedFrom  = 90 // what every sink has goes, whatever its age
	reachedFrom  = 95 // nothing is taken
	reachedUntil = 90
)

// diskUsage is what an assessment of the disk has found, in bytes.
type diskUsage struct {
	used    int64 // pages of the database that hold something
	spare   int64 // pages of the database that are free: new records go there first
	wal     int64 // the file, which is written from its beginning again and again
	reserve int64
	free    int64 // of the file system; what new files and longer ones take
}

// taken is what counts against the limit.
func (usage *diskUsage) taken() int64 { return usage.used + usage.wal + usage.reserve }

// full decides whether there is room for more. There are three reasons to take
// nothing, and each holds until there is clearly more room than when it began:
//
//	reached   the limit: from 95 % of it until below 90 %
//	scarce    the disk: less is free than what is under way may need
//	struck    a write found no room. What it needed is not known, so it lasts
//	          until writes have succeeded and the reserve is whole again
//
// It lasts by what is free and not by whether the last write succeeded: a small
// frame may find room where the next one does not.
type full struct {
	bounds
	limit int64 // 0 is none

	asked   int64 // bytes until the next assessment
	warned  bool
	crowded bool // settled records have to go, or new ones are refused soon
	reached bool
	scarce  bool
	struck  bool
}

// closed reports whether nothing is taken.
func (f *full) closed() bool { return f.reached || f.scarce || f.struck }

// urgent reports whether settled records have to go, whatever their age, so that
// there is room for new ones.
func (f *full) urgent() bool { return f.crowded || f.scarce || f.struck }

// asks reports whether it is time for an assessment.
func (f *full) asks(written int64) bool {
	f.asked -= written
	if f.asked > 0 && !f.urgent() {
		return false
	}
	f.asked = f.assess
	return true
}

// update is told what an assessment has found.
func (f *full) update(usage *diskUsage) {
	f.scarce = !f.roomy(usage, f.scarce)
	f.crowded = f.crowds(usage, usage.wal)
	if f.limit == 0 {
		return
	}
	taken, percent := usage.taken(), f.limit/100
	f.warned = holds(f.warned, taken, percent*warnedFrom, percent*warnedUntil)
	f.reached = holds(f.reached, taken, percent*reachedFrom, percent*reachedUntil)
}

// holds is true from one value on, and until below the other.
func holds(held bool, value, from, until int64) bool {
	return value >= from || held && value >= until
}

// crowds reports whether there is little room left beside what is stored and a WAL of
// so many bytes.
func (f *full) crowds(usage *diskUsage, wal int64) bool {
	return f.spareable(usage, 2*f.margin()) < 0 || f.limit > 0 && usage.used+wal+usage.reserve >= f.limit/100*crowdedFrom
}

// crowdsForGood reports whether what is stored leaves too little room, so that removing
// some of it helps. How long the WAL is at the moment does not matter: what it is made long by
// may be a reader, and what takes room for good leaves as much as a large transaction
// needs. Nor does anything help where the disk has no room for a WAL.
func (f *full) crowdsForGood(usage *diskUsage) bool {
	if usage.free < f.walHard-usage.wal {
		return false
	}
	return f.crowds(usage, min(4*f.walHard, f.limit/8))
}

// roomy reports whether the disk has room for what is under way, and clearly so
// when it had none before.
func (f *full) roomy(usage *diskUsage, hadNone bool) bool {
	margin := int64(0)
	if hadNone {
		margin = f.margin()
	}
	return f.spareable(usage, margin) >= 0 && usage.reserve+usage.spare >= f.reserve
}

// margin is what must be free beyond the least before records are taken again.
func (f *full) margin() int64 { return (f.walHard + f.pending) / 4 }

// spareable returns how much of the free space is not needed for what is under
// way. It is negative when there is too little. Records go to free pages first,
// but the WAL has to grow outside the database.
func (f *full) spareable(usage *diskUsage, margin int64) int64 {
	growth := max(0, f.walHard-usage.wal)
	return min(usage.free-growth, usage.free+usage.spare-growth-f.pending-margin)
}

// refills returns how large the reserve can be made: whole, or as large as the
// disk allows when free pages of the database stand for the rest. ok is false
// when that is too little to take records.
func (f *full) refills(usage *diskUsage) (size int64, ok bool) {
	size = min(f.reserve, usage.reserve+max(0, f.spareable(usage, f.margin())))
	return size, size+usage.spare >= f.reserve
}
