package queue

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

var carveBytes = flag.Int("carve-bytes", 8<<20, "how large the file is that TestSalvage_whateverDevicesSend carves")

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
			tail, err := readTail(sqlite.Disk{}, torn)
			if err != nil || tail == nil || tail.fault != nil {
				t.Errorf("the tail: %+v, %v", tail, err)
			}
			inFile(t, settings.Path, "UPDATE owed SET checksum = 1")
			report, err := salvage(t.Context(), sqlite.Disk{}, settings.Path, settings.Path+suffixBuilding)
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

// TestSalvage_whateverDevicesSend carves much that does not compress: by chance it
// holds whatever a hostile device could send.
func TestSalvage_whateverDevicesSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	count := *carveBytes / 4096
	for next := 0; next < count; next += 500 {
		accepted(t, q, random(next, min(500, count-next)))
	}
	stop()
	inFile(t, path, "UPDATE owed SET checksum = 1")
	salvaged := func() Salvaged {
		report, err := salvage(t.Context(), sqlite.Disk{}, path, path+suffixBuilding)
		if err != nil || report.Fault != nil {
			t.Errorf("salvaged %+v, %v", report, err)
		}
		return report
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
func TestImage_Rows_fault(t *testing.T) {
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

// FuzzFindings_Take carves a page of anything, with one of anything else behind it.
func FuzzFindings_Take(f *testing.F) {
	f.Add(cellOf(100), []byte{})
	f.Add(append([]byte{0x0D, 0, 0, 0, 1, 0, 10, 0, 0, 10}, cellOf(100)...), cellOf(400))
	path := filepath.Join(f.TempDir(), "queue.db")
	fresh, err := openFresh(f.Context(), sqlite.Disk{}, path)
	if err != nil {
		f.Fatal(err)
	}
	findings, err := newFindings(f.Context(), fresh)
	if err := fresh.Close(); err != nil {
		f.Fatal(err)
	}
	if err != nil {
		f.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for number := range len(content) / sqlite.PageBytes {
		f.Add(content[number*sqlite.PageBytes:][:sqlite.PageBytes], cellOf(10))
	}
	findings.save = func([]statement) error { return nil }
	f.Fuzz(func(t *testing.T, first, second []byte) {
		pages := make([]byte, 2*sqlite.PageBytes)
		copy(pages, first)
		copy(pages[sqlite.PageBytes:], second)
		disk := simdisk.New(simdisk.Settings{Files: map[string][]byte{"/data/queue.db": pages}})
		defer disk.Close()
		image, err := sqlite.OpenImage(disk.Port(), "/data/queue.db")
		if err != nil {
			t.Fatal(err)
		}
		if err := image.Rows(t.Context(), findings.take); err != nil || image.Fault != nil {
			t.Error(err, image.Fault)
		}
	})
}

// frameRow is the row of a frame of so many records, as it is carved.
func frameRow(t *testing.T, first edge.Position, records int, message string) *sqlite.CarvedRow {
	t.Helper()
	encoder, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	encoder.reset()
	for i := range records {
		record := edgetest.Record("dev", int(first)+i)
		record.Payload = fmt.Appendf(nil, "%s %d", message, int(first)+i)
		encoder.add(&record, 1)
	}
	return &sqlite.CarvedRow{ID: int64(first), Values: []any{nil, int64(records), int64(1), int64(1), int64(len(encoder.records)), encoder.body(first)}}
}

// TestFindings_Take_overlaps finds frames that lie over one another, in every order
// in which pages may be used again: those that were merged, the one that they were
// merged to, and one whose commit failed, so that its positions were given again.
func TestFindings_Take_overlaps(t *testing.T) {
	rows := func() []*sqlite.CarvedRow {
		undone := frameRow(t, 1, 9, "undone")
		undone.Tail = true // always found last
		return []*sqlite.CarvedRow{frameRow(t, 1, 1, "stored"), frameRow(t, 2, 2, "stored"), frameRow(t, 1, 4, "stored"), frameRow(t, 5, 2, "stored"), undone}
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {0, 2, 1, 3, 4}, {1, 0, 2, 3, 4}, {1, 2, 0, 3, 4}, {2, 0, 1, 3, 4}, {3, 2, 1, 0, 4}} {
		fresh, err := openFresh(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
		if err != nil {
			t.Fatal(err)
		}
		findings, err := newFindings(t.Context(), fresh)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range order {
			if !findings.take(rows()[n]) {
				t.Errorf("frame %d is not believed", n)
			}
		}
		if findings.flush(); findings.err != nil {
			t.Fatal(findings.err)
		}
		var got []string
		err = fresh.Write(t.Context(), func(conn *sqlite.Conn) error {
			if err := (&rebuild{findings: findings}).unite(conn); err != nil {
				return err
			}
			return conn.Query("SELECT id, n, committed, body FROM frame ORDER BY id", func(row sqlite.Row) error {
				frame, err := findings.decoder.decodeStored(readStoredFrame(row))
				if err != nil {
					return err
				}
				for i := range frame.records {
					got = append(got, string(frame.records[i].Payload))
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"stored 1", "stored 2", "stored 3", "stored 4", "stored 5", "stored 6"}, got); diff != "" {
			t.Errorf("%v: %s", order, diff)
		}
		if err := fresh.Close(); err != nil {
			t.Error(err)
		}
	}
}
