package broker

import (
	"context"
	"errors"
	"strings"
	"time"

	"combotto.io/gateway/server/mqttwire"
)

// errGoodbye ends a connection whose client said DISCONNECT.
var errGoodbye = errors.New("the client disconnected")

// receive handles packets until the connection ends, and returns why.
func (c *connection) receive(ctx context.Context) error {
	limit := c.broker.settings.MaxPacketBytes
	allocate := func(packet mqttwire.PacketType, size int) ([]byte, error) { return c.allocate(ctx, packet, size) }
	defer c.unreserve()
	for {
		c.stayAlive(time.Now())
		frame, err := mqttwire.ReadFrame(c.stream, limit, allocate)
		if err != nil {
			return err
		}
		if err := c.handle(ctx, frame); err != nil {
			return err
		}
		c.unreserve()
	}
}

// stayAlive moves the read deadline. It does so only now and then, because a
// deadline costs as much as a small packet; a client that keeps to its
// keep-alive is not affected, since idle is half as long again.
func (c *connection) stayAlive(now time.Time) {
	if c.deadlineAt.Sub(now) < c.idle-c.idle/8 {
		c.deadlineAt = now.Add(c.idle)
		c.setReadDeadline(c.deadlineAt)
	}
}

func (c *connection) handle(ctx context.Context, frame mqttwire.Frame) error {
	switch frame.Type {
	case mqttwire.Publish:
		return c.publish(ctx, frame)
	case mqttwire.Puback, mqttwire.Pubrec, mqttwire.Pubcomp:
		return c.acknowledged(frame)
	case mqttwire.Pubrel:
		return c.release(frame)
	case mqttwire.Subscribe:
		return c.subscribe(frame)
	case mqttwire.Unsubscribe:
		return c.unsubscribe(frame)
	case mqttwire.Pingreq:
		if len(frame.Body) > 0 {
			return mqttwire.Refuse(mqttwire.MalformedPacket, "PINGREQ with a body")
		}
		c.write([]byte(mqttwire.PingrespPacket))
		return nil
	case mqttwire.Disconnect:
		return c.disconnect(frame)
	}
	return mqttwire.Refuse(mqttwire.ProtocolError, "packet that a client does not send here")
}

// acknowledged handles the client's acknowledgement of a delivery. Only one that
// fits a delivery in flight reaches the exchange.
func (c *connection) acknowledged(frame mqttwire.Frame) error {
	packet, err := mqttwire.DecodeAck(c.version, frame)
	if err != nil {
		return err
	}
	known, last, err := c.session.outbox.acknowledge(packet.Type, packet.ID, packet.Reason)
	if err != nil {
		return err
	}
	if !known {
		if packet.Type == mqttwire.Pubrec && !packet.Reason.IsError() {
			c.write(mqttwire.AppendAck(nil, c.version, mqttwire.Pubrel, packet.ID, mqttwire.PacketIDNotFound))
		}
		return nil
	}
	if last {
		packet.Type = mqttwire.Puback // ends a delivery whatever it was
	}
	return c.broker.exchange.acknowledge(c.member, packet.Type, packet.ID)
}

// release handles PUBREL, which ends a QoS 2 message.
func (c *connection) release(frame mqttwire.Frame) error {
	packet, err := mqttwire.DecodeAck(c.version, frame)
	if err != nil {
		return err
	}
	known, counted := c.session.complete(c, packet.ID)
	reason := mqttwire.Success
	if !known {
		reason = mqttwire.PacketIDNotFound
	}
	c.mu.Lock()
	if counted {
		c.unacknowledged--
	}
	c.mu.Unlock()
	c.write(mqttwire.AppendAck(nil, c.version, mqttwire.Pubcomp, packet.ID, reason))
	return nil
}

// request is the SUBSCRIBE or UNSUBSCRIBE that the exchange works on.
type request struct {
	packet   mqttwire.PacketType // of the answer
	id       uint16
	verdicts []mqttwire.ReasonCode // one per filter: an error of the guard's, or Success to ask the exchange
}

