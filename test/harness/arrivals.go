package harness

import (
	"fmt"
	"slices"
	"time"

	"combotto.io/gateway/test/acklog"
)

// Arrivals is what one sink received, judged by the identity of the messages
// and nothing that the gateway says about them.
type Arrivals struct {
	Records    int // in all
	Duplicates int // the same identity once more
	Disordered int // first arrivals that came after a later message of their device

	first     map[acklog.Identity]struct{}
	newest    map[acklog.Identity]uint64 // by device and boot
	latencies []latency
}

type latency struct {
	receivedAt time.Time
	took       time.Duration
}

// NewArrivals returns an empty account.
func NewArrivals() *Arrivals {
	return &Arrivals{first: map[acklog.Identity]struct{}{}, newest: map[acklog.Identity]uint64{}}
}

// Add takes one record. It has the form that ReadFileSink wants.
func (a *Arrivals) Add(record *Record) error {
	if record.Sequence == nil || record.BootID == "" {
		return fmt.Errorf("record %s has no identity", record.CorrelationID)
	}
	identity := record.Identity()
	a.Records++
	if _, again := a.first[identity]; again {
		a.Duplicates++
		return nil
	}
	a.first[identity] = struct{}{}
	device := acklog.Identity{Device: identity.Device, BootID: identity.BootID}
	if identity.Sequence < a.newest[device] {
		a.Disordered++
	}
	a.newest[device] = max(a.newest[device], identity.Sequence)
	if !record.ArrivedAt.IsZero() {
		a.latencies = append(a.latencies, latency{record.ReceiveTS, record.ArrivedAt.Sub(record.ReceiveTS)})
	}
	return nil
}

// Distinct returns how many messages arrived at least once.
func (a *Arrivals) Distinct() int { return len(a.first) }

// Has reports whether a message arrived.
func (a *Arrivals) Has(identity acklog.Identity) bool {
	_, arrived := a.first[identity]
	return arrived
}

// Missing returns those of the acknowledged messages that did not arrive.
func (a *Arrivals) Missing(acknowledged []acklog.Identity) []acklog.Identity {
	var missing []acklog.Identity
	for _, identity := range acknowledged {
		if !a.Has(identity) {
			missing = append(missing, identity)
		}
	}
	return missing
}

// Latency returns a quantile of the time from the gateway's stamp to the first
// arrival, of the messages that the gateway stamped in [from, to).
func (a *Arrivals) Latency(from, to time.Time, share float64) (took time.Duration, messages int) {
	var within []time.Duration
	for _, one := range a.latencies {
		if !one.receivedAt.Before(from) && one.receivedAt.Before(to) {
			within = append(within, one.took)
		}
	}
	if len(within) == 0 {
		return 0, 0
	}
	slices.Sort(within)
	return within[min(len(within)-1, int(share*float64(len(within))))], len(within)
}
