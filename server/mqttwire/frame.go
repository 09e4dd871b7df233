package mqttwire

import (
	"bufio"
	"io"
)

// Frame is one packet, cut out of the stream but not decoded.
type Frame struct {
	Type  PacketType
	Flags byte // the low half of the first byte
	Body  []byte
}

// ReadFrame reads one packet. It refuses one of more than limit bytes, header
// included, before allocating or reading its body, with reason [PacketTooLarge]. allocate provides the body, so
// that the caller decides who owns it and for how long; its error ends the reading.
// Any other error that is not an [Error] is the stream's.
func ReadFrame(stream *bufio.Reader, limit int, allocate func(packet PacketType, size int) ([]byte, error)) (Frame, error) {
	first, err := stream.ReadByte()
	if err != nil {
		return Frame{}, err
	}
	frame := Frame{Type: PacketType(first >> 4), Flags: first & 15}
	if err := frame.checkFlags(); err != nil {
		return frame, err
	}
	size, err := readLength(stream)
	if err != nil {
		return frame, err
	}
	if 1+sizeVarint(size)+size > limit {
		return frame, Refuse(PacketTooLarge, "packet is too large")
	}
	if frame.Body, err = allocate(frame.Type, size); err != nil {
		return frame, err
	}
	_, err = io.ReadFull(stream, frame.Body)
	return frame, err
}

func (f Frame) checkFlags() error {
	switch f.Type {
	case 0:
		return malformed("packet type 0")
	case Publish:
		if qos := f.Flags >> 1 & 3; qos == 3 || qos == 0 && f.Flags&8 != 0 {
			return malformed("flags of PUBLISH")
		}
	case Pubrel, Subscribe, Unsubscribe:
		if f.Flags != 2 {
			return malformed("fixed header flags")
		}
	default:
		if f.Flags != 0 {
			return malformed("fixed header flags")
		}
	}
	return nil
}

func readLength(stream *bufio.Reader) (int, error) {
	size := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := stream.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		size |= int(b&0x7F) << shift
		if b < 0x80 {
			if b == 0 && shift > 0 {
				return 0, malformed("remaining length is not minimal")
			}
			return size, nil
		}
	}
	return 0, malformed("remaining length")
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ParseFrame cuts the first packet off data, which holds whole packets only.
func ParseFrame(data []byte) (frame Frame, rest []byte, err error) {
	if len(data) < 2 {
		return frame, nil, malformed("short packet")
	}
	size, length, ok := parseVarint(data[1:])
	if !ok || length == 0 || len(data) < 1+length+size {
		return frame, nil, malformed("short packet")
	}
	end := 1 + length + size
	frame = Frame{Type: PacketType(data[0] >> 4), Flags: data[0] & 15, Body: data[1+length : end : end]}
	return frame, data[end:], frame.checkFlags()
}

// Append writes the frame.
func (f Frame) Append(dst []byte) []byte {
	dst = appendVarint(append(dst, byte(f.Type)<<4|f.Flags), len(f.Body))
	return append(dst, f.Body...)
}
