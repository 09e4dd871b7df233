package crashtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// firstSchema is a file of the first schema and what its gateway has answered;
// testdata/README.md tells how it was made.
type firstSchema struct {
	content []byte
	ids     map[uint64]string // correlation ids, by sequence
	devices map[uint64]edge.DeviceID
}

var firstSchemaSinks = []queue.SinkSpec{{Name: "archive", Kind: "file"}, {Name: "analytics", Kind: "http"}, {Name: "upstream", Kind: "http"}}

func readFirstSchema(t *testing.T) firstSchema {
	t.Helper()
	f := firstSchema{ids: map[uint64]string{}, devices: map[uint64]edge.DeviceID{}}
	var err error
	if f.content, err = os.ReadFile("testdata/schema1.db"); err != nil {
		t.Fatal(err)
	}
	answers, err := os.ReadFile("testdata/schema1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(answers)); lines.Scan(); {
		var answer struct {
			ID       string        `json:"correlation_id"`
			Device   edge.DeviceID `json:"device"`
			Sequence uint64        `json:"sequence"`
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		f.ids[answer.Sequence], f.devices[answer.Sequence] = answer.ID, answer.Device
	}
	return f
}

// due leases everything of a sink, and returns how much that is. The error says
// what is not as it was sent.
func (f *firstSchema) due(q *queue.Queue, sink edge.SinkID) (deliveries []edge.Delivery, err error) {
	if deliveries, err = leaseAll(q, sink); err != nil {
		return nil, err
	}
	for i := range deliveries {
		record := &deliveries[i].Record
		sequence := record.Identity.Sequence
		if f.ids[sequence] != record.Correlation.String() || f.devices[sequence] != record.Device {
			return nil, fmt.Errorf("sequence %d of %s has id %s; it was %s of %s", sequence, record.Device, record.Correlation, f.ids[sequence], f.devices[sequence])
		}
		var payload struct {
			Metrics struct {
				Temperature float64 `json:"temperature_c"`
			} `json:"metrics"`
		}
		if err := json.Unmarshal(record.Payload, &payload); err != nil || payload.Metrics.Temperature != 20+float64(sequence)/8 {
			return nil, fmt.Errorf("sequence %d has payload %s", sequence, record.Payload)
		}
	}
	return deliveries, nil
}

// whole says what is missing after a migration.
func (f *firstSchema) whole(q *queue.Queue) error {
	waiting := map[edge.SinkID]int{}
	for sink := edge.SinkID(1); sink <= 3; sink++ {
		due, err := f.due(q, sink)
		if err != nil {
			return err
		}
		waiting[sink] = len(due)
	}
	if diff := cmp.Diff(map[edge.SinkID]int{1: 0, 2: 100, 3: 300}, waiting); diff != "" {
		return errors.New("waiting: " + diff)
	}
	return nil
}

// copied says what is missing in the copy of a file that was migrated.
func (f *firstSchema) copied(t *testing.T, path string, disk sqlite.Disk) error {
	t.Helper()
	text, err := os.ReadFile("../../queuefile/schema/0001_queue.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Path: path, Disk: disk, Migrations: sqlite.NewMigrations(fstest.MapFS{"0001_queue.sql": {Data: text}}, "*.sql")})
	if err != nil {
		return err
	}
	var records, dead, delivered int64
	err = db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT (SELECT sum(n) FROM frame), (SELECT count(*) FROM dead), (SELECT sum(delivered) FROM sink)", func(row sqlite.Row) {
			records, dead, delivered = row.Int(0), row.Int(1), row.Int(2)
		})
		return err
	})
	if records != 300 || dead != 3 || delivered != 497 {
		err = errors.Join(err, fmt.Errorf("the copy holds %d messages, %d dead letters, %d delivered", records, dead, delivered))
	}
	return errors.Join(err, db.Close())
}

// TestOpen_FirstSchema goes on with the file of a gateway of the first schema, as
// if no time had passed since.
func TestOpen_FirstSchema(t *testing.T) {
	f := readFirstSchema(t)
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(path, f.content, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { f.goOn(t, path) })
	if err := f.copied(t, sqlite.SchemaCopy(path, 1), sqlite.Disk{}); err != nil {
		t.Error(err)
	}
}

