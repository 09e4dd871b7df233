package sqlite

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Kinds of pages that hold rows.
const (
	pageIndexInterior = 0x02
	pageIndexLeaf     = 0x0A
	pageTableLeaf     = 0x0D
	pageTableInterior = 0x05 // holds none
)

// carver finds the rows of one page.
type carver struct {
	image *Image
	page  []byte
	pageAt
	take  func(row *CarvedRow) bool
	spans []place // what the row that is looked at overflows to
}

// list follows the page's own list of cells. It reports whether there is no reason
// to look further: all of them were believed, and with the room that the page knows
// to be free they fill it. A bit of the head of a page can hide a row that is whole.
func (c *carver) list() bool {
	header := 0
	if c.number == 1 {
		header = 100
	}
	first, skip, keyed := header+8, 0, true
	switch c.page[header] {
	case pageTableLeaf:
		keyed = false
	case pageIndexLeaf:
	case pageIndexInterior:
		first, skip = header+12, 4
	case pageTableInterior:
		return c.fills(header, header+12, c.interiorBytes)
	default:
		return len(bytes.Trim(c.page, "\x00")) == 0
	}
	whole := true
	filled := c.fills(header, first, func(offset int) int {
		size, believed := c.cell(offset+skip, keyed, true)
		whole = whole && believed
		return size + skip
	})
	return whole && filled
}

// interiorBytes returns the size of a cell that names a page and a row's id.
func (c *carver) interiorBytes(offset int) int {
	_, n := varint(c.page[offset+4:])
	return 4 + n
}

// fills calls cell for every cell that the page lists, which returns its size, and
// reports whether they and what the page knows to be free fill its content area.
func (c *carver) fills(header, first int, cell func(offset int) int) bool {
	at := func(offset int) int { return int(binary.BigEndian.Uint16(c.page[offset:])) }
	count := at(header + 3)
	list := first + 2*count
	if list > PageBytes {
		return false
	}
	known := int(c.page[header+7]) // in fragments
	whole := true
	for n := range count {
		offset := at(first + 2*n)
		if offset < list || offset > PageBytes-4 {
			whole = false
			continue
		}
		known += max(4, cell(offset))
	}
	for free := at(header + 1); free != 0; free = at(free) {
		if free < list || free > PageBytes-4 || known > PageBytes {
			return false
		}
		known += max(4, at(free+2))
	}
	return whole && known == PageBytes-at(header+5)
}

// scan tries every offset.
func (c *carver) scan() bool {
	for offset := range PageBytes - 8 {
		c.cell(offset, false, false)
		c.cell(offset, true, false)
	}
	return true
}

// payloadMax bounds a row that is carved: more than any row of the gateway takes.
const payloadMax = 1 << 27

// cell reads the row of a cell and offers it. It returns the size of the cell.
func (c *carver) cell(offset int, keyed, live bool) (bytes int, believed bool) {
	rest := c.page[offset:]
	size, n := varint(rest)
	if n == 0 || size < 3 || size > payloadMax {
		return 0, false
	}
	rest = rest[n:]
	id := uint64(0)
	if !keyed {
		if id, n = varint(rest); n == 0 {
			return 0, false
		}
		rest = rest[n:]
	}
	local := localBytes(int(size), keyed)
	if local+4 > len(rest) && local < int(size) || local > len(rest) || !plausibleHeader(rest[:local], int(size)) {
		return 0, false
	}
	bytes = PageBytes - offset - len(rest) + local
	if local < int(size) {
		bytes += 4
	}
	return bytes, c.offer(&CarvedRow{ID: int64(id), Keyed: keyed, Live: live && !c.free, Tail: c.tail, Free: c.free}, rest, int(size), local, live)
}

// offer reads the values of a row from the versions of the pages that it spans, which
// hold nothing else when the row is listed.
func (c *carver) offer(row *CarvedRow, rest []byte, size, local int, listed bool) bool {
	for _, which := range []version{newest, inFile, suspected} {
		payload, ok := c.payload(rest, size, local, which)
		if ok {
			row.Values, ok = parseRecord(payload)
		}
		if ok && c.take(row) {
			for _, at := range c.spans {
				c.image.content[at] = c.image.content[at] || listed && !row.Tail
			}
			return true
		}
		if local == size {
			return false
		}
	}
	return false
}

