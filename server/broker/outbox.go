package broker

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// stage is how far a delivery to a client has come.
type stage uint8

const (
	queued        stage = iota // on its way through the exchange
	held                       // waits for room in the client's window
	awaitsPuback               // sent at QoS 1
	awaitsPubrec               // sent at QoS 2
	awaitsPubcomp              // released
)

// delivery is one message at QoS 1 or 2 that a client has not acknowledged. The
// message itself is kept by the exchange, under the same packet id.
type delivery struct {
	sequence  uint64 // in the order in which the session got them
	bytes     int
	qos       byte
	stage     stage
	sent      bool  // once, on any connection: the next time is a duplicate
	released  bool  // the client has the message and need only say so
	expiresAt int64 // on the exchange's clock, 0 for never
}

// outbox is what a session still owes its client, in order:
//
//	queued -> held -> awaitsPuback                  -> gone
//	               -> awaitsPubrec -> awaitsPubcomp -> gone
//
// It belongs to the session and survives the connection; the window is the
// connection's. The order is kept here because the exchange repeats messages in
// no particular order, and the window because the exchange forgets deliveries
// when it is told of a Receive Maximum.
type outbox struct {
	total *atomic.Int64 // what all sessions of the broker owe; nil in a test of one

	mu           sync.Mutex
	deliveries   map[uint16]delivery
	waiting      []uint16 // held, oldest first; ids that are gone are skipped
	sequence     uint64
	bytes        int // of the payloads of all deliveries
	expiring     int // deliveries that expire
	window       int
	windowBytes  int
	unacked      int // sent on this connection
	unackedBytes int
}

// open starts a connection: whatever is owed waits for the new window, in the
// order in which it came.
func (o *outbox) open(window, windowBytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.window, o.windowBytes, o.unacked, o.unackedBytes = window, windowBytes, 0, 0
	o.waiting = slices.SortedFunc(maps.Keys(o.deliveries), func(a, b uint16) int {
		return cmp.Compare(o.deliveries[a].sequence, o.deliveries[b].sequence)
	})
	for id, d := range o.deliveries {
		d.stage = held
		o.deliveries[id] = d
	}
}

// add notes a delivery that the exchange has taken over.
func (o *outbox) add(id uint16, qos byte, bytes int, expiresAt int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.deliveries == nil {
		o.deliveries = make(map[uint16]delivery)
	}
	o.remove(id)
	o.sequence++
	o.deliveries[id] = delivery{sequence: o.sequence, bytes: bytes, qos: qos, expiresAt: expiresAt}
	o.account(1, bytes)
	if expiresAt > 0 {
		o.expiring++
	}
}

// admit decides about a PUBLISH that the exchange writes: send lets it go out,
// otherwise it waits until next returns it. first is true when the exchange
// writes it on its own account, not because next returned it.
func (o *outbox) admit(id uint16) (send, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.deliveries[id]
	if !ok || d.stage == held {
		return false, true
	}
	if d.stage != queued {
		return true, false
	}
	if len(o.waiting) > 0 || !o.hasRoom(d.bytes) {
		d.stage = held
		o.deliveries[id] = d
		o.waiting = append(o.waiting, id)
		return false, true
	}
	o.send(id, d)
	return true, true
}

// next takes the oldest waiting delivery that the window has room for, and says
// whether it was sent before.
func (o *outbox) next() (id uint16, again, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 {
		id = o.waiting[0]
		d, known := o.deliveries[id]
		waits := known && d.stage == held
		if waits && !o.hasRoom(d.bytes) {
			return 0, false, false
		}
		if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
			o.waiting = nil
		}
		if waits {
			o.send(id, d)
			return id, d.sent, true
		}
	}
	return 0, false, false
}

func (o *outbox) hasRoom(bytes int) bool {
	return o.unacked == 0 || o.unacked < o.window && o.unackedBytes+bytes <= o.windowBytes
}

func (o *outbox) send(id uint16, d delivery) {
	switch {
	case d.released:
		d.stage = awaitsPubcomp
	case d.qos == 2:
		d.stage = awaitsPubrec
	default:
		d.stage = awaitsPuback
	}
	d.sent = true
	o.deliveries[id] = d
	o.unacked++
	o.unackedBytes += d.bytes
}

// acknowledge judges an acknowledgement of the client. known is false when it
// belongs to no delivery that was sent; an error means that it does not fit the
// delivery. last is true when the delivery is over.
func (o *outbox) acknowledge(packet mqttwire.PacketType, id uint16, reason mqttwire.ReasonCode) (known, last bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.deliveries[id]
	if !ok || d.stage < awaitsPuback {
		return false, false, nil
	}
	fits := packet == mqttwire.Puback && d.stage == awaitsPuback ||
		packet == mqttwire.Pubrec && (d.stage == awaitsPubrec || d.stage == awaitsPubcomp) ||
		packet == mqttwire.Pubcomp && d.stage == awaitsPubcomp
	if !fits {
		return false, false, mqttwire.Refuse(mqttwire.ProtocolError, "acknowledgement does not fit the delivery")
	}
	if packet == mqttwire.Pubrec && !reason.IsError() {
		o.account(0, -d.bytes)
		o.unackedBytes -= d.bytes
		d.stage, d.released, d.bytes = awaitsPubcomp, true, 0
		o.deliveries[id] = d
		return true, false, nil
	}
	o.remove(id)
	return true, true, nil
}

// clear forgets everything: the session is over.
func (o *outbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.account(-len(o.deliveries), -o.bytes)
	o.deliveries, o.waiting, o.bytes, o.expiring, o.unacked, o.unackedBytes = nil, nil, 0, 0, 0, 0
}

// drop forgets a delivery.
func (o *outbox) drop(id uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remove(id)
}

// remove takes a delivery out of every account. o.mu is held.
func (o *outbox) remove(id uint16) {
	d, ok := o.deliveries[id]
	if !ok {
		return
	}
	delete(o.deliveries, id)
	o.account(-1, -d.bytes)
	if d.expiresAt > 0 {
		o.expiring--
	}
	if d.stage >= awaitsPuback {
		o.unacked--
		o.unackedBytes -= d.bytes
	}
}

// expired returns the deliveries whose time has passed before they were sent.
func (o *outbox) expired(now time.Time) (ids []uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.expiring == 0 {
		return nil
	}
	for id, d := range o.deliveries {
		if d.expiresAt > 0 && d.expiresAt <= now.Unix() && d.stage < awaitsPuback && !d.released {
			ids = append(ids, id)
		}
	}
	return ids
}

// deliveryOverhead is what a delivery takes besides its payload: mochi's packet,
// its place in three maps, and ours. Measured with 8,192 of them.
const deliveryOverhead = 1 << 10

// account notes what is owed more, or less. o.mu is held.
func (o *outbox) account(deliveries, bytes int) {
	o.bytes += bytes
	if o.total != nil {
		o.total.Add(int64(deliveries*deliveryOverhead + bytes))
	}
}

// size returns how many deliveries are owed, and the memory that they take.
func (o *outbox) size() (deliveries, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.deliveries), len(o.deliveries)*deliveryOverhead + o.bytes
}
