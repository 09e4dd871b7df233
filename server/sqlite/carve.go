package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime/debug"
)

// Image is a database file and its WAL, read page by page without SQLite. It
// needs no structure to be whole: not the header, not the schema, not the trees.
// It only finds rows; whether a row is what was written, its own checksum has to
// tell.
type Image struct {
	database, wal io.ReaderAt
	closers       []io.Closer
	inDatabase    uint32 // pages
	pages         uint32 // the highest number
	scan          walScan
	latest        map[uint32]int64 // offset in the WAL of the newest version of a page
	suspect       map[uint32]int64 // the same of those whose checksum does not hold
	Unreadable    int              // pages that the disk did not give back
	Fault         error            // of the program: the first page that it could not look at; see carve
}

// OpenImage opens the files of a database. A file that is missing is empty.
func OpenImage(disk Disk, path string) (*Image, error) {
	image := &Image{latest: make(map[uint32]int64), suspect: make(map[uint32]int64)}
	database, size, err := image.open(disk, path)
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	image.database, image.inDatabase = database, uint32(min(size/PageBytes, math.MaxUint32))
	image.pages = image.inDatabase
	wal, size, err := image.open(disk, path+"-wal")
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	image.wal = wal
	if image.scan, err = scanWAL(wal, size); err != nil {
		return nil, errors.Join(fmt.Errorf("read WAL: %w", err), image.Close())
	}
	for _, page := range image.scan.pages {
		if !page.holds {
			image.suspect[page.number] = page.offset
			continue
		}
		image.latest[page.number] = page.offset
		image.pages = max(image.pages, page.number)
	}
	if image.scan.headless && image.scan.damaged {
		image.scan.damaged = !image.isMoved()
	}
	return image, nil
}

// isMoved reports whether the database has all that the WAL holds. It does when
// the WAL is written from its beginning again; a header that a crash has cut off
// then takes nothing away.
func (i *Image) isMoved() bool {
	committed, latest := map[uint32]int64{}, map[uint32]int64{}
	for n, page := range i.scan.pages {
		if n > 0 && !page.holds {
			break
		}
		latest[page.number] = page.offset
		if page.commit {
			maps.Copy(committed, latest)
			clear(latest)
		}
	}
	inWAL, inDatabase := make([]byte, PageBytes), make([]byte, PageBytes)
	for number, offset := range committed {
		if _, err := i.wal.ReadAt(inWAL, offset); err != nil || !i.read(number, inFile, inDatabase) || !bytes.Equal(inWAL, inDatabase) {
			return false
		}
	}
	return true
}

func (i *Image) open(disk Disk, path string) (io.ReaderAt, int64, error) {
	file, err := disk.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return bytes.NewReader(nil), 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if at, ok := file.(io.ReaderAt); ok {
		i.closers = append(i.closers, file)
		size, err := disk.Size(path)
		return at, size, err
	}
	content, err := io.ReadAll(file) // a simulated disk, which lies in memory anyway
	return bytes.NewReader(content), int64(len(content)), errors.Join(err, file.Close())
}

