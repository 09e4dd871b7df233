package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// fleet is the devices, with all that they ever meant to say and what they were
// told about it.
type fleet struct {
	w       *world
	random  *rand.Rand
	decoder *wire.Decoder
	devices []*device

	mu        sync.Mutex
	messages  []*message // by index
	byPayload map[string]*message
	acked     map[edge.CorrelationID]*message
	refused   map[edge.CorrelationID]*message // acknowledged, but kept as dead letters of ingress
}

// device sends in order, with a bounded window, and sends again whatever was not
// acknowledged.
type device struct {
	id       edge.DeviceID
	boot     int
	sequence int
	queue    []*message // not acknowledged, oldest first
}

// message is what a device means to say once.
type message struct {
	index    int
	device   *device
	payload  []byte
	key      string   // an Idempotency-Key, if it has one
	unnamed  bool     // nothing identifies it: sent again, it is stored again
	invalid  bool     // refused at the door, and kept
	replaces *message // sent under the same identity before
	replaced bool     // another payload was sent under its identity: not sent again

	// Guarded by fleet.mu.
	waiting           bool // handed over, not answered yet
	sends             int
	first             edge.CorrelationID // zero until it is acknowledged
	offered, answered time.Time          // for the first time
	failed            bool               // its key was refused, for good
}

func newFleet(w *world) *fleet {
	f := &fleet{
		w: w, random: rand.New(rand.NewPCG(w.seed, 2)), decoder: wire.NewDecoder(), byPayload: map[string]*message{},
		acked: map[edge.CorrelationID]*message{}, refused: map[edge.CorrelationID]*message{},
	}
	for i := range w.settings.Devices {
		f.devices = append(f.devices, &device{id: edge.DeviceID(fmt.Sprintf("dev-%d", i))})
	}
	return f
}

// noise returns bytes that do not compress. They are drawn apart, so that a seed is
// the same with and without them in all else.
func (f *fleet) noise(count int) []byte {
	noise := make([]byte, count)
	rand.NewChaCha8([32]byte{byte(f.w.seed), byte(len(f.messages)), byte(len(f.messages) >> 8)}).Read(noise)
	return noise
}

// say makes a device want to send something new.
func (f *fleet) say(d *device) {
	m := &message{device: d}
	identity := ""
	switch f.random.IntN(12) {
	case 0:
		m.unnamed = true
	case 1:
		m.invalid = true
	case 2:
		m.key = fmt.Sprintf("key-%d", len(f.messages))
	case 3:
		identity = fmt.Sprintf(`"message_id":"m-%d",`, len(f.messages))
	default:
		d.sequence++
		identity = fmt.Sprintf(`"boot_id":"b-%d","sequence":%d,`, d.boot, d.sequence)
	}
	f.add(m, identity)
}

// contradict makes a device send another payload under the identity of a
// message that was acknowledged.
func (f *fleet) contradict(d *device) {
	f.mu.Lock()
	var old *message
	for _, m := range f.messages {
		if m.device == d && !m.unnamed && !m.invalid && !m.replaced && !m.waiting && !m.first.IsZero() {
			old = m
		}
	}
	f.mu.Unlock()
	if old == nil {
		return
	}
	old.replaced = old.key == "" // with a key of the caller the first one stays
	_, rest, _ := strings.Cut(string(old.payload), "{")
	identity, _, _ := strings.Cut(rest, `"schema_version"`)
	f.add(&message{device: d, key: old.key, replaces: old}, identity)
}

// add writes the payload, which no other message has.
func (f *fleet) add(m *message, identity string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.index = len(f.messages)
	metrics := fmt.Sprintf(`"n":%d,"poison":%d`, m.index, poison(f.random))
	if m.invalid {
		metrics = ""
	}
	padding := ""
	if f.random.IntN(8) == 0 {
		padding = fmt.Sprintf(`,"attributes":{"p":"%d"}`, m.index)
		for i := range f.random.IntN(40) {
			padding = padding[:len(padding)-1] + fmt.Sprintf(`,"p%d":"%x"}`, i, f.random.Uint64())
		}
	}
	if m.invalid && f.w.seed%8 == 0 { // enough to fill what a small queue keeps of them
		padding += fmt.Sprintf(`,"extra":"%x"`, f.noise(4<<10))
	}
	m.payload = fmt.Appendf(nil, `{%s"schema_version":1,"metrics":{%s}%s,"x_index":%d}`, identity, metrics, padding, m.index)
	f.messages = append(f.messages, m)
	f.byPayload[string(m.payload)] = m
	m.device.queue = append(m.device.queue, m)
}

// send hands over what a device may send now.
func (f *fleet) send(d *device) {
	for sent, m := range d.unacknowledged(f) {
		if sent >= f.w.settings.Window {
			return
		}
		f.mu.Lock()
		waiting := m.waiting
		f.mu.Unlock()
		if !waiting && !f.offer(m) {
			return // what follows must not overtake it
		}
	}
}

