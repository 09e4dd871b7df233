package queuefile

import (
	"testing"

	"combotto.io/gateway/server/sqlite/simdisk"
)

// The reserve is given for a repair that has no room without it, and only then.
func TestMakeRoom(t *testing.T) {
	disk := simdisk.New(simdisk.Settings{Seed: 1, Capacity: 1 << 20})
	defer disk.Close()
	port, path := disk.Port(), "/data/queue.db"
	reserve, err := OpenReserve(port, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := reserve.Resize(512 << 10); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		needs, left int64
		fails       bool
	}{{256 << 10, 512 << 10, false}, {2 << 20, 512 << 10, true}, {768 << 10, 0, false}} {
		err := makeRoom(port, path, step.needs)
		left, sizeErr := port.Size(path + reserveSuffix)
		if (err != nil) != step.fails || sizeErr != nil || left != step.left {
			t.Errorf("for %d bytes: %v; %d bytes of the reserve are left, %v", step.needs, err, left, sizeErr)
		}
	}
}

// A file of which nothing can be read at all is replaced by one that has no problem
// and knows that it is not the first.
func TestBuildEmpty(t *testing.T) {
	disk := simdisk.New(simdisk.Settings{Seed: 1})
	defer disk.Close()
	if err := buildEmpty(t.Context(), disk.Port(), "/data/queue.db"); err != nil {
		t.Fatal(err)
	}
	v, err := Verify(t.Context(), disk.Port(), "/data/queue.db")
	if err != nil || v.Found != 0 || v.Quarantined == 0 {
		t.Errorf("got %+v, %v", v, err)
	}
}
