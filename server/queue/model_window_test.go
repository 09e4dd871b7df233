package queue_test

import (
	"maps"
	"slices"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// What a queue recognises of each device: sequences counted back from the largest
// of a boot, the boots that stored something last, and the message ids that came
// last. It also forgets after a day and when memory is short, which no history
// reaches.
const (
	windowSequences = 1024
	windowBoots     = 4
	windowMessages  = 1024
)

// modelWindow is what is known of one device's messages, as indexes into
// model.records. What is not known any more is stored again.
type modelWindow struct {
	boots  []*modelBoot // the one that was used last comes last
	ids    []string     // in order of arrival; one that comes again keeps its place
	stored map[string]int
}

// modelBoot is what is known of one boot.
type modelBoot struct {
	id     string
	high   uint64 // the largest sequence that was stored
	stored map[uint64]int
}

func newModelWindow() *modelWindow { return &modelWindow{stored: map[string]int{}} }

// find returns the latest record with an identity.
func (w *modelWindow) find(identity *edge.Identity) (index int, found bool) {
	if identity.MessageID != "" {
		index, found = w.stored[identity.MessageID]
		return index, found
	}
	if boot := w.boot(identity.BootID); boot != nil {
		index, found = boot.stored[identity.Sequence]
	}
	return index, found
}

// boot returns a boot that is known, or nil.
func (w *modelWindow) boot(id string) *modelBoot {
	for _, boot := range w.boots {
		if boot.id == id {
			return boot
		}
	}
	return nil
}

// put remembers a record that is stored.
func (w *modelWindow) put(identity *edge.Identity, index int) {
	if identity.MessageID != "" {
		w.putMessage(identity.MessageID, index)
		return
	}
	boot := w.boot(identity.BootID)
	if boot == nil {
		boot = &modelBoot{id: identity.BootID, stored: map[uint64]int{}}
	}
	w.boots = append(slices.DeleteFunc(w.boots, func(other *modelBoot) bool { return other == boot }), boot)
	w.boots = w.boots[max(0, len(w.boots)-windowBoots):]
	boot.high = max(boot.high, identity.Sequence)
	boot.stored[identity.Sequence] = index
	maps.DeleteFunc(boot.stored, func(sequence uint64, _ int) bool { return boot.high-sequence >= windowSequences })
}

func (w *modelWindow) putMessage(id string, index int) {
	if _, known := w.stored[id]; !known {
		w.ids = append(w.ids, id)
	}
	w.stored[id] = index
	if len(w.ids) > windowMessages {
		delete(w.stored, w.ids[0])
		w.ids = w.ids[1:]
	}
}

// forgotten says why the identity of a record that was stored is not known any
// more; it is empty when it is.
func (w *modelWindow) forgotten(identity *edge.Identity) string {
	_, found := w.find(identity)
	switch {
	case found || !identity.Identifies():
		return ""
	case identity.MessageID != "":
		return "repeated after too many other message ids"
	case w.boot(identity.BootID) == nil:
		return "repeated after too many other boots"
	default:
		return "repeated after too many other sequences"
	}
}

// window returns what is known of a device.
func (m *model) window(device edge.DeviceID) *modelWindow {
	if m.windows[device] == nil {
		m.windows[device] = newModelWindow()
	}
	return m.windows[device]
}

// skip leaves out sequences of every device: what came before goes out of the
// window, or to its edge.
func (m *machine) skip(t *rapid.T, _ edge.SinkID) {
	m.sent += rapid.SampledFrom([]int{100, 900, windowSequences - 2, windowSequences - 1, windowSequences}).Draw(t, "sequences")
}

// talkative is how many messages a device may have named before a history begins:
// a few less than the window knows.
const talkative = windowMessages - 4

// talk stores many messages with ids of their own. No sink is owed them, which
// keeps the model quick.
func (m *machine) talk(t *rapid.T, messages int) {
	entries := make([]edge.Entry, messages)
	for i := range entries {
		m.sent++
		entries[i] = edge.Entry{Record: edgetest.Record(modelDevices[0], m.sent)}
		entries[i].Record.Identity = m.newName(false)
	}
	m.appendEntries(t, entries...)
}