// unacknowledged returns what a device has to send, oldest first.
func (d *device) unacknowledged(f *fleet) []*message {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := d.queue[:0]
	for _, m := range d.queue {
		if m.first.IsZero() && !m.failed {
			kept = append(kept, m)
		}
	}
	clear(d.queue[len(kept):])
	d.queue = kept
	return append([]*message(nil), kept...)
}

// repeat sends a message again that may be stored already.
func (f *fleet) repeat() {
	m := f.messages[f.random.IntN(len(f.messages))]
	if m.replaced || m.unnamed || m.invalid {
		return
	}
	f.offer(m)
}

// offer hands a message to the door and reports whether the door took it.
func (f *fleet) offer(m *message) bool {
	l := f.w.life
	if l == nil {
		return false
	}
	telemetry, encoding, fault := f.decoder.Decode(edge.EncodingJSON, m.payload)
	submission := edge.Submission{
		Record: edge.Record{
			Device: m.device.id, Source: edge.SourceMQTT, Encoding: encoding, ReceivedAt: time.Now().UTC().Truncate(time.Microsecond),
			Identity: edge.Identity{MessageID: m.key, Explicit: m.key != ""}, Payload: m.payload,
		},
		Telemetry: telemetry, Fault: fault, KeepRefused: true,
		Replier: &door{fleet: f, life: l}, Token: uint64(m.index),
	}
	f.mu.Lock()
	if m.sends == 0 {
		m.offered = time.Now()
	}
	m.waiting = true
	m.sends++
	f.mu.Unlock()
	err := l.pipeline.Offer(context.Background(), &submission)
	if err == nil {
		return true
	}
	f.w.note("message %d is not taken: %v", m.index, err)
	f.w.count("refused: " + string(edge.AsError(err).Reason))
	f.mu.Lock()
	defer f.mu.Unlock()
	m.waiting = false
	return false
}

// restarted forgets what was under way, and lets some devices restart as well.
func (f *fleet) restarted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		m.waiting = false
	}
	for _, d := range f.devices {
		if d.boot < 3 && f.random.IntN(4) == 0 {
			d.boot++
			d.sequence = 0
		}
	}
}

// unacked returns how many messages wait to be acknowledged.
func (f *fleet) unacked() (total int) {
	for _, d := range f.devices {
		total += len(d.unacknowledged(f))
	}
	return total
}

// door is the [edge.Replier] of one process.
type door struct {
	fleet *fleet
	life  *life
}

// Flush implements [edge.Replier].
func (*door) Flush() {}

// Reply implements [edge.Replier]. What a dead process says is not heard.
func (d *door) Reply(token uint64, receipt edge.Receipt, err error) bool {
	f := d.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-d.life.gone:
		return false
	default:
	}
	m := f.messages[token]
	m.waiting = false
	if err != nil {
		f.denied(m, err)
		return false
	}
	if receipt.Refused != m.invalid {
		f.w.fail("message %d is answered with %+v", m.index, receipt)
	}
	if receipt.Refused {
		m.first = receipt.Correlation
		f.refused[receipt.Correlation] = m
		return false
	}
	f.acknowledged(m, receipt)
	return false
}

// denied judges an answer that says that the message is not stored.
func (f *fleet) denied(m *message, err error) {
	refusal := edge.AsError(err)
	f.w.count("refused: " + string(refusal.Reason))
	if refusal.Code != edge.Conflict {
		return // it is sent again
	}
	if (m.replaces == nil || m.key == "") && !f.w.misread() {
		f.w.fail("message %d is refused as a conflict: %v", m.index, err)
	}
	m.failed = true
}

// acknowledged judges an acknowledgement. From now on the record has to exist.
func (f *fleet) acknowledged(m *message, receipt edge.Receipt) {
	id := receipt.Correlation
	other, known := f.acked[id]
	switch {
	case f.w.misread(): // a damaged window forgets
	case known && other != m:
		f.w.fail("message %d is acknowledged as %s, which is message %d", m.index, id, other.index)
	case m.key != "" && m.replaces != nil:
		f.w.fail("message %d is acknowledged, though its key was used for another payload", m.index)
	case !m.first.IsZero() && !m.unnamed && (m.first != id || !receipt.Duplicate):
		f.w.fail("message %d is acknowledged as %+v, and was as %s before", m.index, receipt, m.first)
	case receipt.Duplicate && (m.unnamed || m.sends < 2):
		f.w.fail("message %d is taken for a repetition: %+v", m.index, receipt)
	case m.replaces != nil && !receipt.Conflict && !receipt.Duplicate:
		f.w.fail("message %d contradicts message %d, but nobody noticed", m.index, m.replaces.index)
	case m.replaces == nil && receipt.Conflict:
		f.w.fail("message %d contradicts nothing, but is a conflict", m.index)
	}
	f.acked[id] = m
	if m.first.IsZero() {
		m.first, m.answered = id, time.Now()
	}
}

// find returns the message with a payload, nil when nobody sent it.
func (f *fleet) find(payload []byte) *message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byPayload[string(payload)]
}
