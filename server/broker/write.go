package broker

import (
	"encoding/binary"
	"io"
	"net"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// lingerTime is how long a connection that was told why it ends is read on:
// closing a socket with unread input resets it, and the reason would be lost.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
)

// keptOutputBytes is how large an output buffer may be to be used again. An idle
// connection keeps no more than that.
const keptOutputBytes = 4 << 10

// write queues a packet and lets it go out.
func (c *connection) write(packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue(packet)
	c.kick()
}

// queue appends to the output. c.mu is held.
func (c *connection) queue(packet []byte) {
	if !c.closing {
		c.output = append(c.output, packet...)
	}
}

// kick starts the flusher if there is work for it and none runs. c.mu is held.
func (c *connection) kick() {
	if len(c.output) > c.broker.settings.MaxOutputBytes {
		c.broker.metrics.slowReader.Inc()
		c.die()
		return
	}
	if !c.flushing && !c.dead && (len(c.output) > 0 || c.closing) {
		c.flushing = true
		go c.flush()
	}
}

// flush writes until nothing is left. It is the only writer of the socket, and
// runs only while there is output.
func (c *connection) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.output) > 0 && !c.dead {
		writing := c.output
		c.output = c.spare[:0]
		c.mu.Unlock()
		_ = c.socket.SetWriteDeadline(time.Now().Add(c.broker.settings.WriteTimeout))
		_, err := c.socket.Write(writing)
		c.mu.Lock()
		if c.spare = writing; cap(writing) > keptOutputBytes {
			c.spare = nil
		}
		if err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				c.broker.metrics.slowReader.Inc()
			}
			c.die()
		}
	}
	if cap(c.output) > keptOutputBytes {
		c.output = nil
	}
	c.flushing = false
	c.changed.Broadcast()
	if c.closing && !c.lingering {
		c.die()
	}
}

// close stops reading and queueing; what is queued still goes out, under the
// write deadline. c.mu is held.
func (c *connection) close() {
	if c.closing {
		return
	}
	c.closing = true
	c.cancel()
	_ = c.socket.SetReadDeadline(time.Unix(1, 0))
	c.changed.Broadcast()
	c.kick()
}

// die closes the socket at once. c.mu is held.
func (c *connection) die() {
	if c.dead {
		return
	}
	c.dead, c.closing, c.output, c.spare = true, true, nil, nil
	_ = c.socket.Close()
	c.changed.Broadcast()
}

// finish waits for the last output and closes the socket. A client that was told
// why is given a moment to read it.
func (c *connection) finish() {
	c.cancel()
	c.mu.Lock()
	c.close()
	for c.flushing && !c.dead {
		c.changed.Wait()
	}
	linger := c.lingering && !c.dead
	c.mu.Unlock()
	if half, ok := c.socket.(interface{ CloseWrite() error }); ok && linger && half.CloseWrite() == nil {
		_ = c.socket.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.socket, lingerBytes)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.die()
	for c.flushing {
		c.changed.Wait()
	}
}

// setReadDeadline is the only place that sets one on a living connection: it
// must not revive one that is closing.
func (c *connection) setReadDeadline(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.socket.SetReadDeadline(at)
	}
}

// outbound takes one packet of the exchange. first is true for a delivery that
// the exchange had queued.
func (c *connection) outbound(frame mqttwire.Frame, data []byte) (first bool, err error) {
	switch frame.Type {
	case mqttwire.Publish:
		return c.deliver(frame, data)
	case mqttwire.Suback, mqttwire.Unsuback:
		// From here on a message to these topics finds its subscriber.
		c.broker.exchange.generation.Add(1)
		suback, err := mqttwire.DecodeSuback(c.version, mqttwire.Frame{Type: frame.Type, Body: withID(frame.Body)})
		if err != nil {
			return false, err
		}
		c.answer(suback.Reasons)
	case mqttwire.Pubrel:
		c.write(data)
	}
	return false, nil
}

// withID puts an id into an answer to a request that had none.
func withID(body []byte) []byte {
	if len(body) >= 2 {
		binary.BigEndian.PutUint16(body, 1)
	}
	return body
}

// deliver sends one delivery, unless it is too large for the client or has to
// wait for the window.
func (c *connection) deliver(frame mqttwire.Frame, data []byte) (first bool, err error) {
	id, ok := deliveryID(frame)
	if !ok {
		return true, io.ErrUnexpectedEOF
	}
	send, first := true, true
	if id > 0 {
		send, first = c.session.outbox.admit(id)
	}
	if c.maxPacketBytes > 0 && len(data) > c.maxPacketBytes {
		c.broker.exchange.drop(c.member, id) // as if it had been delivered, says the standard
		return first, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return first, net.ErrClosed
	case !send:
		return first, nil
	case id == 0 && len(c.output) > c.broker.settings.MaxOutputBytes/2:
		c.broker.metrics.droppedBehind.Inc()
		return first, nil
	}
	c.output = c.appendDelivery(c.output, frame, data)
	c.kick()
	return first, nil
}

// appendDelivery writes a delivery, with a topic alias where the client takes
// them. Aliases live and die with the connection, so they are made here and not
// in the exchange, which keeps deliveries for the next one. c.mu is held.
func (c *connection) appendDelivery(dst []byte, frame mqttwire.Frame, data []byte) []byte {
	if c.maxAliases == 0 {
		return append(dst, data...)
	}
	var packet mqttwire.PublishPacket
	if packet.Decode(c.version, frame) != nil {
		return append(dst, data...)
	}
	alias, known := c.outboundAliases[string(packet.Topic)]
	if !known {
		if len(c.outboundAliases) >= c.maxAliases || c.maxPacketBytes > 0 && len(data)+aliasBytes > c.maxPacketBytes {
			return append(dst, data...)
		}
		if c.outboundAliases == nil {
			c.outboundAliases = make(map[string]uint16)
		}
		alias = uint16(len(c.outboundAliases) + 1)
		c.outboundAliases[string(packet.Topic)] = alias
	} else {
		packet.Topic = nil
	}
	packet.Properties = append(packet.Properties, mqttwire.Property{ID: mqttwire.TopicAlias, Number: uint32(alias)})
	return packet.Append(dst, c.version)
}

// aliasBytes is what a topic alias may add to a packet: the property, and a byte
// each for the lengths of the properties and of the packet.
const aliasBytes = 5

// deliveryID finds the packet id of a PUBLISH, 0 at QoS 0.
func deliveryID(frame mqttwire.Frame) (id uint16, ok bool) {
	if frame.Flags&6 == 0 {
		return 0, true
	}
	if len(frame.Body) < 2 {
		return 0, false
	}
	at := 2 + int(binary.BigEndian.Uint16(frame.Body))
	if len(frame.Body) < at+2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(frame.Body[at:]), true
}
