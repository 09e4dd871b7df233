package edge

import "time"

// LossKind is how records were given up. The numbers are stored.
type LossKind uint8

// The kinds of losses.
const (
	LossDiscarded   LossKind = iota + 1 // an operator, or what the operator has set up for a removed sink
	LossExpired                         // too old, or too many
	LossQuarantined                     // what is stored is damaged
)

// LossKinds lists every kind in the order of the constants.
var LossKinds = [...]LossKind{LossDiscarded, LossExpired, LossQuarantined}

func (k LossKind) String() string {
	switch k {
	case LossDiscarded:
		return "discarded"
	case LossExpired:
		return "expired"
	case LossQuarantined:
		return "quarantined"
	}
	return "unknown"
}

// Why records were discarded or expired. Those of a sink are the label reason of
// gateway_queue_discarded_messages_total and gateway_queue_expired_messages_total.
// What was evicted is in gateway_dead_letters_evicted_total as well, with the refused
// messages, and those of them that were found damaged.
const (
	LossOperator    = "operator"      // somebody deleted their sink
	LossSinkRemoved = "sink_removed"  // retention.removed_sink
	LossUndelivered = "undelivered"   // retention.undelivered
	LossTTL         = "ttl"           // of their sink
	LossMaxLag      = "max_lag_bytes" // of their sink
	LossEvicted     = "evicted"       // a dead letter, of a door or of a sink that is not required, that made room
)

// DiscardReasons and ExpiryReasons list those of sinks.
var (
	DiscardReasons = [...]string{LossOperator, LossSinkRemoved}
	ExpiryReasons  = [...]string{LossUndelivered, LossTTL, LossMaxLag, LossEvicted}
)

// Loss is a stretch of records that one sink was owed and will not get, or, of
// Ingress, of messages that were refused, acknowledged, and are not kept any more.
// Whatever is given up is in exactly one. Between First and Last, which for Ingress
// are numbers of refused messages, may lie what was not.
type Loss struct {
	ID            int64 // later stretches have larger ids
	Sink          SinkID
	SinkName      string // also when the sink is deleted since
	Kind          LossKind
	Reason        string
	Actor         string // who gave them up; empty for a policy
	First, Last   Position
	FirstReceived time.Time // gateway's wall clock; zero when none of them could be read
	LastReceived  time.Time
	At            time.Time // gateway time at which the last of them was given up
	Count         int64
	// Devices are those that lost most, most first. Their counts add up to Count
	// or less: of a stretch with very many devices the rest is counted without
	// names.
	Devices []DeviceLoss
}

// DeviceLoss is what one device lost.
type DeviceLoss struct {
	Device DeviceID
	Count  int64
}

// Deletion says how a removed sink is deleted.
type Deletion struct {
	Actor        string // who wants it
	Discard      bool   // give up what the sink is owed, and its dead letters
	ValidateOnly bool   // only count
}

// LossFilter selects losses; zero fields select everything.
type LossFilter struct {
	Sinks  []SinkID
	Kind   LossKind
	Reason string
	Device DeviceID
	Since  time.Time // At, at or after
	Until  time.Time // At, before
}
