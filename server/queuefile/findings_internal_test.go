package queuefile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// payloadOf is what any device may send: valid UTF-8 that reads as cells of SQLite
// whose header is shorter than the number that says so.
func payloadOf(cells int) []byte {
	return bytes.Repeat([]byte("A\U00010000\u1000\U00010000\x02"), cells)
}

// FuzzFindings_Take carves a page of anything, with one of anything else behind it.
func FuzzFindings_Take(f *testing.F) {
	f.Add(payloadOf(100), []byte{})
	f.Add(append([]byte{0x0D, 0, 0, 0, 1, 0, 10, 0, 0, 10}, payloadOf(100)...), payloadOf(400))
	path := filepath.Join(f.TempDir(), "queue.db")
	fresh, err := Open(f.Context(), sqlite.Disk{}, path)
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
		f.Add(content[number*sqlite.PageBytes:][:sqlite.PageBytes], payloadOf(10))
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
	encoder, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	encoder.Reset()
	for i := range records {
		record := edgetest.Record("dev", int(first)+i)
		record.Payload = fmt.Appendf(nil, "%s %d", message, int(first)+i)
		encoder.Add(&record, 1)
	}
	return &sqlite.CarvedRow{ID: int64(first), Values: []any{nil, int64(records), int64(1), int64(1), int64(len(encoder.records)), encoder.Body(first)}}
}

// TestFindings_Take_Overlaps finds frames that lie over one another, in every order
// in which pages may be used again: those that were merged, the one that they were
// merged to, and one whose commit failed, so that its positions were given again.
func TestFindings_Take_Overlaps(t *testing.T) {
	rows := func() []*sqlite.CarvedRow {
		undone := frameRow(t, 1, 9, "undone")
		undone.Tail = true // always found last
		return []*sqlite.CarvedRow{frameRow(t, 1, 1, "stored"), frameRow(t, 2, 2, "stored"), frameRow(t, 1, 4, "stored"), frameRow(t, 5, 2, "stored"), undone}
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {0, 2, 1, 3, 4}, {1, 0, 2, 3, 4}, {1, 2, 0, 3, 4}, {2, 0, 1, 3, 4}, {3, 2, 1, 0, 4}} {
		fresh, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
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
			return conn.Query(SelectFrames+" ORDER BY id", func(row sqlite.Row) error {
				frame, err := findings.decoder.DecodeStored(ReadFrame(row))
				if err != nil {
					return err
				}
				for i := range frame.Records {
					got = append(got, string(frame.Records[i].Payload))
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
