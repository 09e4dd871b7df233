package broker

import (
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
	"combotto.io/gateway/server/wire"
)

// answer is what one PUBLISH will be answered with.
type answer struct {
	packet    mqttwire.PacketType // Puback, Pubrec, or 0 when nothing is said
	id        uint16
	counted   bool // against the Receive Maximum
	decided   bool
	reason    mqttwire.ReasonCode
	why       string     // a reason string for version 5, mostly empty
	reception *reception // of a QoS 2 message
	message   *message   // to fan out after the commit, nil when nobody reads it
}

// answers are the undecided answers of a connection and those behind them, in
// the order of their PUBLISH packets: a ring that is used again and again.
//
//	head (token first)                    head+count
//	 | undecided | decided | undecided |  free ...
//
// Only decided answers at the head leave, so that acknowledgements keep their
// order whatever is refused, and whenever.
type answers struct {
	ring  []answer // its length is a power of two
	first uint64   // token of the answer at the head
	count int
}

// push appends an answer and returns its token.
func (a *answers) push(next answer) (token uint64) {
	if a.count == len(a.ring) {
		larger := make([]answer, max(2*len(a.ring), 8))
		for i := range a.count {
			larger[(a.first+uint64(i))&uint64(len(larger)-1)] = *a.at(a.first + uint64(i))
		}
		a.ring = larger
	}
	token = a.first + uint64(a.count)
	a.count++
	*a.at(token) = next
	return token
}

// at returns the answer of a token that is in the ring.
func (a *answers) at(token uint64) *answer { return &a.ring[token&uint64(len(a.ring)-1)] }

// has reports whether the token's answer is still in the ring.
func (a *answers) has(token uint64) bool { return token-a.first < uint64(a.count) }

// pop removes the answer at the head if it is decided.
func (a *answers) pop() (head answer, ok bool) {
	if a.count == 0 || !a.at(a.first).decided {
		return answer{}, false
	}
	head = *a.at(a.first)
	*a.at(a.first) = answer{}
	a.first++
	a.count--
	return head, true
}

// expect appends an answer for a PUBLISH. It waits while too many are undecided,
// which slows the sender down, and fails when a version 5 client has exceeded the
// Receive Maximum.
func (c *connection) expect(next answer) (token uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.answers.count >= c.broker.settings.MaxUnanswered && !c.closing {
		c.changed.Wait()
	}
	if next.counted {
		if c.unacknowledged++; c.version == mqttwire.Version5 && c.unacknowledged > int(c.broker.settings.ReceiveMaximum) {
			return 0, mqttwire.Refuse(mqttwire.ReceiveMaximumExceeded, "more unacknowledged messages than CONNACK allowed")
		}
	}
	token = c.answers.push(next)
	if next.decided && c.acknowledge() {
		c.kick()
	}
	return token, nil
}

// decide settles an answer and lets it go out.
func (c *connection) decide(token uint64, reason mqttwire.ReasonCode, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settle(token, reason, why) {
		c.kick()
	}
}

// settle decides an answer and moves what may leave to the output. It reports
// whether there is something to write. c.mu is held.
func (c *connection) settle(token uint64, reason mqttwire.ReasonCode, why string) bool {
	if c.closing || !c.answers.has(token) {
		return false
	}
	next := c.answers.at(token)
	next.decided, next.reason, next.why, next.message = true, reason, why, nil
	if reason.IsError() && c.version != mqttwire.Version5 && next.packet != 0 {
		// There is no negative acknowledgement before version 5: what was decided
		// earlier still goes out, and the client repeats the rest when it is back.
		next.decided = false
		c.acknowledge()
		c.close()
		return false
	}
	return c.acknowledge()
}

// acknowledge moves decided answers from the head to the output. c.mu is held.
func (c *connection) acknowledge() bool {
	before := len(c.output)
	for {
		head, ok := c.answers.pop()
		if !ok {
			break
		}
		if head.packet == 0 {
			continue
		}
		if !c.closing {
			c.output = c.appendAck(c.output, &head)
		}
		if head.counted && (head.packet == mqttwire.Puback || head.reason.IsError()) {
			c.unacknowledged-- // a stored QoS 2 message counts until PUBCOMP
		}
	}
	if c.answers.count < c.broker.settings.MaxUnanswered {
		c.changed.Broadcast()
	}
	return len(c.output) > before
}

// appendAck writes an answer, with its reason string where the client wants to
// hear such things and has room for it.
func (c *connection) appendAck(output []byte, head *answer) []byte {
	if head.why != "" && c.version == mqttwire.Version5 && !c.reasonOnly {
		packet := mqttwire.AckPacket{
			Type: head.packet, ID: head.id, Reason: head.reason,
			Properties: mqttwire.Properties{{ID: mqttwire.ReasonString, Value: []byte(head.why)}},
		}
		before := len(output)
		output = packet.Append(output, c.version)
		if c.maxPacketBytes == 0 || len(output)-before <= c.maxPacketBytes {
			return output
		}
		output = output[:before]
	}
	return mqttwire.AppendAck(output, c.version, head.packet, head.id, head.reason)
}

// Reply implements [edge.Replier]: the message of the token is durable, or it is
// not and err says why.
func (c *connection) Reply(token uint64, receipt edge.Receipt, err error) (flush bool) {
	reason, why := mqttwire.Success, ""
	if err != nil {
		reason, why = reasonOf(edge.AsError(err))
		c.broker.metrics.refused(reason)
	}
	c.mu.Lock()
	var pending answer
	if c.answers.has(token) {
		pending = *c.answers.at(token)
	}
	if pending.reception != nil {
		c.mu.Unlock()
		c.settleReception(pending.reception, reason)
		c.mu.Lock()
	}
	if c.settle(token, reason, why) && !c.flushAsked {
		c.flushAsked, flush = true, true
	}
	c.mu.Unlock()

	if err == nil && pending.message != nil && !receipt.Duplicate && !receipt.Refused {
		c.broker.fanOut.offer(*pending.message)
	}
	return flush
}

// reasonOf returns the reason code that a refusal of ingest is told with, and
// the reason string. Only a full gateway has one: which sink holds its room is
// nowhere in the code, and whoever looks at the device wants to know it.
func reasonOf(refusal *edge.Error) (reason mqttwire.ReasonCode, why string) {
	if refusal.Code == edge.Full {
		why = refusal.Message
	}
	return mqttwire.ReasonCode(wire.MQTTReason(refusal.Code)), why
}

// Flush implements [edge.Replier].
func (c *connection) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushAsked = false
	c.kick()
}

// settleReception tells the session what became of a QoS 2 message, and whoever
// has resent it since on another connection. It is called without c.mu.
func (c *connection) settleReception(r *reception, reason mqttwire.ReasonCode) {
	if waiter, token := c.session.settle(r, !reason.IsError()); waiter != nil {
		waiter.decide(token, reason, "")
	}
}
