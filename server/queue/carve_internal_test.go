package queue

import (
	"bytes"
	"flag"
	"path/filepath"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

var carveBytes = flag.Int("carve-bytes", 8<<20, "how large the file is that TestSalvage_WhateverDevicesSend carves")

// cellOf is what any device may send: valid UTF-8 that reads as a cell of SQLite
// whose header is shorter than the number that says so.
func cellOf(cells int) []byte {
	return bytes.Repeat([]byte("A\U00010000\u1000\U00010000\x02"), cells)
}

// within puts a payload where it is stored as it is: between what does not
// compress.
func within(payload []byte) []edge.Entry {
	entries := edgetest.Entries(1, 1, 1)
	filler := random(1, 10)
	for i := range filler {
		entries[0].Record.Payload = append(entries[0].Record.Payload, filler[i].Record.Payload...)
		if i == len(filler)/2 {
			entries[0].Record.Payload = append(entries[0].Record.Payload, payload...)
		}
	}
	return entries
}

// refused is a message that can never be valid: it is kept as it came.
func refused() []edge.Entry {
	entries := edgetest.Entries(1, 1, 1)
	entries[0].Record.Payload = append(cellOf(1), bytes.Repeat([]byte{'x'}, 200)...)
	entries[0].Refusal = edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "", "cannot be parsed")
	return entries
}

// tear lets a WAL end in the middle of its last transaction.
func tear(t *testing.T, path string) {
	t.Helper()
	rewrite(t, path+"-wal", func(wal []byte) []byte {
		const header, frame = 32, sqlite.PageBytes + 24
		wal[header+(len(wal)-header)/frame*frame-1] ^= 1
		return wal
	})
}

// TestOpen_WhateverDevicesSend starts on rows that look like something else: what
// a crash cut off is looked at by each start, and all of a damaged file.
func TestOpen_WhateverDevicesSend(t *testing.T) {
	for name, entries := range map[string]func() []edge.Entry{
		"Stored":  func() []edge.Entry { return within(cellOf(100)) },
		"Refused": refused,
	} {
		t.Run(name, func(t *testing.T) {
			settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
			q, stop := run(t, settings)
			answers(t, q, entries())
			torn := crashed(t, q)
			stop()
			tear(t, torn)
			tail, err := queuefile.ReadTail(sqlite.Disk{}, torn)
			if err != nil || tail == nil || tail.Fault != nil {
				t.Errorf("the tail: %+v, %v", tail, err)
			}
			inFile(t, settings.Path, "UPDATE owed SET checksum = 1")
			report, err := queuefile.Repair(t.Context(), sqlite.Disk{}, settings.Path, false)
			if err != nil || report.Fault != nil {
				t.Errorf("salvaged %+v, %v", report, err)
			}
			for _, path := range []string{torn, settings.Path} {
				q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
				if err != nil {
					t.Fatal(err)
				}
				if err := q.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestSalvage_WhateverDevicesSend carves much that does not compress: by chance it
// holds whatever a hostile device could send.
func TestSalvage_WhateverDevicesSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	count := *carveBytes / 4096
	for next := 0; next < count; next += 500 {
		accepted(t, q, random(next, min(500, count-next)))
	}
	stop()
	inFile(t, path, "UPDATE owed SET checksum = 1")
	salvaged := func() queuefile.Salvaged {
		report, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, false)
		if err != nil || report.Fault != nil {
			t.Errorf("salvaged %+v, %v", report, err)
		}
		return report.Salvaged
	}
	if report := salvaged(); report.Records != int64(count) || report.Lost != 0 {
		t.Errorf("salvaged %+v, want %d records", report, count)
	}
	// Without the pages that lead to them, all bytes of the payloads are looked at.
	rewrite(t, path, func(b []byte) []byte {
		for page := 0; page < len(b); page += sqlite.PageBytes {
			if b[page] == 0x0D {
				clear(b[page : page+sqlite.PageBytes])
			}
		}
		return b
	})
	if report := salvaged(); report.Records != 0 {
		t.Errorf("salvaged %+v, want none", report)
	}
}

// A fault of the program costs the page that it meets.
func TestImage_Rows_Fault(t *testing.T) {
	path := stopped(t)
	image, err := sqlite.OpenImage(sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	rows := 0
	err = image.Rows(t.Context(), func(*sqlite.CarvedRow) bool {
		if rows++; rows == 3 {
			panic("three")
		}
		return true
	})
	if err != nil || image.Fault == nil || rows < 10 {
		t.Errorf("%d rows, fault %v, %v", rows, image.Fault, err)
	}
}
