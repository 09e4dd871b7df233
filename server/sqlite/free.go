package sqlite

import (
	"bytes"
	"encoding/binary"
)

// The header of a database, and the list of its free pages: trunks, each of which
// names the next one and pages that are free.
//
//	header ... first trunk | free pages in all
//	trunk      next trunk  | names | page | page ...
const (
	headerFirstAt = 32
	headerFreeAt  = 36
	trunkNamesAt  = 4
	trunkPagesAt  = 8
	trunkNamesMax = (PageBytes - trunkPagesAt) / 4
	headerMagic   = "SQLite format 3\x00"
)

// UsedBytes returns how much of a database's file holds something. All of it does
// when the list of free pages makes no sense.
func UsedBytes(disk Disk, path string) (int64, error) {
	size, err := disk.Size(path)
	if err != nil {
		return 0, err
	}
	image, err := OpenImage(disk, path)
	if err != nil {
		return 0, err
	}
	for number, free := range image.freePages() {
		if free && number <= int(image.inDatabase) {
			size -= PageBytes
		}
	}
	return size, image.Close()
}

// freePages returns by number which pages are free, as of the last commit. None is
// when any of the list is not what it has to be: what is taken for free is looked at
// less closely.
func (i *Image) freePages() []bool {
	free := make([]bool, max(i.pages, i.inDatabase)+1)
	committed := map[uint32]int64{}
	for _, page := range i.scan.pages[:i.scan.committed] {
		if page.holds {
			committed[page.number] = page.offset
		}
	}
	content := make([]byte, PageBytes)
	read := func(number uint32) bool {
		at := place{offset: int64(number-1) * PageBytes}
		if offset, ok := committed[number]; ok {
			at = place{wal: true, offset: offset}
		}
		return i.readAt(at, content)
	}
	field := func(at int) uint32 { return binary.BigEndian.Uint32(content[at:]) }
	if !read(1) || !bytes.HasPrefix(content, []byte(headerMagic)) {
		return free
	}
	next, left := field(headerFirstAt), field(headerFreeAt)
	take := func(number uint32) bool {
		if number < 2 || int(number) >= len(free) || free[number] || left == 0 {
			return false
		}
		free[number] = true
		left--
		return true
	}
	whole := true
	for whole && next != 0 {
		whole = take(next) && read(next) && field(trunkNamesAt) <= trunkNamesMax
		next = field(0)
		for n := 0; whole && n < int(field(trunkNamesAt)); n++ {
			whole = take(field(trunkPagesAt + 4*n))
		}
	}
	if !whole || left != 0 {
		clear(free)
	}
	return free
}
