package sqlite

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// walBuilder writes a WAL as SQLite does.
type walBuilder struct {
	content []byte
	sum     walSum
}

func newWALBuilder() *walBuilder {
	header := make([]byte, walHeaderBytes)
	for i, value := range []uint32{walMagic, 3007000, PageBytes, 7, 0x51, 0x52} {
		binary.BigEndian.PutUint32(header[4*i:], value)
	}
	b := &walBuilder{sum: walSum{order: binary.LittleEndian}}
	b.sum.add(header[:walSumAt])
	b.content = b.put(header, walSumAt)
	return b
}

func (b *walBuilder) put(bytes []byte, at int) []byte {
	binary.BigEndian.PutUint32(bytes[at:], b.sum.a)
	binary.BigEndian.PutUint32(bytes[at+4:], b.sum.b)
	return bytes
}

// transaction appends so many pages, and returns where they begin. The last page
// commits.
func (b *walBuilder) transaction(pages int) int {
	first := len(b.content)
	for n := range pages {
		frame := make([]byte, walFrameBytes)
		binary.BigEndian.PutUint32(frame, uint32(n+1))
		if n == pages-1 {
			binary.BigEndian.PutUint32(frame[4:], 99)
		}
		copy(frame[frameSaltsAt:], b.content[walSaltsAt:walSumAt])
		for i := walFrameHeader; i < len(frame); i++ {
			frame[i] = byte(first + i*i)
		}
		b.sum.add(frame[:frameSaltsAt])
		b.sum.add(frame[walFrameHeader:])
		b.content = append(b.content, b.put(frame, frameSumAt)...)
	}
	return first
}

// over writes what another builder has from an offset on over the end of this one,
// as a transaction does that follows one which found no room.
func (b *walBuilder) over(later *walBuilder, from int) {
	copy(b.content[from:], later.content[from:])
}

// TestScanWAL tells damage from what a crash, or a full disk, leaves.
func TestScanWAL(t *testing.T) {
	flip := func(at int) func() ([]byte, int) {
		return func() ([]byte, int) {
			b := newWALBuilder()
			first := b.transaction(3)
			for range 2 {
				b.transaction(2)
			}
			b.content[first+at] ^= 4
			return b.content, 0
		}
	}
	for name, test := range map[string]struct {
		build   func() (content []byte, whole int)
		damaged bool
	}{
		"Whole": {func() ([]byte, int) {
			b := newWALBuilder()
			b.transaction(3)
			b.transaction(2)
			return b.content, 5
		}, false},
		"TheLastTransactionIsTorn": {func() ([]byte, int) {
			b := newWALBuilder()
			b.transaction(3)
			torn := b.transaction(4)
			clear(b.content[torn+100 : torn+200])
			return b.content, 3
		}, false},
		// Four pages find no room after three; one that follows is shorter, and torn.
		"TornInFrontOfWhatFoundNoRoom": {func() ([]byte, int) {
			b := newWALBuilder()
			b.transaction(3)
			shorter := &walBuilder{content: slices.Clone(b.content), sum: b.sum}
			first := b.transaction(6)
			shorter.transaction(2)
			b.over(shorter, first)
			clear(b.content[first+100 : first+200])
			return b.content, 3
		}, false},
		"Page":         {flip(walFrameHeader + 77), true},
		"PageNumber":   {flip(3), true},
		"Salt":         {flip(frameSaltsAt), true},
		"Checksum":     {flip(frameSumAt), true},
		"LastPage":     {flip(2*walFrameBytes + walFrameHeader + 5), true},
		"LastChecksum": {flip(2*walFrameBytes + frameSumAt + 1), true},
		"Commit":       {flip(2*walFrameBytes + 7), true},
		"Header":       {flip(-20), true},
		"HeaderSum":    {flip(-1), true},
	} {
		t.Run(name, func(t *testing.T) {
			content, whole := test.build()
			scan := scanWAL(bytes.NewReader(content), int64(len(content)), false)
			if scan.damaged != test.damaged || scan.whole != whole {
				t.Errorf("damaged %v, %d pages are whole; want %v, %d", scan.damaged, scan.whole, test.damaged, whole)
			}
		})
	}
}
