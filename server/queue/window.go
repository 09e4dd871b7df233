package queue

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

const (
	windowAge      = 24 * time.Hour
	windowBytesMax = 64 << 20
	windowRing     = 1024 // sequences of one boot, message ids of one device
	// recordOverhead is what reading a record again costs besides its payload.
	recordOverhead = 64
)

// window recognises messages that come again. It forgets what is older than
// windowAge in gateway time, and what lies more than windowRing messages of the same
// device back. When that takes too much memory it knows fewer messages of every device,
// and when they are as few as ringMin, not the devices that were silent for longest.
// It does not recognise what is in quarantine either, so that who still has such a
// message can bring it back. What it does not recognise is stored again: a duplicate,
// never a loss.
//
//	devices --> device --> boots [0] high 41 | ring: 38 39 40 41  34 35 36 37
//	                             [1] ...              payload hash, position, times
//	                   --> message ids | ring in order of arrival, index by hash
//
// The assembler writes it ahead of the commit. When a commit fails, everything
// above the last durable position is forgotten.
type window struct {
	bytesMax int
	read     atomic.Int64 // bytes of all records so far: what a start would have to read again

	mu      sync.Mutex
	devices map[edge.DeviceID]*device
	recent  list.List                  // of *device: the one that was heard last comes first
	dirty   list.List                  // of *device: the one that has changed longest without being saved comes first
	gone    map[edge.DeviceID]struct{} // forgotten, but a row of them is saved
	// replaced is what was known of the message that the one at a position has
	// contradicted: it still holds while that one is not durable.
	replaced map[edge.Position]queuefile.Seen
	apart    queuefile.Spans // in quarantine
	bytes    int
	most     int // slots of a ring: windowRing, or fewer for want of memory
	// excess is up to where rows of the dirty list hold more than is known; 0 when none does.
	excess edge.Position
	now    int64 // gateway time of what is put or looked for, Unix milliseconds
	forgot int64 // devices that were heard last before this gateway time may be forgotten
}

// device is the window of one device.
type device struct {
	name     edge.DeviceID
	boots    []*boot // the one that was used last comes first
	messages *ring   // nil until the device names a message
	bytes    int
	heard    int64         // its newest message, gateway time in Unix milliseconds
	saved    bool          // a row of it exists
	covered  edge.Position // with a row that was loaded: what it holds everything up to

	recent    *list.Element
	dirty     *list.Element // nil: what is saved is all there is
	dirtyFrom edge.Position
	dirtyRead int64 // window.read when it became dirty
}

func newWindow(bytesMax int) *window {
	return &window{
		bytesMax: bytesMax, most: windowRing,
		devices: make(map[edge.DeviceID]*device), gone: make(map[edge.DeviceID]struct{}), replaced: make(map[edge.Position]queuefile.Seen),
	}
}

// hashPayload tells payloads apart. Nobody can make two of them collide for
// another device's messages, because identities are per device.
func hashPayload(payload []byte) uint64 { return xxhash.Sum64(payload) }

// find returns what is known of a message that arrives now. The caller holds mu
// and has set the time.
func (w *window) find(record *edge.Record) (queuefile.Seen, bool) {
	device, ok := w.devices[record.Device]
	if !ok {
		return queuefile.Seen{}, false
	}
	known := device.find(&record.Identity)
	if known == nil || known.Position == 0 || w.now-known.Heard > windowAge.Milliseconds() {
		return queuefile.Seen{}, false
	}
	if w.apart.Contains(queuefile.Span{First: known.Position, End: known.Position + 1}) {
		return queuefile.Seen{}, false
	}
	return *known, true
}

// setAside is told which positions are in quarantine. What is known of them stays
// where it is: people may ask what became of it.
func (w *window) setAside(positions queuefile.Span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart.Add(positions)
}

// put remembers the message at a position; a message with the same identity is
// forgotten for it, because the newer one is more likely to come again. The
// caller holds mu and has set the time.
func (w *window) put(record *edge.Record, position edge.Position, payload uint64) {
	w.read.Add(int64(len(record.Payload)) + recordOverhead)
	if !record.Identity.Identifies() {
		return
	}
	d, ok := w.devices[record.Device]
	if !ok {
		d = w.addDevice(record.Device)
	} else {
		w.recent.MoveToFront(d.recent)
	}
	now := queuefile.Seen{Payload: payload, Position: position, Received: record.ReceivedAt.UnixMilli(), Heard: w.now}
	grown := d.put(&record.Identity, now, w.most)
	d.bytes += grown
	w.bytes += grown
	d.heard = w.now
	if d.dirty == nil {
		w.markDirty(d, position, w.read.Load())
	}
	w.shrink(position)
}

// shrink makes the window fit: it shortens the rings of all devices, and forgets
// devices only when they cannot be shorter. What is shortened is saved again, once
// everything up to a position is durable.
func (w *window) shrink(position edge.Position) {
	for w.bytes > w.bytesMax && w.most > ringMin {
		w.most /= 2
		for _, d := range w.devices {
			w.shorten(d, position)
		}
	}
	for w.bytes > w.bytesMax && w.recent.Len() > 1 {
		w.forget(w.recent.Back().Value.(*device))
	}
}

// shorten drops the oldest messages of a device that knows too many.
func (w *window) shorten(d *device, position edge.Position) {
	freed := d.shorten(w.most)
	d.bytes -= freed
	w.bytes -= freed
	if freed == 0 || !d.saved {
		return
	}
	w.excess = max(w.excess, position)
	if d.dirty == nil {
		w.markDirty(d, position, w.read.Load())
	}
}

