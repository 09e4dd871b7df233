package queue

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// filledFile returns the path of a queue that was closed with something in every
// table that is checked, and with frames of several pages.
func filledFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	defer stop()
	for i := range 4 {
		entries := large(2*i, 2)
		if i == 2 {
			for n := range entries {
				entries[n].Record.Payload = incompressible(12 << 10)
			}
		}
		accepted(t, q, entries)
	}
	decideThree(t, q)
	refusal := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "metrics", "too many")
	answers(t, q, []edge.Entry{{Record: edgetest.Record("dev-1", 99), Refusal: refusal}})
	return path
}

// TestVerify damages a file in one place, and expects to hear what and where.
func TestVerify(t *testing.T) {
	statement := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { inFile(t, path, text) }
	}
	spoil := func(table, where string) func(t *testing.T, path string) {
		return statement("UPDATE " + table + " SET body = CAST(substr(body, 1, length(body) - 1) || CASE substr(body, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB) WHERE " + where)
	}
	bytesOf := func(change func([]byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { rewrite(t, path, change) }
	}
	whole, err := os.ReadFile(filledFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		damage func(t *testing.T, path string)
		want   queuefile.Problem // the detail is a part of it
	}{
		"Frame":         {spoil("frame", "id = 3"), queuefile.Problem{Kind: queuefile.ProblemFrame, Position: 3, Sink: "", Detail: "frame 3 is damaged: the checksum differs"}},
		"DeadLetter":    {spoil("dead", "sink = 1"), queuefile.Problem{Kind: queuefile.ProblemLetter, Position: 2, Sink: "sink-1", Detail: "the checksum differs"}},
		"Refused":       {spoil("dead", "sink = 0"), queuefile.Problem{Kind: queuefile.ProblemLetter, Position: 1, Sink: edge.IngressName, Detail: "the checksum differs"}},
		"Device":        {spoil("identity_window", "1"), queuefile.Problem{Kind: queuefile.ProblemDevice, Position: 0, Sink: "", Detail: "dev: identity window of a device is damaged"}},
		"Cursor":        {statement("UPDATE sink SET cursor = 6"), queuefile.Problem{Kind: queuefile.ProblemRow, Position: 6, Sink: "sink-1", Detail: "cursor and ranges"}},
		"Ranges":        {statement("UPDATE sink SET settled = x'0101'"), queuefile.Problem{Kind: queuefile.ProblemRow, Position: 4, Sink: "sink-1", Detail: "cursor and ranges"}},
		"Counter":       {statement("UPDATE sink SET delivered = delivered + 1"), queuefile.Problem{Kind: queuefile.ProblemLedger, Position: 0, Sink: "sink-1", Detail: "counters of the sink"}},
		"CounterSigned": {miscount, queuefile.Problem{Kind: queuefile.ProblemLedger, Position: 0, Sink: "sink-1", Detail: "pending_count: the counter says 4, the file holds 5"}},
		"Ledger":        {statement("UPDATE ledger SET counted = 3"), queuefile.Problem{Kind: queuefile.ProblemRow, Position: 0, Sink: "", Detail: "ledger"}},
		"LedgerGone":    {statement("DELETE FROM ledger"), queuefile.Problem{Kind: queuefile.ProblemRow, Position: 0, Sink: "", Detail: "ledger: there is no row"}},
		"OwedSet":       {statement("UPDATE owed SET sinks = '2'"), queuefile.Problem{Kind: queuefile.ProblemRow, Position: 0, Sink: "", Detail: "owed set 1"}},
		"EarlierLog":    {statement("INSERT INTO earlier_log VALUES(1, 2, 3, 4)"), queuefile.Problem{Kind: queuefile.ProblemRow, Position: 0, Sink: "", Detail: "earlier log before 1"}},
		"Gap":           {statement("DELETE FROM frame WHERE id = 3"), queuefile.Problem{Kind: queuefile.ProblemGap, Position: 3, Sink: "", Detail: "messages 3 to 4 are in no frame"}},
		"GapAtTheEnd":   {statement("DELETE FROM frame WHERE id = 7"), queuefile.Problem{Kind: queuefile.ProblemGap, Position: 7, Sink: "", Detail: "messages 7 to 8 are in no frame"}},
		"TwoFrames":     {statement("UPDATE frame SET n = 3 WHERE id = 1"), queuefile.Problem{Kind: queuefile.ProblemGap, Position: 3, Sink: "", Detail: "messages 3 to 3 are in two frames"}},
		"Schema":        {statement("CREATE TABLE stranger(id)"), queuefile.Problem{Kind: queuefile.ProblemStructure, Position: 0, Sink: "", Detail: "it is not that of version 2"}},
		"Header":        {bytesOf(func(b []byte) []byte { clear(b[:100]); return b }), queuefile.Problem{Kind: queuefile.ProblemStructure, Position: 0, Sink: "", Detail: "file is not a database"}},
		"MissingPages":  {bytesOf(func(b []byte) []byte { return b[:len(b)-3*sqlite.PageBytes] }), queuefile.Problem{Kind: queuefile.ProblemStructure, Position: 0, Sink: "", Detail: "malformed"}},
		"OverflowPage":  {bytesOf(flipOverflow), queuefile.Problem{Kind: queuefile.ProblemFrame, Position: 5, Sink: "", Detail: "frame 5 is damaged"}},
		"Empty":         {bytesOf(func([]byte) []byte { return nil }), queuefile.Problem{Kind: queuefile.ProblemStructure, Position: 0, Sink: "", Detail: "it is not that of version 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			test.damage(t, path)
			before := filesOf(t, path)
			v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, filesOf(t, path)); diff != "" {
				t.Errorf("the look has changed something: %s", diff)
			}
			found := slices.ContainsFunc(v.Problems, func(p queuefile.Problem) bool {
				return p.Kind == test.want.Kind && p.Position == test.want.Position && p.Sink == test.want.Sink && strings.Contains(p.Detail, test.want.Detail)
			})
			if !found || v.Found != int64(len(v.Problems)) {
				t.Errorf("found %+v, want %+v among them", v.Problems, test.want)
			}
		})
	}
}

