package queue

import "combotto.io/gateway/server/edge"

const (
	fullAbove = 95 // per cent of the limit
	fullBelow = 90
	// usedAsked is how many written bytes lie between two looks at the size.
	usedAsked = 1 << 20
)

// full decides whether there is room for more.
type full struct {
	limit   int64
	asked   int64 // bytes until the next look at the size
	disk    bool  // a write found no room, and none has succeeded since
	reached bool  // the limit was, and the queue is not below it enough again
	crowded bool  // the queue is not below the limit enough: it may be full soon, or is
}

func newFull(limit int64) full { return full{limit: limit} }

// asks reports whether it is time to look at the size of the file.
func (f *full) asks(written int64) bool {
	if f.limit == 0 {
		return false
	}
	f.asked -= written
	if f.asked > 0 && !f.crowded {
		return false
	}
	f.asked = min(usedAsked, f.limit/walPart/walPart)
	return true
}

// measured is told the size of the file and its WAL.
func (f *full) measured(bytes int64) (changed bool) {
	before := f.reached
	f.crowded = bytes >= f.limit/100*fullBelow
	switch {
	case bytes >= f.limit/100*fullAbove:
		f.reached = true
	case !f.crowded:
		f.reached = false
	}
	return f.reached != before
}

// urgent reports whether settled records have to go, whatever their age, so that
// there is room for new ones.
func (f *full) urgent() bool { return f.disk || f.crowded }

// apply opens or closes the intake.
func (f *full) apply(intake *intake) {
	if f.disk || f.reached {
		intake.refuse(edge.NewFull())
		return
	}
	intake.refuse(nil)
}