// localBytes returns how many bytes of a payload lie in the page itself.
func localBytes(size int, keyed bool) int {
	most := PageBytes - 35
	if keyed {
		most = (PageBytes-12)*64/255 - 23
	}
	if size <= most {
		return size
	}
	least := (PageBytes-12)*32/255 - 23
	local := least + (size-least)%(PageBytes-4)
	if local > most {
		return least
	}
	return local
}

// payload puts a row together from its page and the pages that it overflows to.
func (c *carver) payload(rest []byte, size, local int, which version) ([]byte, bool) {
	c.spans = c.spans[:0]
	payload := append(make([]byte, 0, min(size, 1<<20)), rest[:local]...)
	if local == size {
		return payload, true
	}
	next := binary.BigEndian.Uint32(rest[local:])
	page := make([]byte, PageBytes)
	for len(payload) < size {
		at, ok := c.image.find(next, which)
		if !ok || !c.image.readAt(at, page) {
			return nil, false
		}
		c.spans = append(c.spans, at)
		next = binary.BigEndian.Uint32(page)
		payload = append(payload, page[4:min(PageBytes, 4+size-len(payload))]...)
	}
	return payload, true
}

// varint reads SQLite's kind of number; n is 0 when it does not end.
func varint(text []byte) (value uint64, n int) {
	for n < 9 && n < len(text) {
		if n == 8 {
			return value<<8 | uint64(text[8]), 9
		}
		value = value<<7 | uint64(text[n]&0x7F)
		if n++; text[n-1] < 0x80 {
			return value, n
		}
	}
	return 0, 0
}

const (
	columnsMin = 2
	columnsMax = 64
)

// plausibleHeader reports whether the beginning of a payload names as many bytes
// as the payload has.
func plausibleHeader(local []byte, size int) bool {
	headerBytes, n := varint(local)
	if n == 0 || headerBytes < uint64(n) || headerBytes > uint64(len(local)) || headerBytes < columnsMin || headerBytes > 9*columnsMax {
		return false
	}
	total, columns := int(headerBytes), 0
	for text := local[n:headerBytes]; len(text) > 0; columns++ {
		kind, n := varint(text)
		width, ok := serialBytes(kind)
		if n == 0 || !ok {
			return false
		}
		if total += width; total > size {
			return false
		}
		text = text[n:]
	}
	return total == size && columns >= columnsMin && columns <= columnsMax
}

// serialBytes returns how many bytes a value of a serial type takes.
func serialBytes(kind uint64) (int, bool) {
	switch {
	case kind <= 4:
		return int(kind), true
	case kind == 5:
		return 6, true
	case kind <= 7:
		return 8, true
	case kind <= 9:
		return 0, true
	case kind < 12 || kind > 2*payloadMax+13:
		return 0, false
	}
	return int(kind-12) / 2, true
}

// parseRecord reads the values of a row.
func parseRecord(payload []byte) (values []any, ok bool) {
	headerBytes, n := varint(payload)
	if n == 0 || headerBytes < uint64(n) || headerBytes > uint64(len(payload)) {
		return nil, false
	}
	header, body := payload[n:headerBytes], payload[headerBytes:]
	for len(header) > 0 {
		kind, n := varint(header)
		width, ok := serialBytes(kind)
		if n == 0 || !ok || width > len(body) {
			return nil, false
		}
		values = append(values, parseValue(kind, body[:width:width]))
		header, body = header[n:], body[width:]
	}
	return values, len(body) == 0
}

func parseValue(kind uint64, text []byte) any {
	switch {
	case kind == 0:
		return nil
	case kind == 7:
		return math.Float64frombits(binary.BigEndian.Uint64(text))
	case kind <= 6:
		value := int64(int8(text[0]))
		for _, b := range text[1:] {
			value = value<<8 | int64(b)
		}
		return value
	case kind <= 9:
		return int64(kind - 8)
	case kind%2 == 0:
		return text
	}
	return string(text)
}
