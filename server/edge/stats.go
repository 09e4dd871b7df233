package edge

import (
	"slices"
	"time"
)

// QueueStats is a snapshot of the queue, pulled for metrics and GetStatus. It
// costs the same whatever the backlog.
type QueueStats struct {
	Head                Position // of the newest durable record, 0 when there was none
	Oldest              Position // of the oldest record still stored, 0 when there is none
	Stored              int64    // records from Oldest to Head: positions that hold none are left out
	Bytes               int64    // what counts against the limit: database file without free pages, WAL and reserve
	WALBytes            int64
	ReserveBytes        int64            // kept free for the day on which the disk is full
	LimitBytes          int64            // queue.max_bytes, resolved; 0 is unlimited
	Filling             bool             // above 70 % of the limit, until below 65 %
	Headroom            time.Duration    // until it is full, as in Forecast.TimeToFull
	Accepting           bool             // false while full or stopping
	Refusal             string           // why not, for a person
	Holder              string           // the sink that keeps most bytes from being freed, empty when none does
	Accepted            int64            // records ever stored
	Unrouted            int64            // of those, owed to nobody
	Quarantined         int64            // of those, ever found damaged and set aside
	Salvaged            int64            // files ever replaced because they were damaged
	LedgerMismatches    int64            // counters that the start, or the last VerifyLedger, found wrong
	IngressRefused      int64            // messages ever kept as dead letters of Ingress
	IngressEvicted      int64            // of those, ever evicted by the bound
	IngressByReason     map[string]int64 // dead letters of Ingress now, by Reason
	IngressEverByReason map[string]int64 // ever kept, by Reason
	Sinks               []SinkStats
	Ended               []SinkStats // sinks that are removed and have nothing left, in order of id: what they lost
}

// All returns the sinks, and then those that have ended.
func (s *QueueStats) All() []SinkStats { return slices.Concat(s.Sinks, s.Ended) }

// SinkStats is one sink's account. Owed = Delivered + Dead + Held + Discarded +
// Expired + Pending, always.
type SinkStats struct {
	ID               SinkID
	Name             string
	Kind             string
	Removed          bool // no longer in the plan; its backlog is kept
	Deleted          bool // removed for good: its name is free
	Owed             int64
	Delivered        int64
	Dead             int64 // now, requeued ones included until they are delivered
	Held             int64
	Discarded        int64 // given up by an operator, or damaged
	Expired          int64 // given up by a policy
	Pending          int64
	InFlight         int64         // of Pending, leased
	Cursor           Position      // everything below is decided
	OldestAge        time.Duration // of the oldest pending record, 0 when there is none
	PinnedBytes      int64         // stored bytes from the oldest pending record on, an estimate
	DeadBytes        int64         // stored bytes of dead letters, an estimate
	DeadByReason     map[string]int64
	DeadEverByReason map[string]int64 // ever dead-lettered, by reason
	LostByReason     map[LossKind]map[string]int64
	Requeueing       int64 // of Dead, waiting to be delivered again
}

// LaneState is what a lane does at the moment.
type LaneState uint8

// The states of a lane. They are the closed list of gateway_sink_state.
const (
	LaneIdle    LaneState = iota // nothing is due
	LaneActive                   // delivering
	LaneWaiting                  // the destination is busy or down: next try at RetryAt
	LanePaused                   // needs an operator: see LastError
	LaneStopped
)

// LaneStates lists every state of a lane.
var LaneStates = [...]LaneState{LaneIdle, LaneActive, LaneWaiting, LanePaused, LaneStopped}

func (s LaneState) String() string {
	switch s {
	case LaneActive:
		return "active"
	case LaneWaiting:
		return "waiting"
	case LanePaused:
		return "paused"
	case LaneStopped:
		return "stopped"
	}
	return "idle"
}

// LaneStats is a snapshot of one lane. Health is progress: the time of the last
// acknowledgement, never the state of a socket.
type LaneStats struct {
	Sink        SinkID
	State       LaneState
	LastSuccess time.Time // zero when there was none since the start
	LastError   string    // status and excerpt of the last failed attempt, empty after a success
	LastErrorAt time.Time
	RetryAt     time.Time // with LaneWaiting
}
