package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/rawmqtt"
)

// maxWindow keeps packet identifiers of one window apart.
const maxWindow = 10_000

// pace is the granularity of a limited rate.
const pace = 5 * time.Millisecond

// sender is one connection: it fills the window with one write, then waits for
// acknowledgements, as many as a read brings. Messages are numbered from 0; the
// window is [base, next), of which some may be acknowledged already.
type sender struct {
	settings *settings
	index    int
	packets  []*packet
	batch    *acklog.Batch // nil without a log
	quota    int64         // messages to send; 0 is no limit
	interval time.Duration // between two messages; 0 is no limit

	conn   net.Conn
	reader *bufio.Reader
	out    []byte
	done   []bool          // by number modulo window
	sentAt []time.Duration // by number modulo window
	base   int64
	next   int64

	lowWater int64

	acknowledged, refused, resent, outOfOrder int64
	firstAt, lastAt                           time.Duration
	broken                                    bool
	latencies                                 histogram

	reported struct { // to other goroutines
		acknowledged atomic.Int64
		connected    atomic.Bool
	}
}

func newSender(chosen *settings, index int, log *acklog.Writer) *sender {
	s := &sender{
		settings: chosen,
		index:    index,
		packets:  newPackets(chosen, index),
		done:     make([]bool, chosen.window),
		sentAt:   make([]time.Duration, chosen.window),
	}
	if log != nil {
		s.batch = log.NewBatch()
	}
	if chosen.count > 0 {
		s.quota = (chosen.count + int64(chosen.connections) - 1) / int64(chosen.connections)
	}
	if chosen.rate > 0 {
		s.interval = time.Duration(float64(chosen.connections) / chosen.rate * float64(time.Second))
	}
	return s
}

// connect opens the connection and waits for CONNACK.
func (s *sender) connect(ctx context.Context) error {
	var dialer net.Dialer
	if s.settings.sources > 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+s.index%s.settings.sources))}
	}
	conn, err := dialer.DialContext(ctx, "tcp", s.settings.broker)
	if err != nil {
		return err
	}
	s.lowWater = 1
	s.conn, s.reader = conn, bufio.NewReaderSize(conn, 16<<10)
	client := fmt.Sprintf("%s-%s-%05d", s.settings.prefix, s.settings.bootID, s.index)
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(rawmqtt.Connect(s.settings.version, client)); err != nil {
		return err
	}
	kind, body, err := rawmqtt.ReadPacket(s.reader)
	if err != nil {
		return fmt.Errorf("await CONNACK: %w", err)
	}
	if kind != rawmqtt.KindConnack || len(body) < 2 || body[1] != 0 {
		return fmt.Errorf("connect: answered with packet %#x %x", kind, body)
	}
	return conn.SetDeadline(time.Time{})
}

// run sends until ctx ends or the quota is used up, and waits for what is
// unacknowledged. A connection that breaks is an error only for the log.
func (s *sender) run(ctx context.Context, start time.Time) error {
	// Connections with a rate take turns: together they send evenly.
	start = start.Add(s.interval * time.Duration(s.index) / time.Duration(s.settings.connections))
	for {
		s.reported.connected.Store(true)
		err := s.converse(ctx, start)
		if flushed := s.flush(); flushed != nil {
			return flushed
		}
		s.reported.connected.Store(false)
		if err == nil {
			return nil
		}
		s.broken = true
		if !s.settings.reconnect || !s.reconnect(ctx) {
			return nil
		}
		_ = s.resend() // A connection that breaks again is noticed by converse.
	}
}

// reconnectInterval is how often an address is tried where nobody listens.
const reconnectInterval = 5 * time.Millisecond

// reconnect tries until it succeeds or ctx ends.
func (s *sender) reconnect(ctx context.Context) bool {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	ticker := time.NewTicker(reconnectInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		if s.connect(ctx) == nil {
			return true
		}
	}
}

// resend sends what is unacknowledged once more, oldest first.
func (s *sender) resend() error {
	s.out = s.out[:0]
	for number := s.base; number < s.next; number++ {
		if !s.done[number%int64(s.settings.window)] {
			s.appendMessage(number)
			s.resent++
		}
	}
	_, err := s.conn.Write(s.out)
	return err
}