// deviceBytes is what a device takes besides its rings.
const deviceBytes = 400

func (w *window) addDevice(name edge.DeviceID) *device {
	// The name may be a part of something larger that would stay in memory.
	d := &device{name: edge.DeviceID([]byte(name)), bytes: deviceBytes + len(name)}
	d.recent = w.recent.PushFront(d)
	w.devices[d.name] = d
	w.bytes += d.bytes
	if _, d.saved = w.gone[name]; d.saved {
		delete(w.gone, name)
	}
	return d
}

func (w *window) forget(d *device) {
	w.recent.Remove(d.recent)
	if d.dirty != nil {
		w.dirty.Remove(d.dirty)
	}
	if d.saved {
		w.gone[d.name] = struct{}{}
	}
	delete(w.devices, d.name)
	w.bytes -= d.bytes
	w.forgot = max(w.forgot, d.heard)
}

// growShare is which part of its memory the window takes at most when rings may
// become longer again: twice as long, they do not have to be shortened at once.
const growShare = 4

// forgetOld drops the devices that were not heard within windowAge, and uses the
// memory that is free.
func (w *window) forgetOld(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for oldest := w.recent.Back(); oldest != nil; oldest = w.recent.Back() {
		d := oldest.Value.(*device)
		if now.UnixMilli()-d.heard <= windowAge.Milliseconds() {
			break
		}
		w.forget(d)
	}
	if w.bytes <= w.bytesMax/growShare && w.most < windowRing {
		w.most *= 2
	}
}

// replace is told what put is about to forget for the message at a position,
// and up to where all is durable. The caller holds mu.
func (w *window) replace(old queuefile.Seen, position, head edge.Position) {
	for durable := range w.replaced {
		if durable <= head {
			delete(w.replaced, durable)
		}
	}
	w.replaced[position] = old
}

// asOf returns what was known when everything up to head was durable.
func (w *window) asOf(known queuefile.Seen, head edge.Position) queuefile.Seen {
	for known.Position > head {
		known = w.replaced[known.Position]
	}
	return known
}

// forgetAbove drops what was put for positions that did not become durable.
func (w *window) forgetAbove(head edge.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.devices {
		for _, boot := range d.boots {
			w.forgetSlotsAbove(boot.slots, head)
		}
		if d.messages != nil {
			w.forgetSlotsAbove(d.messages.slots, head)
		}
		// What takes those positions has to be saved, or read again, from there on.
		d.dirtyFrom = min(d.dirtyFrom, head+1)
	}
	clear(w.replaced)
}

func (w *window) forgetSlotsAbove(slots []queuefile.Seen, head edge.Position) {
	for i := range slots {
		slots[i] = w.asOf(slots[i], head)
	}
}

// reach returns how far back the window recognises every device.
func (w *window) reach(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.forgot == 0 {
		return windowAge
	}
	return max(0, min(windowAge, now.Sub(time.UnixMilli(w.forgot))))
}

// messages returns how many messages of a device the window recognises at most.
func (w *window) messages() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

// lookUp returns the position of a message, for people who ask.
func (w *window) lookUp(name edge.DeviceID, identity *edge.Identity) (edge.Position, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	device, ok := w.devices[name]
	if !ok {
		return 0, false
	}
	known := device.find(identity)
	if known == nil || known.Position == 0 {
		return 0, false
	}
	return known.Position, true
}

func (d *device) find(identity *edge.Identity) *queuefile.Seen {
	if identity.MessageID != "" {
		if d.messages == nil {
			return nil
		}
		return d.messages.find(hashMessageID(identity.MessageID))
	}
	for _, boot := range d.boots {
		if boot.id == identity.BootID {
			return boot.find(identity.Sequence)
		}
	}
	return nil
}

// put returns by how many bytes the device has grown. No ring gets more than most
// slots.
func (d *device) put(identity *edge.Identity, now queuefile.Seen, most int) (grown int) {
	if identity.MessageID != "" {
		if d.messages == nil {
			d.messages = newRing()
			grown = d.messages.bytes()
		}
		return grown + d.messages.put(hashMessageID(identity.MessageID), now, most)
	}
	boot, grown := d.boot(identity.BootID)
	return grown + boot.put(identity.Sequence, now, most)
}

// shorten returns by how many bytes the device has become smaller.
func (d *device) shorten(most int) (freed int) {
	for _, boot := range d.boots {
		freed += boot.shorten(most)
	}
	if d.messages != nil {
		freed += d.messages.shorten(most)
	}
	return freed
}

// boot returns the window of a boot and moves it to the front. A new boot takes
// the place of the one that was used longest ago.
func (d *device) boot(id string) (found *boot, grown int) {
	for i, candidate := range d.boots {
		if candidate.id == id {
			copy(d.boots[1:i+1], d.boots[:i])
			d.boots[0] = candidate
			return candidate, 0
		}
	}
	found = newBoot(id)
	grown = found.bytes()
	if len(d.boots) < queuefile.MaxBoots {
		d.boots = append(d.boots, nil)
	} else {
		grown -= d.boots[queuefile.MaxBoots-1].bytes()
	}
	copy(d.boots[1:], d.boots)
	d.boots[0] = found
	return found, grown
}
