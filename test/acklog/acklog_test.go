package acklog_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/test/acklog"
)

func TestWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acks")
	header := acklog.Header{Prefix: "load", BootID: "b1", FirstSequence: 100}
	writer, err := acklog.Create(path, header)
	if err != nil {
		t.Fatal(err)
	}
	var want []acklog.Entry
	batch := writer.NewBatch()
	for i := range uint32(10_000) { // more than one flush
		entry := acklog.Entry{Device: i % 7, Message: i / 7, At: time.Duration(i) * time.Microsecond, Sent: i%11 == 0}
		want = append(want, entry)
		if err := batch.Add(entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	gotHeader, got, err := acklog.Read(path)
	if err != nil || gotHeader != header {
		t.Fatalf("header %+v, error %v", gotHeader, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if identity := header.Identity(got[8]); identity != (acklog.Identity{Device: "load-00001", BootID: "b1", Sequence: 101}) {
		t.Errorf("identity %+v", identity)
	}

	t.Run("TornEntryIsAnError", func(t *testing.T) {
		if err := os.Truncate(path, 1000); err != nil {
			t.Fatal(err)
		}
		if _, _, err := acklog.Read(path); err == nil {
			t.Error("a torn log was read")
		}
	})
}