// subscribe judges each filter, and asks the exchange for those that pass. It
// learns nothing of the packet id: it would confuse it with a delivery's.
func (c *connection) subscribe(frame mqttwire.Frame) error {
	packet, err := mqttwire.DecodeSubscribe(c.version, frame.Body)
	if err != nil {
		return err
	}
	if err := c.checkFilterCount(len(packet.Filters)); err != nil {
		return err
	}
	asked := request{packet: mqttwire.Suback, id: packet.ID}
	room := c.broker.settings.MaxSubscriptions - c.broker.exchange.subscriptions(c.member)
	var wanted []mqttwire.Subscription
	for _, filter := range packet.Filters {
		verdict := c.judgeFilter(filter.Filter)
		if verdict == mqttwire.Success && len(wanted) >= room {
			verdict = mqttwire.QuotaExceeded
		}
		if verdict == mqttwire.Success {
			wanted = append(wanted, filter)
		} else {
			c.broker.metrics.refused(verdict)
			if c.broker.settings.PlainFilterRefusals {
				verdict = mqttwire.UnspecifiedError
			}
		}
		asked.verdicts = append(asked.verdicts, verdict)
	}
	c.ask(asked)
	if len(wanted) == 0 {
		c.answer(nil)
		return nil
	}
	id, _ := packet.Properties.Number(mqttwire.SubscriptionID)
	return c.broker.exchange.subscribe(c.member, wanted, id)
}

func (c *connection) checkFilterCount(count int) error {
	if count > c.broker.settings.MaxFilters {
		return mqttwire.Refuse(mqttwire.QuotaExceeded, "too many filters in one packet")
	}
	return nil
}

// judgeFilter judges a valid filter. mochi takes $SHARE for $share, so any other
// spelling than the standard's is refused.
func (c *connection) judgeFilter(filter string) mqttwire.ReasonCode {
	prefix, _, _ := strings.Cut(filter, "/")
	switch {
	case !c.broker.settings.fits(filter), prefix != "$share" && strings.EqualFold(prefix, "$share"):
		return mqttwire.TopicFilterInvalid
	case !c.broker.authorizer.Allow(c.clientID, filter, Subscribe):
		return mqttwire.NotAuthorized
	}
	return mqttwire.Success
}

func (c *connection) unsubscribe(frame mqttwire.Frame) error {
	packet, err := mqttwire.DecodeUnsubscribe(c.version, frame.Body)
	if err != nil {
		return err
	}
	if err := c.checkFilterCount(len(packet.Filters)); err != nil {
		return err
	}
	c.ask(request{packet: mqttwire.Unsuback, id: packet.ID, verdicts: make([]mqttwire.ReasonCode, len(packet.Filters))})
	return c.broker.exchange.unsubscribe(c.member, packet.Filters)
}

func (c *connection) ask(asked request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.request = asked
}

// answer sends the SUBACK or UNSUBACK that the client waits for, with the
// exchange's reasons where the guard let it decide.
func (c *connection) answer(reasons []mqttwire.ReasonCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, verdict := range c.request.verdicts {
		if verdict == mqttwire.Success && len(reasons) > 0 {
			c.request.verdicts[i], reasons = reasons[0], reasons[1:]
		}
	}
	suback := mqttwire.SubackPacket{Type: c.request.packet, ID: c.request.id, Reasons: c.request.verdicts}
	c.queue(suback.Append(nil, c.version))
	c.kick()
}

// disconnect handles the client's goodbye.
func (c *connection) disconnect(frame mqttwire.Frame) error {
	packet, err := mqttwire.DecodeDisconnect(c.version, frame.Body)
	if err == nil {
		err = packet.CheckFromClient()
	}
	if err != nil {
		return err
	}
	if seconds, ok := packet.Properties.Number(mqttwire.SessionExpiry); ok {
		if seconds > 0 && c.sessionExpiry == 0 {
			return mqttwire.Refuse(mqttwire.ProtocolError, "session expiry was 0 in CONNECT")
		}
		c.sessionExpiry = min(time.Duration(seconds)*time.Second, c.broker.settings.MaxSessionExpiry)
	}
	if packet.Reason == mqttwire.Success {
		c.will = nil
	}
	return errGoodbye
}

// slab hands out small buffers from a larger one, so that small packets share an
// allocation. A buffer belongs to whoever asked for it, for good. None is larger than
// smallPacket.
type slab struct {
	rest []byte
	size int
}

const (
	smallPacket  = 2 << 10
	firstSlab    = 512
	largestSlab  = 16 << 10
	slabDoubling = 2
)

func (s *slab) allocate(packet mqttwire.PacketType, size int) []byte {
	if size == 0 {
		return nil
	}
	if packet != mqttwire.Publish {
		return make([]byte, size)
	}
	if len(s.rest) < size {
		s.size = min(max(slabDoubling*s.size, firstSlab, size), largestSlab)
		s.rest = make([]byte, s.size)
	}
	taken := s.rest[:size:size]
	s.rest = s.rest[size:]
	return taken
}
