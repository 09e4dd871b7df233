package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
)

// A message that needs much room gets it in its turn, however many small ones come
// behind it.
func TestIntake_put(t *testing.T) {
	bubble(t, "InOrder", putInOrder)
	bubble(t, "GivenUp", putGivenUp)
	bubble(t, "Refused", putRefused)
}

const putBytesMax = 100

// entryOf returns one entry of a device.
func entryOf(device edge.DeviceID) []edge.Entry {
	return []edge.Entry{{Record: edge.Record{Device: device}}}
}

// devices returns who sent what a group holds.
func (g *group) devices() (devices []edge.DeviceID) {
	for n := range g.entries {
		devices = append(devices, g.entries[n].Record.Device)
	}
	return devices
}

func putInOrder(t *testing.T) {
	i := newIntake(putBytesMax)
	const publishers, each = 30, 20
	for range 5 {
		if err := i.put(t.Context(), entryOf("small"), 10); err != nil {
			t.Fatal(err)
		}
	}
	underWay := i.take(time.Time{})
	var putting sync.WaitGroup
	defer putting.Wait()
	for range publishers {
		putting.Go(func() {
			for range each {
				if err := i.put(t.Context(), entryOf("small"), 10); err != nil {
					t.Errorf("small: %v", err)
				}
			}
		})
	}
	synctest.Wait() // half of the room is under way, the other half is taken
	putting.Go(func() {
		if err := i.put(t.Context(), entryOf("large"), 90); err != nil {
			t.Errorf("large: %v", err)
		}
	})
	synctest.Wait()
	// There is a group under way whenever one is answered, as long as any is left, so
	// that never all of the room is free by itself.
	var order []edge.DeviceID
	for underWay != nil {
		order = append(order, underWay.devices()...)
		var next *group
		if len(i.waiting) > 0 {
			next = i.take(time.Time{})
		}
		i.answered(underWay)
		synctest.Wait()
		if underWay = next; next == nil && len(i.waiting) > 0 {
			underWay = i.take(time.Time{})
		}
	}
	// 10 were taken, each publisher waits with one, and one more has room beside.
	const came = 10 + publishers + 1
	if before := slices.Index(order, "large"); len(order) != 5+publishers*each+1 || before < 0 || before > came {
		t.Errorf("of %d messages %d went before the large one, and %d came before it", len(order), before, came)
	}
}

// Who gives up makes room for those behind.
func putGivenUp(t *testing.T) {
	i := newIntake(putBytesMax)
	if err := i.put(t.Context(), entryOf("first"), 50); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := i.put(ctx, entryOf("large"), 90); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	})
	synctest.Wait()
	waiting.Go(func() {
		if err := i.put(t.Context(), entryOf("small"), 50); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	cancel()
	waiting.Wait()
	if devices := i.take(time.Time{}).devices(); len(devices) != 2 || devices[1] != "small" {
		t.Errorf("got %v", devices)
	}
}

// Who waits is told when nothing is taken any more, and waits no longer.
func putRefused(t *testing.T) {
	i := newIntake(putBytesMax)
	if err := i.put(t.Context(), entryOf("first"), 90); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if err := i.put(t.Context(), entryOf("late"), 90); edge.AsError(err) == nil || edge.AsError(err).Code != edge.Full {
				t.Errorf("got %v, want full", err)
			}
		})
	}
	synctest.Wait()
	i.refuse(edge.NewFull())
	waiting.Wait()
	i.refuse(nil)
	if err := i.put(t.Context(), entryOf("next"), 10); err != nil {
		t.Error(err)
	}
	if devices := i.take(time.Time{}).devices(); len(devices) != 2 || devices[1] != "next" {
		t.Errorf("got %v", devices)
	}
}
