package edge

import (
	"context"
	"strings"
	"time"
)

// DeliveryKind says why a record is delivered now. It reaches the receiver as
// "delivery", because order is given up for requeue and replay. A [Leaser] tells
// requeued records from live ones; which of these are backfill is known only to
// whoever makes the first attempt.
type DeliveryKind uint8

// The kinds.
const (
	Live     DeliveryKind = iota
	Backfill              // waited out an outage: delivered later than BackfillAge
	Requeue               // was a dead letter
	Replay                // delivered before
)

// BackfillAge is how old a record is, at its first attempt, when its delivery
// counts as Backfill.
const BackfillAge = time.Minute

func (k DeliveryKind) String() string {
	switch k {
	case Backfill:
		return "backfill"
	case Requeue:
		return "requeue"
	case Replay:
		return "replay"
	}
	return "live"
}

// Delivery is the duty to bring one record to one sink.
type Delivery struct {
	Record Record
	Kind   DeliveryKind
	// Sealed is true for the members of a sealed batch, which repeats under its
	// name whatever happens; see [Leaser].
	Sealed bool
}

// Class is how an attempt ended, and so what happens next.
type Class uint8

// The classes. The zero value is invalid on purpose.
const (
	Delivered     Class = iota + 1 // the cursor moves
	Unavailable                    // busy or down: wait, then the same again; never counts against the record
	Misconfigured                  // the lane pauses until an operator acts; nothing is dead-lettered
	Rejected                       // the receiver refuses the content: bisect until the offender is alone
)

// String returns the closed label value of gateway_sink_attempts_total.
func (c Class) String() string {
	switch c {
	case Delivered:
		return "delivered"
	case Unavailable:
		return "busy"
	case Misconfigured:
		return "misconfigured"
	case Rejected:
		return "rejected"
	}
	return "invalid"
}

// Outcome is what one attempt of a sink came to.
type Outcome struct {
	Class      Class
	Status     string        // the other side's own word: "204", "422", "connection refused"
	Excerpt    string        // the beginning of the reply; see [Excerpt]
	RetryAfter time.Duration // what the other side asked for, with Unavailable
	// Refused are the records of a delivered batch that were left out one by one,
	// in the order of the batch.
	Refused []Refused
}

// MaxExcerptBytes bounds what is kept of a reply.
const MaxExcerptBytes = 1024

// Excerpt returns the beginning of a text from outside, as it is kept: at most
// MaxExcerptBytes of valid UTF-8. A rune that is cut, and bytes that are none,
// are left out.
func Excerpt(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), MaxExcerptBytes)], "")
}

// Refused says that the batch was delivered, but without this record of it.
type Refused struct {
	Index   int    // in the batch
	Status  string // as in Outcome, for this record
	Excerpt string // what was said about this record
	// Unwritable is true when the receiver has not seen the record, because the
	// sink cannot write it in its format.
	Unwritable bool
}

// Sink brings batches to one destination.
type Sink interface {
	// Deliver makes one attempt and returns when it is decided or ctx ends, which
	// is Unavailable. It keeps nothing of the batch and never retries by itself.
	// It is called concurrently, with different devices in each batch.
	Deliver(ctx context.Context, batch []Delivery) Outcome
	// Close lets go of what Deliver opened. No Deliver is under way.
	Close() error
}

// LeaseLimit bounds one lease.
type LeaseLimit struct {
	Records int // at least 1
	Bytes   int // of payload; the first record is handed out whatever its size
}

// Leaser hands out the deliveries of each sink in order of position and takes
// back what became of them. Each sink has one lane, and only that lane leases,
// seals and settles for it.
type Leaser interface {
	// Lease waits until at least one delivery is due for the sink, or until ctx
	// ends. Leased deliveries are not handed out again until the process
	// restarts, or Release gives them back. At most MaxLeased may be out at once.
	Lease(ctx context.Context, sink SinkID, limit LeaseLimit) ([]Delivery, error)
	// Seal commits the members of a batch that goes out under a name made from
	// them, before its first attempt. It returns when they are durable; a crash
	// then cannot make another batch under that name. The deliveries are leased,
	// ascend by position and are not requeued. As long as none of them is decided,
	// and when they were released, or after a restart, Lease hands them out again
	// before all others: the whole batch with its kinds, marked as Sealed, by
	// itself and whatever the limit says. Once one is decided, or is sealed again
	// in another batch, such as a part of this one, the batch is no more, and the
	// rest may come in any other.
	//
	// With an [Error] of code Full nothing is sealed, and the batch must not carry
	// that name. After any other error it may be sealed; sealing it again is safe.
	Seal(ctx context.Context, sink SinkID, batch []Delivery) error
	// Begin says that an attempt is about to be made with leased deliveries. It
	// returns those that are still due, in order; the others were given up by a
	// policy meanwhile, and are not the caller's any more. When there are such, a
	// sealed batch is no more. What Begin returns is not given up before the
	// attempt is settled, or its deliveries are released. The slice is the
	// caller's own, or one that only the caller has.
	Begin(sink SinkID, batch []Delivery) (due []Delivery)
	// Settle records what became of leased deliveries and the attempt that
	// decided it. It returns when recorded in memory; it is durable with the next
	// commit, 50 ms later at most. A settlement that is lost in a crash means a
	// second delivery, never a loss.
	Settle(ctx context.Context, sink SinkID, settlement Settlement) error
	// Release gives deliveries back, as if they had never been leased. A lane
	// that stops releases everything that it has not settled.
	Release(sink SinkID, deliveries []Delivery)
}

// MaxLeased bounds the deliveries of one sink that are leased at a time, and
// with them the holes above the sink's cursor.
const MaxLeased = 8192

// Settlement reports one attempt, which begins with the delivery at Attempt.First,
// and the deliveries that it decided. An attempt
// that decided none (Unavailable, Misconfigured, a refused batch that will be
// bisected) is reported with empty lists.
type Settlement struct {
	Attempt Attempt
	Acked   []Delivery
	Dead    []Death
}

// Death is a delivery that becomes a dead letter.
type Death struct {
	Delivery Delivery
	Reason   string // closed list: DeathRejected ...
	Status   string
	Excerpt  string
}

// Why a delivery became a dead letter of its sink.
const (
	DeathRejected = "rejected" // the receiver refused the record's content
	DeathEncoding = "encoding" // the record cannot be written in the sink's format
)

// DeathReasons lists every reason of a sink's dead letters.
var DeathReasons = [...]string{DeathRejected, DeathEncoding}

// Attempt is one try to deliver one batch.
type Attempt struct {
	Number    int      // 1 for the first try of this batch
	First     Position // of the batch
	Last      Position // of the batch; other slots' records may lie in between
	Records   int
	Slot      int // which slot of Slots made the attempt; see SlotOf
	Slots     int
	StartedAt time.Time
	EndedAt   time.Time
	Class     Class
	Status    string
	Excerpt   string
}

// Covers reports whether the attempt carried the record of device at position.
func (a *Attempt) Covers(position Position, device DeviceID) bool {
	return a.First <= position && position <= a.Last && SlotOf(device, a.Slots) == a.Slot
}

// SlotOf returns the slot, below slots, that all records of a device go
// through, so that one device's records stay in order. It is a fixed function:
// recorded attempts are read with it later. (FNV-1a, 32 bits.)
func SlotOf(device DeviceID, slots int) int {
	if slots <= 1 {
		return 0
	}
	hash := uint32(2166136261)
	for i := range len(device) {
		hash = (hash ^ uint32(device[i])) * 16777619
	}
	return int(hash % uint32(slots))
}