func (f *firstSchema) goOn(t *testing.T, path string) {
	q, err := queue.Open(t.Context(), queue.Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.EnsureSinks(t.Context(), firstSchemaSinks); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	balanced(t, q)
	due := map[edge.SinkID][]edge.Delivery{}
	for sink := edge.SinkID(1); sink <= 3; sink++ {
		if due[sink], err = f.due(q, sink); err != nil {
			t.Fatal(err)
		}
	}
	if len(due[1]) != 0 || len(due[2]) != 100 || len(due[3]) != 300 {
		t.Fatalf("%d, %d and %d messages are due, want 0, 100 and 300", len(due[1]), len(due[2]), len(due[3]))
	}
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 10)
	if err != nil || len(letters) != 3 {
		t.Errorf("%d dead letters, %v; want 3", len(letters), err)
	}

	replies := edgetest.NewReplies()
	again := due[3][42].Record
	fresh := edgetest.Record("dev-1", 1000)
	if err := q.Append(t.Context(), edge.Entry{Record: again, Replier: replies}, edge.Entry{Record: fresh, Replier: replies, Token: 1}); err != nil {
		t.Fatal(err)
	}
	for _, reply := range replies.Wait(t, 2) {
		known := reply.Token == 0
		if reply.Err != nil || reply.Receipt.Duplicate != known || (reply.Receipt.Correlation == again.Correlation) != known {
			t.Errorf("message %d: got %+v, %v", reply.Token, reply.Receipt, reply.Err)
		}
	}
	for sink := edge.SinkID(2); sink <= 3; sink++ {
		if err := q.Settle(t.Context(), sink, edge.Settlement{Attempt: attempt(due[sink], edge.Delivered), Acked: due[sink]}); err != nil {
			t.Fatal(err)
		}
	}
	for _, sink := range balanced(t, q).Sinks {
		if sink.Pending != 0 || sink.Counted.Owed != 300 {
			t.Errorf("%s: %+v", sink.Name, sink)
		}
	}
}

func balanced(t *testing.T, q *queue.Queue) queuefile.Recount {
	t.Helper()
	recount, err := q.Recount(t.Context())
	if err != nil || !recount.Balanced() {
		t.Errorf("the ledger does not balance: %+v, %v", recount, err)
	}
	return recount
}

// TestOpen_Migration lets single calls of a start fail that migrates: what is left
// is old or new, the next start has everything, and so has the copy.
func TestOpen_Migration(t *testing.T) {
	f := readFirstSchema(t)
	for name, fault := range map[string]simdisk.Fault{
		"EIO":              {Calls: simdisk.AnyCall, Err: syscall.EIO, Times: 1},
		"ShortWrite":       {Calls: simdisk.Write, Err: syscall.EIO, Times: 1, Short: true},
		"ENOSPC":           {Calls: simdisk.Write | simdisk.Allocate, Err: syscall.ENOSPC, Times: 1, Short: true},
		"ENOSPCForEver":    {Calls: simdisk.Write | simdisk.Allocate, Err: syscall.ENOSPC, Short: true},
		"PowerCut":         {Calls: simdisk.AnyCall, Cut: true, Times: 1},
		"KillThenPowerCut": {Calls: simdisk.AnyCall, Kill: true, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			struck := 0
			for fault.Skip = 0; !t.Failed(); fault.Skip += *sweepStride {
				if !f.migrate(t, fault) {
					break
				}
				struck++
			}
			if struck == 0 {
				t.Error("no call was hit")
			}
			t.Logf("%d calls", struck)
		})
	}
}

// migrate opens the file with a fault, and again after a power cut without one. It
// returns whether the fault has struck.
func (f *firstSchema) migrate(t *testing.T, fault simdisk.Fault) bool {
	t.Helper()
	disk := simdisk.New(simdisk.Settings{Seed: uint64(fault.Skip), Files: map[string][]byte{simPath: f.content}})
	defer disk.Close()
	disk.Inject(fault)
	q, err := queue.Open(t.Context(), queue.Settings{Path: simPath, Disk: disk.Port()}, observe.NewDiscard())
	struck := len(disk.Fired()) > 0
	disk.Heal()
	disk.Cut(simdisk.AnySurvival)
	if err == nil {
		_ = q.Close() // of a process that is dead
	}
	if err := disk.Bury(); err != nil {
		t.Logf("call %d: %v", fault.Skip, err)
	}
	q, err = queue.Open(t.Context(), queue.Settings{Path: simPath, Disk: disk.Port()}, observe.NewDiscard())
	if err != nil {
		t.Errorf("call %d: the start after it: %v", fault.Skip, err)
		return struck
	}
	if err := errors.Join(f.whole(q), q.Close(), f.copied(t, sqlite.SchemaCopy(simPath, 1), disk.Port())); err != nil {
		t.Errorf("call %d: %v", fault.Skip, err)
	}
	return struck
}

// TestOpen_MigrationWithoutRoom changes nothing where there is no room for a copy.
func TestOpen_MigrationWithoutRoom(t *testing.T) {
	f := readFirstSchema(t)
	disk := simdisk.New(simdisk.Settings{Files: map[string][]byte{simPath: f.content}, Capacity: int64(len(f.content)) + 512<<10})
	defer disk.Close()
	_, err := queue.Open(t.Context(), queue.Settings{Path: simPath, Disk: disk.Port()}, observe.NewDiscard())
	if _, ok := errors.AsType[*sqlite.RoomError](err); !ok {
		t.Fatalf("got %v, want a RoomError", err)
	}
	content, err := disk.Content(simPath)
	if err != nil || !bytes.Equal(content[96:], f.content[96:]) || !bytes.Equal(content[28:92], f.content[28:92]) {
		t.Errorf("the file was changed: %v", err)
	}
	disk.SetCapacity(8 << 20)
	q, err := queue.Open(t.Context(), queue.Settings{Path: simPath, Disk: disk.Port()}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.whole(q), q.Close()); err != nil {
		t.Error(err)
	}
}
