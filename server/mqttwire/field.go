package mqttwire

import (
	"encoding/binary"
	"unicode/utf8"
)

// fields reads one field after the other and remembers the first fault, so that
// a decoder checks for it once. After a fault every field reads as zero.
type fields struct {
	rest []byte
	err  error
}

// fail keeps the first fault; nil is none.
func (f *fields) fail(err error) {
	if err != nil && f.err == nil {
		f.err, f.rest = err, nil
	}
}

func (f *fields) take(n int) []byte {
	if len(f.rest) < n {
		f.fail(malformed("packet ends early"))
		return nil
	}
	taken := f.rest[:n:n]
	f.rest = f.rest[n:]
	return taken
}

func (f *fields) byte() byte {
	if taken := f.take(1); taken != nil {
		return taken[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if taken := f.take(2); taken != nil {
		return binary.BigEndian.Uint16(taken)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if taken := f.take(4); taken != nil {
		return binary.BigEndian.Uint32(taken)
	}
	return 0
}

func (f *fields) varint() int {
	value, length, ok := parseVarint(f.rest)
	if !ok || length == 0 {
		f.fail(malformed("variable byte integer"))
		return 0
	}
	f.rest = f.rest[length:]
	return value
}

// binary reads a block of at most 65,535 bytes.
func (f *fields) binary() []byte { return f.take(int(f.uint16())) }

// text reads a UTF-8 string.
func (f *fields) text() []byte {
	text := f.binary()
	if f.err == nil && !ValidText(text) {
		f.fail(malformed("text is not clean UTF-8"))
	}
	return text
}

// packetID reads an id, which is never 0.
func (f *fields) packetID() uint16 {
	id := f.uint16()
	if f.err == nil && id == 0 {
		f.fail(violation("packet id 0"))
	}
	return id
}

// end fails when bytes are left over.
func (f *fields) end() {
	if len(f.rest) > 0 {
		f.fail(malformed("bytes after the last field"))
	}
}

// ValidText reports whether text is UTF-8 without the characters that the
// standard forbids or lets a receiver refuse: controls and non-characters.
func ValidText(text []byte) bool {
	for len(text) > 0 {
		if b := text[0]; b < utf8.RuneSelf {
			if b < 0x20 || b == 0x7F {
				return false
			}
			text = text[1:]
			continue
		}
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 || r < 0xA0 || r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF {
			return false
		}
		text = text[size:]
	}
	return true
}

// parseVarint decodes a variable byte integer. ok is false when it is longer
// than four bytes or not minimal; length is 0 when data ends within it.
func parseVarint(data []byte) (value, length int, ok bool) {
	for i := range 4 {
		if i == len(data) {
			return 0, 0, true
		}
		value |= int(data[i]&0x7F) << (7 * i)
		if data[i] < 0x80 {
			return value, i + 1, i == 0 || data[i] != 0
		}
	}
	return 0, 0, false
}

func appendVarint(dst []byte, value int) []byte {
	for value >= 0x80 {
		dst = append(dst, byte(value)|0x80)
		value >>= 7
	}
	return append(dst, byte(value))
}

func sizeVarint(value int) int {
	size := 1
	for value >= 0x80 {
		value >>= 7
		size++
	}
	return size
}

// appendBlock writes a length and the bytes. Callers keep to 65,535 bytes: what
// comes from a packet does, and what they build themselves is theirs to check.
func appendBlock[T ~string | ~[]byte](dst []byte, block T) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(block)))
	return append(dst, block...)
}

// begin opens a packet whose size is not known yet; finish closes it.
func begin(dst []byte, packet PacketType, flags byte) ([]byte, int) {
	return append(dst, byte(packet)<<4|flags, 0), len(dst) + 1
}

// finish writes the size of the packet that begin opened at mark. Most packets
// are small, so one byte was kept and the body moves when it needs more.
func finish(dst []byte, mark int) []byte {
	size := len(dst) - mark - 1
	if extra := sizeVarint(size) - 1; extra > 0 {
		dst = append(dst, 0, 0, 0)[:len(dst)+extra]
		copy(dst[mark+1+extra:], dst[mark+1:])
	}
	appendVarint(dst[:mark], size)
	return dst
}
