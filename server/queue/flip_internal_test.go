package queue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

var (
	flips    = flag.Int("flips", flipsDefault, "how many bits TestOpen_Flips flips, each in a copy of its own")
	flipSeed = flag.Uint64("flip-seed", 1, "which bits")
)

const flipsDefault = 60

// flipped is a queue whose files are damaged bit by bit, and what is known of it
// from outside.
type flipped struct {
	files    map[string][]byte // by suffix
	payloads map[edge.Position]string
	frames   map[edge.Position]edge.Position // of a record: the first position of its frame
	ranges   map[edge.Position][]flipRange   // of a frame: where its bytes lie
	waiting  map[edge.SinkID]map[edge.Position]bool
	reported map[edge.SinkID]int64 // by the loss report of the last start
	tooMany  int64                 // were reported in all, and are there
}

// flipRange is where some bytes of a frame lie in a file.
type flipRange struct {
	suffix     string
	first, end int
}

// newcomer is the device of what is appended after a flip.
const newcomer edge.DeviceID = "dev-9"

var flipSpecs = []SinkSpec{{Name: "sink-1", Kind: "test"}, {Name: "sink-2", Kind: "test"}}

// newFlipped fills a queue: frames of one record and of many, in one page and in
// several, merged ones among them, owed to one sink and to both; delivered, dead and
// waiting; the older half in the database, the newer one in the WAL.
func newFlipped(t *testing.T) *flipped {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	f := newUnknown()
	random := rand.New(rand.NewPCG(1, 2))
	next := 0
	fill := func(commits int) {
		for commit := range commits {
			var entries []edge.Entry
			for range 1 + (commit%7)*(commit%5) {
				record := edgetest.Record(edge.DeviceID(fmt.Sprintf("dev-%d", next%5)), next)
				record.Payload = fmt.Appendf(nil, `{"schema_version":1,"metrics":{"n":%d,"text":"%x"}}`, next, random.Uint64())
				if commit%6 == 0 {
					record.Payload = fmt.Appendf(record.Payload, "%0*d", 3000, next)
				}
				owed := [][]edge.SinkID{{1}, {2}, {1, 2}}[next%3]
				if commit%2 == 0 {
					owed = []edge.SinkID{1, 2}
				}
				entries = append(entries, edge.Entry{Record: record, Owed: owed})
				next++
			}
			accepted(t, q, entries)
		}
	}
	decide := func(sink edge.SinkID, count int) {
		leased, err := q.Lease(t.Context(), sink, edge.LeaseLimit{Records: count, Bytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		deadLetter(t, q, leased[:1])
		if err := q.Settle(t.Context(), sink, edge.Settlement{Attempt: edge.Attempt{Class: edge.Delivered, Number: 1, First: leased[1].Record.Position, Last: leased[len(leased)-1].Record.Position, Status: "200"}, Acked: leased[1:]}); sink == 1 && err != nil {
			t.Fatal(err)
		}
	}
	checkpoint := func() {
		if _, err := q.db.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	fill(40)
	decide(1, 60)
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkpoint()
	mergeSmallest(t, q)
	fill(10)
	checkpoint()
	fill(30)
	decide(1, 40)
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.know(t, q)
	return f
}

// newUnknown is what is known of a queue before anything is.
func newUnknown() *flipped {
	return &flipped{
		files: map[string][]byte{}, payloads: map[edge.Position]string{}, frames: map[edge.Position]edge.Position{},
		ranges: map[edge.Position][]flipRange{}, waiting: map[edge.SinkID]map[edge.Position]bool{1: {}, 2: {}},
	}
}

// mergeSmallest merges every run of frames of one record, so that their pages are
// used again by what follows.
func mergeSmallest(t *testing.T, q *Queue) {
	t.Helper()
	var small []smallFrame
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query("SELECT id, id + n FROM frame WHERE raw < 2000 ORDER BY id", func(row sqlite.Row) error {
			small = append(small, smallFrame{first: edge.Position(row.Int(0)), end: edge.Position(row.Int(1))})
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	merger := newMerger(q, q.start.merging, nil)
	for n, from := 1, 0; n <= len(small); n++ {
		if n < len(small) && small[n].first == small[n-1].end {
			continue
		}
		if run := small[from:n]; len(run) > 1 {
			result, err := merger.merge(run)
			if err != nil || result == nil {
				t.Fatal(err)
			}
			if err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error { return result.write(conn, &retention{}) }); err != nil {
				t.Fatal(err)
			}
		}
		from = n
	}
}

// know reads the files, and where in them each frame lies.
func (f *flipped) know(t *testing.T, q *Queue) {
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(q.settings.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		f.files[suffix] = content
	}
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query("SELECT id, n, committed, owed, raw, body FROM frame", func(row sqlite.Row) error {
			stored := queuefile.ReadFrame(row)
			frame, err := q.decoder.DecodeStored(stored)
			if err != nil {
				return err
			}
			for i := range frame.Records {
				record := &frame.Records[i]
				f.payloads[record.Position] = string(record.Payload)
				f.frames[record.Position] = frame.First
				for _, account := range q.registry.all() {
					if account.owes(record.Position, q.sets.sinks(frame.Owed[i])) && !account.decided(record.Position) {
						f.waiting[account.id][record.Position] = true
					}
				}
			}
			f.find(frame.First, stored.Body)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// find looks for the pieces of a frame: what lies in its leaf page, and what lies
// in pages of its own, with what leads to them.
func (f *flipped) find(frame edge.Position, body []byte) {
	const around = 40 // the row's header and numbers in front, the number of the next page behind
	for suffix, content := range f.files {
		for start := 0; start < len(body); {
			size := min(16, len(body)-start)
			piece := body[start : start+size]
			for from := 0; ; {
				at := bytes.Index(content[from:], piece)
				if at < 0 {
					break
				}
				at += from
				end := at
				for end < len(content) && end-at < len(body)-start && content[end] == body[start+end-at] {
					end++
				}
				f.ranges[frame] = append(f.ranges[frame], flipRange{suffix, at - around, end + around})
				from = at + 1
			}
			start += size
		}
	}
}

// TestOpen_Flips flips one bit of the files of a stopped queue, again and again,
// and serves what is left. No payload that was altered is ever delivered, every
// message whose frame was not hit is, and every start serves. The loss report says no
// less than what is missing, and no more than what was hit. More of it:
//
//	go test ./server/queue -run TestOpen_Flips -flips 10000 -timeout 1h
func TestOpen_Flips(t *testing.T) {
	random := rand.New(rand.NewPCG(*flipSeed, 0))
	f := newFlipped(t)
	t.Logf("%d flips, seed %d; %d messages, %d and %d waiting", *flips, *flipSeed, len(f.payloads), len(f.waiting[1]), len(f.waiting[2]))
	outcomes := map[string]int{}
	folder := t.TempDir()
	for n := range *flips {
		suffix := []string{"", "-wal"}[random.IntN(2)]
		at, bit := random.IntN(len(f.files[suffix])), random.IntN(8)
		outcome, err := f.serve(t, filepath.Join(folder, fmt.Sprint(n)), suffix, at, bit)
		if err != nil {
			t.Errorf("seed %d, flip %d: bit %d at %d of queue.db%s, kept in %s: %v", *flipSeed, n, bit, at, suffix, f.keep(t, suffix, at, bit), err)
		}
		outcomes[outcome]++
	}
	t.Logf("%v; %d reported as lost and not missing", outcomes, f.tooMany)
	if *flips >= flipsDefault && (outcomes["salvaged"] == 0 || outcomes["quarantined"] == 0) {
		t.Errorf("got %v, want files salvaged and frames quarantined", outcomes)
	}
}

// keep writes damaged files to a folder that outlives the test: times, and so the
// bytes of frames, differ from run to run.
func (f *flipped) keep(t *testing.T, suffix string, at, bit int) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "flip-")
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, filepath.Join(folder, "queue.db"), suffix, at, bit)
	return folder
}

// write writes the files with one bit flipped.
func (f *flipped) write(t *testing.T, path, suffix string, at, bit int) {
	t.Helper()
	for name, content := range f.files {
		content = slices.Clone(content)
		if name == suffix {
			content[at] ^= 1 << bit
		}
		if err := os.WriteFile(path+name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serve flips a bit, starts on the result as often as the queue asks for, and
// leases everything.
func (f *flipped) serve(t *testing.T, folder, suffix string, at, bit int) (outcome string, err error) {
	t.Helper()
	path := filepath.Join(folder, "queue.db")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	f.write(t, path, suffix, at, bit)
	got := map[edge.SinkID]map[edge.Position]bool{1: {}, 2: {}}
	if outcome, err = f.starts(t, path, got); err != nil {
		return outcome, err
	}
	missing, messages := map[edge.Position]bool{}, map[edge.SinkID]int64{} // frames, and what each sink has lost by them
	for sink, waiting := range f.waiting {
		for position := range waiting {
			if !got[sink][position] {
				missing[f.frames[position]] = true
				messages[sink]++
			}
		}
	}
	hit := func(frame edge.Position) bool {
		return slices.ContainsFunc(f.ranges[frame], func(r flipRange) bool { return r.suffix == suffix && r.first <= at && at < r.end })
	}
	most := int64(0) // that can be gone: not all of a frame is owed to both
	for _, frame := range f.frames {
		if hit(frame) {
			most++
		}
	}
	for sink := range f.waiting {
		if reported := f.reported[sink]; reported < messages[sink] || reported > max(most, messages[sink]) {
			return outcome, fmt.Errorf("%s: sink %d misses %d messages of the %d that were hit, and %d are reported", outcome, sink, messages[sink], most, reported)
		}
		f.tooMany += f.reported[sink] - messages[sink]
	}
	for frame := range missing {
		if !hit(frame) {
			return outcome, fmt.Errorf("%s: messages of frame %d are missing, which was not hit; all missing: %v", outcome, frame, missing)
		}
		if outcome == "nothing" {
			return outcome, fmt.Errorf("messages of frame %d are missing and no metric says so", frame)
		}
	}
	return outcome, nil
}

// starts starts on a file until a start serves all that it has, at most three times.
func (f *flipped) starts(t *testing.T, path string, got map[edge.SinkID]map[edge.Position]bool) (outcome string, err error) {
	t.Helper()
	for start := 1; ; start++ {
		outcome, err = f.life(t, path, got)
		if _, fatal := errors.AsType[*FatalError](err); !fatal {
			return outcome, err
		}
		if start == 3 {
			return "", fmt.Errorf("start %d: %w", start, err)
		}
		path = asFound(t, path, start)
	}
}

// asFound copies what a process leaves that has to end, for the next start: it would be
// gone, and here its connections are still open.
func asFound(t *testing.T, path string, start int) string {
	t.Helper()
	after := filepath.Join(filepath.Dir(path), fmt.Sprint("start-", start+1))
	for _, name := range []string{"", "-wal", ".suspect"} {
		content, err := os.ReadFile(path + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(after, 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(after, "queue.db"+name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(after, "queue.db")
}

// life is one start: everything that is due is leased and looked at.
func (f *flipped) life(t *testing.T, path string, got map[edge.SinkID]map[edge.Position]bool) (outcome string, err error) {
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		return "", fmt.Errorf("start: %w", err)
	}
	ids, err := q.EnsureSinks(t.Context(), flipSpecs)
	if err != nil {
		_ = q.Close()
		return "", fmt.Errorf("register sinks: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	defer func() {
		cancel()
		err = cmp.Or(<-done, err)
	}()
	for i, sink := range ids {
		if err := f.drain(t, q, sink, got[edge.SinkID(i+1)]); err != nil {
			if errors.Is(err, queuefile.ErrRow) {
				<-q.closed // the process ends
			}
			return "", err
		}
	}
	replies := edgetest.NewReplies()
	if err := q.Append(t.Context(), edge.Entry{Record: edgetest.Record(newcomer, 1), Owed: ids, Replier: replies}); err != nil {
		return "", fmt.Errorf("append: %w", err)
	}
	if reply := replies.Wait(t, 1)[0]; reply.Err != nil {
		return "", fmt.Errorf("append: %w", reply.Err)
	}
	if f.reported, err = f.losses(t, q); err != nil {
		return "", err
	}
	stats := q.Stats()
	switch {
	case stats.Salvaged > 0:
		return "salvaged", nil
	case stats.Quarantined > 0:
		return "quarantined", nil
	case stats.LedgerMismatches > 0:
		return "miscounted", nil
	}
	return "nothing", nil
}

// losses returns what the loss report says, and makes sure that the ledger agrees.
func (f *flipped) losses(t *testing.T, q *Queue) (map[edge.SinkID]int64, error) {
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 100)
	reported := map[edge.SinkID]int64{}
	for i := range losses {
		reported[losses[i].Sink] += losses[i].Count
	}
	if err != nil {
		return nil, err
	}
	recount, err := q.Recount(t.Context())
	if salvaged := q.Stats().Salvaged; err == nil && salvaged > 0 && !recount.Balanced() {
		err = fmt.Errorf("a salvaged file does not balance: %v", recount.Mismatches)
	}
	return reported, err
}

// drain leases what is due for a sink.
func (f *flipped) drain(t *testing.T, q *Queue, sink edge.SinkID, got map[edge.Position]bool) error {
	for {
		account, err := q.account(sink)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		deliveries, err := leaseSome(ctx, q, account, 200)
		cancel()
		if err != nil {
			return fmt.Errorf("lease: %w", err)
		}
		if len(deliveries) == 0 {
			return nil
		}
		for i := range deliveries {
			record := &deliveries[i].Record
			if record.Device != newcomer && f.payloads[record.Position] != string(record.Payload) {
				return fmt.Errorf("the payload at %d was altered: %q", record.Position, record.Payload)
			}
			got[record.Position] = true
		}
		if err := q.Settle(t.Context(), sink, edge.Settlement{Acked: deliveries}); err != nil {
			return err
		}
	}
}