// miscount changes a counter together with its checksum, as a fault of the program
// would.
func miscount(t *testing.T, path string) {
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		var sink queuefile.StoredSink
		if _, err := conn.One(queuefile.SelectSinks, func(row sqlite.Row) { sink = queuefile.ReadSink(row) }); err != nil {
			return err
		}
		sink.Delivered++
		return sink.Save(conn, false)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// incompressible returns the same bytes each time, which do not get any smaller.
func incompressible(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content) // never fails
	return content
}

// flipOverflow changes a byte in a page that holds nothing but a part of a large
// frame.
func flipOverflow(content []byte) []byte {
	payload := incompressible(12 << 10)
	at := bytes.Index(content, payload[6000:6016])
	content[at+5] ^= 4
	return content
}

// filesOf returns what lies in the folder of a database.
func filesOf(t *testing.T, path string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(filepath.Dir(path)), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestVerify_Whole(t *testing.T) {
	t.Run("Stopped", func(t *testing.T) {
		path := filledFile(t)
		before := filesOf(t, path)
		v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
		if err != nil {
			t.Fatal(err)
		}
		if v.Bytes == 0 {
			t.Error("the size of the file is missing")
		}
		v.Bytes, v.FreeBytes = 0, 0
		want := queuefile.Verification{Path: path, Frames: 4, Records: 8, DeadLetters: 2, Devices: 1, Sinks: 1, Problems: []queuefile.Problem{}, Notes: []string{}}
		if diff := cmp.Diff(want, v); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, filesOf(t, path)); diff != "" {
			t.Errorf("the look has changed something: %s", diff)
		}
	})
	t.Run("Crashed", func(t *testing.T) {
		q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
		defer stop()
		accepted(t, q, large(0, 5))
		path := crashed(t, q)
		before := filesOf(t, path)
		v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
		if err != nil || v.Found > 0 || v.Records != 5 || v.WALBytes == 0 {
			t.Errorf("got %+v, %v; want what the WAL holds", v, err)
		}
		if diff := cmp.Diff(before, filesOf(t, path)); diff != "" {
			t.Errorf("the look has changed something: %s", diff)
		}
	})
}

// Damage in the middle of the WAL hides every commit behind it from SQLite.
func TestVerify_WALDamaged(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	for i := range 5 {
		accepted(t, q, large(i, 1))
	}
	path := crashed(t, q)
	rewrite(t, path+"-wal", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
	if err != nil || !slices.ContainsFunc(v.Problems, func(p queuefile.Problem) bool {
		return p.Kind == queuefile.ProblemStructure && strings.Contains(p.Detail, "WAL is damaged")
	}) {
		t.Errorf("got %+v, %v; want a damaged WAL", v, err)
	}
}

func TestVerify_Refused(t *testing.T) {
	t.Run("InUse", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, stop := run(t, Settings{Path: path})
		defer stop()
		accepted(t, q, large(0, 1))
		if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); !queuefile.IsInUse(err) {
			t.Errorf("got %+v, %v; want in use", v, err)
		}
	})
	t.Run("NoFile", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); !errors.Is(err, fs.ErrNotExist) || len(filesOf(t, path)) > 0 {
			t.Errorf("got %+v, %v; want no file", v, err)
		}
	})
}
