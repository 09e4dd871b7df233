package queue

import (
	"fmt"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
)

// What a small queue recognises. The table is that of ADR 0020.
func TestWindow_messages(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		limit             int64
		devices, messages int
	}{
		{2 * mib, 5, 1024},
		{2 * mib, 50, 256},
		{2 * mib, 500, 16},
		{8 * mib, 50, 1024},
		{8 * mib, 500, 64},
		{51 * mib, 50, 1024},
		{51 * mib, 500, 512},
		{51 * mib, 5_000, 64},
		{256 * mib, 500, 1024},
	} {
		t.Run(fmt.Sprintf("%dMiB/%d", test.limit/mib, test.devices), func(t *testing.T) {
			w := newWindow(int(newBounds(test.limit, 1<<40, pendingDefault).window))
			w.now = windowTime.UnixMilli()
			sent := test.messages + 10
			for number := range sent {
				for device := range test.devices {
					w.put(bySequence(device, "a", uint64(number+1)), edge.Position(number*test.devices+device+1), 0)
				}
			}
			if w.bytes > w.bytesMax || w.messages() != test.messages || len(w.devices) != test.devices {
				t.Errorf("%d bytes of %d know %d messages of each of %d devices", w.bytes, w.bytesMax, w.messages(), len(w.devices))
			}
			for device := range test.devices {
				_, newest := w.find(bySequence(device, "a", uint64(sent)))
				_, oldest := w.find(bySequence(device, "a", uint64(sent-test.messages+1)))
				_, older := w.find(bySequence(device, "a", uint64(sent-test.messages)))
				if !newest || !oldest || older {
					t.Fatalf("device %d: newest %v, oldest %v, the one before %v", device, newest, oldest, older)
				}
			}
		})
	}
}

// When memory is free again, rings become as long as they were.
func TestWindow_Shortened(t *testing.T) {
	const devices, bound = 40, 1 << 20 // for 30 devices with 1024 messages
	w := newWindow(bound)
	w.now = windowTime.UnixMilli()
	send := func(device, first int) {
		for number := first; number < first+2*windowRing; number++ {
			w.put(bySequence(device, "a", uint64(number)), edge.Position(number+1), 0)
			w.put(byMessage(device, number), edge.Position(number+1), 0)
		}
	}
	for device := range devices {
		send(device, 0)
	}
	if got := w.messages(); got != windowRing/4 || len(w.devices) != devices || w.bytes > bound {
		t.Fatalf("%d messages of %d devices in %d bytes", got, len(w.devices), w.bytes)
	}
	later := windowTime.Add(windowAge + time.Second)
	w.now = later.UnixMilli()
	w.forgetOld(later)
	w.forgetOld(later)
	send(1, 10_000)
	_, sequence := w.find(bySequence(1, "a", uint64(10_000+windowRing)))
	_, message := w.find(byMessage(1, 10_000+windowRing))
	if got := w.messages(); got != windowRing || !sequence || !message {
		t.Errorf("%d messages, the oldest by sequence %v, by id %v", got, sequence, message)
	}
}