// converse works on one connection. It returns nil when everything that should
// be sent is acknowledged, or after drainLimit.
func (s *sender) converse(ctx context.Context, start time.Time) error {
	conn := s.conn
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Now())
		_ = conn.SetWriteDeadline(time.Now().Add(drainLimit))
	})
	defer stop()
	if err := s.setLowWater(s.chunk() * pubackBytes); err != nil {
		return err
	}
	var end time.Time // of the drain; zero until it begins
	for {
		stopping := ctx.Err() != nil || s.finished()
		switch {
		case stopping && s.base == s.next:
			return nil
		case stopping && end.IsZero():
			end = time.Now().Add(drainLimit)
		case stopping && time.Now().After(end):
			return nil
		case !stopping:
			if err := s.fill(start); err != nil {
				return err
			}
			if s.finished() {
				continue
			}
		}
		if err := s.limitRead(ctx, end, start); err != nil {
			return err
		}
		if err := s.readAcknowledgements(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// finished reports whether everything that was asked for has been sent.
func (s *sender) finished() bool { return s.quota > 0 && s.next >= s.quota }

// pubackBytes is the least that a PUBACK takes.
const pubackBytes = 4

// chunk is how many messages are worth a wake-up and a write. At full speed it
// is a quarter of the window, so that a broker that acknowledges one by one does
// not make the generator the bottleneck; at a given rate it is one.
func (s *sender) chunk() int64 {
	if s.interval > 0 {
		return 1
	}
	return max(1, int64(s.settings.window)/4)
}

// setLowWater lets a read sleep until so many bytes have arrived.
func (s *sender) setLowWater(bytes int64) error {
	if bytes == s.lowWater {
		return nil
	}
	s.lowWater = bytes
	raw, err := s.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(socket uintptr) {
		failed = unix.SetsockoptInt(int(socket), unix.SOL_SOCKET, unix.SO_RCVLOWAT, int(bytes))
	})
	return errors.Join(err, failed)
}

// fill sends as many messages as window, quota and rate allow, in one write.
func (s *sender) fill(start time.Time) error {
	limit := s.base + int64(s.settings.window)
	if s.quota > 0 {
		limit = min(limit, s.quota)
	}
	if s.interval > 0 {
		since := time.Since(start)
		if since < 0 {
			return nil
		}
		limit = min(limit, int64(since/s.interval)+1)
	}
	if s.next >= limit || s.base+int64(s.settings.window)-s.next < s.chunk() {
		return nil
	}
	now := acklog.Now()
	if s.firstAt == 0 {
		s.firstAt = now
	}
	s.out = s.out[:0]
	for ; s.next < limit; s.next++ {
		slot := s.next % int64(s.settings.window)
		s.done[slot], s.sentAt[slot] = false, now
		s.appendMessage(s.next)
	}
	_, err := s.conn.Write(s.out)
	return err
}

func (s *sender) appendMessage(number int64) {
	devices := int64(len(s.packets))
	s.out = s.packets[number%devices].appendTo(s.out, identifierOf(number), s.settings.messageOf(number/devices))
}

// limitRead sets how long the next read may take: until the rate allows the
// next message, or the end of the drain.
func (s *sender) limitRead(ctx context.Context, end, start time.Time) error {
	var deadline time.Time
	switch {
	case !end.IsZero():
		if err := s.setLowWater(1); err != nil {
			return err
		}
		deadline = end
	case s.interval > 0 && s.next-s.base < int64(s.settings.window):
		due := start.Add(time.Duration(s.next) * s.interval)
		deadline = time.Now().Add(max(time.Until(due), pace))
	case s.interval == 0:
		return nil // The window is full, and AfterFunc ends the read.
	}
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	if end.IsZero() && ctx.Err() != nil {
		// ctx ended meanwhile and its deadline is overwritten.
		return s.conn.SetReadDeadline(time.Now())
	}
	return nil
}

// readAcknowledgements waits for one packet and takes what else has arrived.
func (s *sender) readAcknowledgements() error {
	for first := true; first || s.reader.Buffered() > 0; first = false {
		fresh := s.reader.Buffered() < pubackBytes // this read may wait for the socket
		kind, body, err := rawmqtt.ReadPacket(s.reader)
		if err != nil {
			return err
		}
		if kind == rawmqtt.KindDisconnect {
			return fmt.Errorf("DISCONNECT %x: %w", body, io.EOF)
		}
		if kind != rawmqtt.KindPuback || len(body) < 2 {
			return fmt.Errorf("unexpected packet %#x %x", kind, body)
		}
		if fresh {
			s.lastAt = acklog.Now()
		}
		if err := s.acknowledge(binary.BigEndian.Uint16(body), len(body) > 2 && body[2] >= 0x80); err != nil {
			return err
		}
	}
	s.reported.acknowledged.Store(s.acknowledged)
	return nil
}

// acknowledge notes one PUBACK.
func (s *sender) acknowledge(identifier uint16, refused bool) error {
	window := int64(s.settings.window)
	number := s.base + (int64(identifier)-int64(identifierOf(s.base))+identifiers)%identifiers
	slot := number % window
	if number >= s.next || s.done[slot] {
		return fmt.Errorf("PUBACK %d acknowledges nothing", identifier)
	}
	s.done[slot] = true
	if number > s.base {
		s.outOfOrder++
	}
	for s.base < s.next && s.done[s.base%window] {
		s.base++
	}
	if refused {
		s.refused++
		return nil
	}
	s.acknowledged++
	s.latencies.observe(s.lastAt-s.sentAt[slot], 1)
	if s.batch == nil {
		return nil
	}
	devices := int64(len(s.packets))
	return s.batch.Add(acklog.Entry{Device: s.device(number % devices), Message: s.settings.messageOf(number / devices), At: s.lastAt})
}

// device returns the number of one of the connection's devices.
func (s *sender) device(index int64) uint32 {
	return uint32(int64(s.index) + index*int64(s.settings.connections))
}

// identifiers is how many packet identifiers there are; 0 is none.
const identifiers = 65535

func identifierOf(number int64) uint16 { return uint16(number%identifiers) + 1 }

// flush notes how far each device has sent, and writes the log.
func (s *sender) flush() error {
	if s.batch == nil {
		return nil
	}
	devices := int64(len(s.packets))
	for index := range min(devices, s.next) {
		last := (s.next - 1 - index) / devices
		if err := s.batch.Add(acklog.Entry{Device: s.device(index), Message: s.settings.messageOf(last), At: acklog.Now(), Sent: true}); err != nil {
			return err
		}
	}
	return s.batch.Flush()
}
