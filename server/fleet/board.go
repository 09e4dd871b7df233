package fleet

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// board is one simulated device: one goroutine measures and fills the outbox,
// another empties it over the link.
//
//	sensors -> outbox -> hand -> link
type board struct {
	settings  *Settings
	broker    *url.URL
	device    edge.DeviceID
	behaviour Behaviour
	protobuf  bool
	counters  *counters
	log       *slog.Logger

	measuring *rand.Rand // of the goroutine that measures
	moving    *rand.Rand // of the goroutine that publishes
	outbox    *outbox
	hand      *message // in flight, or waiting for the next connection
}

func newBoard(settings *Settings, broker *url.URL, index int, device edge.DeviceID, counters *counters, observer *observe.Observer) *board {
	behaviour := settings.Behaviours[index%len(settings.Behaviours)]
	return &board{
		settings:  settings,
		broker:    broker,
		device:    device,
		behaviour: behaviour,
		// A faulty board breaks JSON; of the others every third speaks protobuf.
		protobuf:  behaviour != Faulty && index%3 == 2,
		counters:  counters,
		log:       observer.Log.With("device_id", string(device), "behaviour", behaviour.String()),
		measuring: rand.New(rand.NewPCG(settings.Seed, uint64(2*index))),
		moving:    rand.New(rand.NewPCG(settings.Seed, uint64(2*index+1))),
		outbox:    newOutbox(settings.Buffer),
	}
}

// run works until ctx ends and the outbox is empty, or drainLimit after ctx.
func (b *board) run(ctx context.Context) {
	draining, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		wait(draining, drainLimit)
		cancel()
	})
	defer stop()

	var measuring sync.WaitGroup
	measuring.Go(func() { b.measure(ctx) })
	b.publish(draining)
	measuring.Wait()

	lost := b.outbox.discard()
	if b.hand != nil {
		lost++
	}
	b.counters.dropped.Add(int64(lost))
}

// measure fills the outbox until ctx ends.
func (b *board) measure(ctx context.Context) {
	defer b.outbox.close()
	sensors := newSensors(b.device, b.measuring)
	pause, count := between(b.measuring, 0, b.settings.Interval), 1 // Boards start at different times.
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for i := range count {
			elapsed := pause
			if i > 0 {
				elapsed = 0
			}
			b.make(sensors.measure(time.Now(), elapsed))
		}
		pause, count = b.behaviour.pause(b.measuring, b.settings.Interval)
		timer.Reset(pause)
	}
}

// make puts one reading into the outbox, in the way of this board.
func (b *board) make(next *reading) {
	fault := faultNone
	if b.behaviour == Faulty {
		fault = drawFault(b.measuring)
	}
	made := &message{contentType: contentJSON}
	switch {
	case b.protobuf:
		made.payload, made.contentType = next.encodeProtobuf(), contentProtobuf
	case fault == faultNone || fault == faultTwice:
		made.payload = next.encodeJSON()
	default:
		made.payload, made.broken = next.spoil(fault), true
	}
	b.push(made)
	if fault == faultTwice {
		b.push(&message{payload: made.payload, contentType: made.contentType})
	}
}

func (b *board) push(made *message) {
	b.counters.produced.Add(1)
	if b.outbox.push(made) {
		b.counters.dropped.Add(1)
	}
}

// publish empties the outbox, over one connection or, for a board that comes
// and goes, over several. It returns when ctx ends or nothing is left to send.
func (b *board) publish(ctx context.Context) {
	for ctx.Err() == nil {
		link, err := openLink(b.settings, b.broker, b.device, b.counters, b.outbox.wake)
		if err != nil {
			// Only settings that complete has refused lead here.
			b.log.Error("a board cannot connect", "error", err)
			return
		}
		staying, cancel := context.WithCancel(ctx)
		if stay, ends := b.behaviour.stay(b.moving, b.settings.Interval); ends {
			staying, cancel = context.WithTimeout(ctx, stay)
		}
		finished := b.converse(staying, link)
		cancel()
		farewell := finished || ctx.Err() != nil || b.moving.IntN(2) == 0
		link.close(b.counters, farewell)
		if finished {
			return
		}
		b.log.Debug("a board left", "farewell", farewell)
		wait(ctx, b.behaviour.away(b.moving, b.settings.Interval))
	}
}

// retryDelay is how long a board waits before it sends a message again that
// was not taken.
const retryDelay = 200 * time.Millisecond

// converse publishes what the outbox holds until ctx ends. It reports whether
// nothing is left and nothing will come.
func (b *board) converse(ctx context.Context, link *link) (finished bool) {
	for ctx.Err() == nil {
		if b.hand == nil && b.outbox.drained() {
			return true
		}
		if link.awaitUp(ctx) != nil {
			wait(ctx, retryDelay)
			continue
		}
		if b.hand == nil {
			b.hand = b.outbox.take(ctx)
		}
		if b.hand == nil {
			continue
		}
		if b.settle(link.publish(ctx, telemetryTopic(b.device), b.hand.payload, b.hand.contentType, false)) {
			b.hand = nil
			continue
		}
		wait(ctx, retryDelay)
	}
	return false
}

// settle counts the answer and reports whether the message in hand is done
// with.
func (b *board) settle(answer answer) (done bool) {
	if b.hand.sent {
		b.counters.resends.Add(1)
	}
	b.hand.sent = true
	switch {
	case answer == acknowledged:
		b.counters.acknowledged.Add(1)
	case answer == refused:
		b.counters.refused.Add(1)
	case answer == unanswered && b.hand.broken:
		b.counters.abandoned.Add(1)
	default:
		return false
	}
	return true
}

// wait returns after the delay, or when ctx ends.
func wait(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
