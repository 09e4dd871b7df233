package queue

import (
	"math"

	"combotto.io/gateway/server/sqlite"
)

// bounds are the sizes that follow from how much room the queue has: of a large
// disk they are constants, and on a small one everything shrinks with it.
type bounds struct {
	walSoft int64 // a checkpoint runs beside the committer
	walHard int64 // the committer runs one itself
	pending int64 // records that are taken but not answered
	reserve int64 // of the file that is given back when a write finds no room; see queuefile.Reserve
	assess  int64 // written between two assessments of the disk

	// What explains and recognises may not take the room of what is owed.
	window   int64 // memory of the identity window; its rows take less than half
	ingress  int64 // messages that were refused at the door
	attempts int64
	aside    int64 // the bytes of what is damaged
	losses   int64 // the loss report
}

const (
	walHardMax = sqlite.WALBytesMax
	walHardMin = 256 << 10
	walShare   = 64 // of the room
	walParts   = 4  // the soft bound is one of them

	pendingMin   = 128 << 10 // two messages of the largest size; the share of 4 MiB
	pendingShare = 32

	// The largest transaction that removes frames saves the identity window with
	// it; the slack is for what SQLite keeps of its own.
	removalBytesMax = 7 << 20
	reserveSlack    = 1 << 20
	reserveShare    = 20 // at most 5 % of the room

	// unbounded is the size of a file system that does not say one, and never
	// fills up.
	unbounded = math.MaxInt64 / 4

	assessMax   = 1 << 20
	assessShare = 256

	historyMax   = 64 << 20
	historyShare = 16
	windowShare  = 4
)

// newBounds takes the limit of the queue, 0 when it has none, the size of the
// file system, and the most that may be pending.
func newBounds(limit, capacity, pendingMax int64) bounds {
	room := min(capacity, unbounded)
	if limit > 0 && limit < room {
		room = limit
	}
	history := min(room/historyShare, historyMax)
	b := bounds{
		walHard: min(max(room/walShare, walHardMin), walHardMax),
		pending: min(max(room/pendingShare, pendingMin), pendingMax),
		assess:  min(room/assessShare, assessMax),

		window: min(room/windowShare, windowBytesMax), ingress: history, attempts: history, aside: history, losses: history,
	}
	b.walSoft = b.walHard / walParts
	if capacity < unbounded {
		b.reserve = min(b.walHard+removalBytesMax+reserveSlack, room/reserveShare)
	}
	return b
}
