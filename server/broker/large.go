package broker

import (
	"context"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// What a connection has sent of a packet stays in memory until the packet is there
// and somebody has taken it. Small ones are bounded by the number of connections.
// Large ones share MaxLargeBytes: a connection that sends another one is not read
// until there is room, and is cut off when there is none in time.

// allocate provides the body of a packet.
func (c *connection) allocate(ctx context.Context, packet mqttwire.PacketType, size int) ([]byte, error) {
	if size <= smallPacket {
		return c.slab.allocate(packet, size), nil
	}
	if err := c.reserve(ctx, size); err != nil {
		return nil, err
	}
	return make([]byte, size), nil
}

// reserve takes the room for a large packet, all of which has to arrive in time
// from now on.
func (c *connection) reserve(ctx context.Context, size int) error {
	b := c.broker
	waits := !b.large.TryAcquire(int64(size))
	if waits {
		grace, cancel := context.WithTimeout(ctx, b.settings.FullGrace)
		err := b.large.Acquire(grace, int64(size))
		cancel()
		switch {
		case ctx.Err() != nil && err != nil:
			return ctx.Err()
		case err != nil:
			return mqttwire.Refuse(mqttwire.QuotaExceeded, "too many large packets are under way")
		}
	}
	c.reserved = int64(size)
	if waits || c.idle > b.settings.PacketTimeout {
		c.deadlineAt = time.Now().Add(min(c.idle, b.settings.PacketTimeout))
		c.setReadDeadline(c.deadlineAt)
	}
	return nil
}

// unreserve gives the room back, if there is any.
func (c *connection) unreserve() {
	if c.reserved > 0 {
		c.broker.large.Release(c.reserved)
		c.reserved = 0
	}
}