// Close closes the files.
func (i *Image) Close() error {
	var errs []error
	for _, closer := range i.closers {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}

// WALDamaged reports whether transactions that were on disk cannot be read from
// the WAL any more, because of damage in front of them. SQLite drops them without
// a word.
func (i *Image) WALDamaged() bool { return i.scan.damaged }

// HasTail reports whether something lies behind the last transaction that SQLite
// reads from the WAL: one that a crash cut off, or the last one, damaged.
func (i *Image) HasTail() bool { return len(i.scan.pages) > i.scan.whole }

// TailRows is Rows for what lies there.
func (i *Image) TailRows(take func(row *CarvedRow) bool) {
	page := make([]byte, PageBytes)
	for _, version := range i.scan.pages[i.scan.whole:] {
		i.visit(i.wal, version.offset, version.number, page, take)
	}
}

// CarvedRow is a row that was found. Values are int64, float64, string, []byte or
// nil.
type CarvedRow struct {
	ID     int64 // of a table with row ids
	Keyed  bool  // the row is of a table without row ids
	Live   bool  // a page refers to it; otherwise it may have been deleted
	Values []any
}

// Rows finds rows, oldest version first, and calls take for each of them. The
// same row may come several times, and rows that were deleted may come too. take
// returns whether it believes the row; where it does not, other versions of the
// pages that it spans are tried.
func (i *Image) Rows(take func(row *CarvedRow) bool) error {
	page := make([]byte, PageBytes)
	for number := range i.inDatabase {
		i.visit(i.database, int64(number)*PageBytes, number+1, page, take)
	}
	for _, version := range i.scan.pages {
		i.visit(i.wal, version.offset, version.number, page, take)
	}
	if i.Unreadable > unreadableFree && i.Unreadable > int(i.inDatabase)/unreadableShare {
		return fmt.Errorf("the disk did not give back %d of %d pages", i.Unreadable, i.inDatabase)
	}
	return nil
}

// A disk that gives back hardly anything may be back after a restart: nothing is
// concluded from that.
const (
	unreadableFree  = 16
	unreadableShare = 10
)

func (i *Image) visit(from io.ReaderAt, offset int64, number uint32, page []byte, take func(row *CarvedRow) bool) {
	if _, err := from.ReadAt(page, offset); err != nil {
		i.Unreadable++
		return
	}
	i.carve(number, page, take)
}

// carve finds the rows of a page. It reads whatever anybody may have written there,
// so what a fault of the program would end is this page and not the start: the next
// one would meet the same page.
func (i *Image) carve(number uint32, page []byte, take func(row *CarvedRow) bool) {
	defer func() {
		if fault := recover(); fault != nil && i.Fault == nil {
			i.Fault = fmt.Errorf("look for rows in page %d: %v\n%s", number, fault, debug.Stack())
		}
	}()
	(&carver{image: i, page: page, take: take}).run(number)
}

// version says where a page is read that a row overflows to.
type version int

const (
	newest    version = iota // in the WAL, else in the database
	inFile                   // in the database
	suspected                // in a frame of the WAL whose checksum does not hold, else the newest
)

// read returns a page.
func (i *Image) read(number uint32, which version, page []byte) bool {
	offset, ok := i.suspect[number]
	if which != suspected || !ok {
		offset, ok = i.latest[number]
	}
	if ok && which != inFile {
		_, err := i.wal.ReadAt(page, offset)
		return err == nil
	}
	if number == 0 || number > i.pages {
		return false
	}
	_, err := i.database.ReadAt(page, int64(number-1)*PageBytes)
	return err == nil
}

// Kinds of pages that hold rows.
const (
	pageIndexInterior = 0x02
	pageIndexLeaf     = 0x0A
	pageTableLeaf     = 0x0D
)

// carver finds the rows of one page.
type carver struct {
	image *Image
	page  []byte
	take  func(row *CarvedRow) bool
	taken map[int]bool // offsets of cells that were believed
}

// run follows the page's own list of cells. When one of them leads to nothing
// that is believed, the page may be damaged, and every offset is tried.
func (c *carver) run(number uint32) {
	c.taken = make(map[int]bool)
	header := 0
	if number == 1 {
		header = 100
	}
	whole := false
	switch c.page[header] {
	case pageTableLeaf:
		whole = c.list(header, 8, 0, false)
	case pageIndexLeaf:
		whole = c.list(header, 8, 0, true)
	case pageIndexInterior:
		whole = c.list(header, 12, 4, true)
	case 0x05: // an interior page of a table holds no rows
		return
	}
	if whole || len(bytes.Trim(c.page, "\x00")) == 0 {
		return
	}
	for offset := range PageBytes - 8 {
		if !c.taken[offset] {
			c.cell(offset, false, false)
			c.cell(offset, true, false)
		}
	}
}

// list visits the cells that the page lists. It reports whether all of them were
// believed.
func (c *carver) list(header, headerBytes, skip int, keyed bool) bool {
	count := int(binary.BigEndian.Uint16(c.page[header+3:]))
	first := header + headerBytes
	if first+2*count > PageBytes {
		return false
	}
	whole := true
	for n := range count {
		offset := int(binary.BigEndian.Uint16(c.page[first+2*n:])) + skip
		if offset < first+2*count || offset >= PageBytes || !c.cell(offset, keyed, true) {
			whole = false
			continue
		}
		c.taken[offset] = true
	}
	return whole
}

// payloadMax bounds a row that is carved: more than any row of the gateway takes.
const payloadMax = 1 << 27

// cell reads the row of a cell and offers it.
func (c *carver) cell(offset int, keyed, live bool) bool {
	rest := c.page[offset:]
	size, n := varint(rest)
	if n == 0 || size < 3 || size > payloadMax {
		return false
	}
	rest = rest[n:]
	id := uint64(0)
	if !keyed {
		if id, n = varint(rest); n == 0 {
			return false
		}
		rest = rest[n:]
	}
	local := localBytes(int(size), keyed)
	if local+4 > len(rest) && local < int(size) || local > len(rest) || !plausibleHeader(rest[:local], int(size)) {
		return false
	}
	row := CarvedRow{ID: int64(id), Keyed: keyed, Live: live}
	for _, which := range []version{newest, inFile, suspected} {
		payload, ok := c.payload(rest, int(size), local, which)
		if !ok {
			continue
		}
		if row.Values, ok = parseRecord(payload); ok && c.take(&row) {
			return true
		}
		if local == int(size) {
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
	payload := append(make([]byte, 0, min(size, 1<<20)), rest[:local]...)
	if local == size {
		return payload, true
	}
	next := binary.BigEndian.Uint32(rest[local:])
	page := make([]byte, PageBytes)
	for len(payload) < size {
		if !c.image.read(next, which, page) {
			return nil, false
		}
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
