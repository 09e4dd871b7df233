package sqlite_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// killedRounds returns the files of a process that has written its WAL from the
// beginning twice, the second time one frame only, and was killed before or after that
// was moved, too.
func killedRounds(t *testing.T, moved bool) (files map[string][]byte, committed []string) {
	t.Helper()
	disk := newDisk(t, simdisk.Settings{})
	db := mustOpenOn(t, disk)
	checkpoint := func() {
		if wal, err := db.Checkpoint(); err != nil || wal.Left > 0 {
			t.Fatalf("checkpoint: %+v, %v", wal, err)
		}
	}
	write := func(text string, bytes int64) {
		err := db.Write(t.Context(), func(conn *sqlite.Conn) error {
			return conn.Exec("INSERT INTO note(text, body) VALUES(?, zeroblob(?))", text, bytes)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		write(fmt.Sprintf("note %d", i), 9000)
	}
	checkpoint()
	before, err := disk.Content(onDisk + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	write("last", 1)
	after, err := disk.Content(onDisk + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if first := 32 + 24 + sqlite.PageBytes; bytes.Equal(before[:first], after[:first]) || !bytes.Equal(before[first:], after[first:]) {
		t.Fatal("the last transaction is not alone in its round through the WAL")
	}
	committed = texts(t, db)
	if moved {
		checkpoint()
	}
	return killed(t, disk), committed
}

// killed ends the process and returns the files that it leaves.
func killed(t *testing.T, disk *simdisk.Disk) map[string][]byte {
	t.Helper()
	bury(disk)
	files := map[string][]byte{}
	for _, name := range disk.Names() {
		content, err := disk.Content(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	return files
}

// TestOpenImage_WALHead damages the header of a WAL. A power cut does that, too, when
// everything that the WAL holds is in the database.
func TestOpenImage_WALHead(t *testing.T) {
	for _, moved := range []bool{true, false} {
		for name, tear := range map[string]func(header []byte){
			"Zero":   func(header []byte) { clear(header) },
			"Half":   func(header []byte) { clear(header[16:]) },
			"Other":  func(header []byte) { header[3] ^= 1; header[20] ^= 7 },
			"Number": func(header []byte) { header[15]++ },
		} {
			t.Run(fmt.Sprintf("%s,moved=%v", name, moved), func(t *testing.T) {
				files, committed := killedRounds(t, moved)
				tear(files[onDisk+"-wal"][:32])
				disk := newDisk(t, simdisk.Settings{Files: maps.Clone(files)})
				image, err := sqlite.OpenImage(disk.Port(), onDisk)
				if err != nil {
					t.Fatal(err)
				}
				if damaged := image.WALDamaged(); damaged == moved {
					t.Errorf("the WAL is damaged: %v", damaged)
				}
				if err := image.Close(); err != nil {
					t.Error(err)
				}
				if gone, err := sqlite.IsGone(disk.Port(), onDisk); gone || err != nil {
					t.Errorf("gone: %v, %v", gone, err)
				}
				if !moved {
					return // who trusts the image does not open it
				}
				if diff := cmp.Diff(committed, texts(t, mustOpenOn(t, disk))); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestOpenImage_WALHead_DamageBehind damages a transaction, too, that is not in the
// database, while those in front of it are.
func TestOpenImage_WALHead_DamageBehind(t *testing.T) {
	disk := newDisk(t, simdisk.Settings{})
	db := mustOpenOn(t, disk)
	write := func(change func(*sqlite.Conn) error) {
		if err := db.Write(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	write(insert("moved"))
	const damaged = 32 + 24 + sqlite.PageBytes                  // the second frame
	err := db.Read(t.Context(), func(conn *sqlite.Conn) error { // what it sees is all that is moved
		if _, err := conn.One("SELECT count(*) FROM note", func(sqlite.Row) {}); err != nil {
			return err
		}
		for range 3 { // in another page
			write(func(conn *sqlite.Conn) error { return conn.Exec("PRAGMA user_version=2") })
		}
		wal, err := db.Checkpoint()
		if wal.Left == 0 || wal.Left == wal.Bytes {
			t.Errorf("%+v: want a part to be moved", wal)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files := killed(t, disk)
	clear(files[onDisk+"-wal"][:32])
	files[onDisk+"-wal"][damaged+100] ^= 1
	image, err := sqlite.OpenImage(newDisk(t, simdisk.Settings{Files: files}).Port(), onDisk)
	if err != nil {
		t.Fatal(err)
	}
	if !image.WALDamaged() {
		t.Error("the transactions behind the damage are given up")
	}
	if err := image.Close(); err != nil {
		t.Error(err)
	}
}
