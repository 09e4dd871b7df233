package queue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
)

const flippedLetters = 12

// lettersOf lets all records of a sink die, and returns the bytes of the file and the
// payloads by position.
func lettersOf(t *testing.T) (content []byte, payloads map[edge.Position]string) {
	t.Helper()
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	entries := edgetest.Entries(flippedLetters, 1, 1)
	for i := range entries {
		entries[i].Record.Payload = fmt.Appendf(nil, `{"schema_version":1,"metrics":{"letter":"%0*d"}}`, 40*i, i)
	}
	accepted(t, q, entries)
	payloads = map[edge.Position]string{}
	leased := leaseAll(t, q, 1)
	for _, delivery := range leased {
		payloads[delivery.Record.Position] = string(delivery.Record.Payload)
	}
	deadLetter(t, q, leased)
	stop()
	content, err := os.ReadFile(settings.Path)
	if err != nil || len(payloads) != flippedLetters {
		t.Fatalf("%d letters, %v", len(payloads), err)
	}
	return content, payloads
}

// TestOpen_LetterFlips flips one bit of the rows of dead letters, again and again. Each
// start serves; one that is counted and found to make no sense ends, and the next serves.
// What is listed was not altered, and what is missing is one letter, which is in the loss
// report and in a metric. Every letter loses a bit of its key once: it is in the table
// then, where the key does not lead.
func TestOpen_LetterFlips(t *testing.T) {
	random := rand.New(rand.NewPCG(*flipSeed, 0))
	content, payloads := lettersOf(t)
	row := []byte("dev-0" + edge.DeathRejected) // behind the key
	first, end := bytes.Index(content, row)-30, bytes.LastIndex(content, row)+600
	t.Logf("%d flips between %d and %d, seed %d", *flips/2, first, end, *flipSeed)
	for n := range *flips / 2 {
		flipLetter(t, fmt.Sprint(n), content, payloads, first+random.IntN(end-first), random.IntN(8))
	}
	for at := first; ; {
		next := bytes.Index(content[at:], row)
		if next < 0 {
			break
		}
		if at += next; at < end {
			flipLetter(t, fmt.Sprint("key-", at), content, payloads, at-1, 4)
		}
		at += len(row)
	}
}

// TestOpen_LetterKeyFlips flips the bits of the first, one in the middle and the last
// dead letter's key that make it the key of another, or of no sink: the place of the
// row, or the type by which its sink is a one that takes no bytes.
func TestOpen_LetterKeyFlips(t *testing.T) {
	content, payloads := lettersOf(t)
	row := []byte("dev-0" + edge.DeathRejected)
	var rows []int
	for at := bytes.Index(content, row); at >= 0; {
		rows = append(rows, at)
		next := bytes.Index(content[at+1:], row)
		if next < 0 {
			break
		}
		at += 1 + next
	}
	const place, sinkType = 1, 14 // bytes in front of the row
	for _, at := range []int{rows[0], rows[len(rows)/2], rows[len(rows)-1]} {
		for bit := range 4 {
			flipLetter(t, fmt.Sprintf("place-%d-%d", at, bit), content, payloads, at-place, bit)
			flipLetter(t, fmt.Sprintf("sink-%d-%d", at, bit), content, payloads, at-sinkType, bit)
		}
	}
}

// TestOpen_LetterNamesNoSink makes NULL of a letter's sink, which lies in its key: only
// whoever counts all letters meets it. The start after that reports it as lost.
func TestOpen_LetterNamesNoSink(t *testing.T) {
	content, payloads := lettersOf(t)
	const header, one, null = 14, 9, 0 // how long the list of types is, and types of values that take no bytes
	row := bytes.Index(content, []byte("dev-0"+edge.DeathRejected))
	sink := bytes.LastIndex(content[:row], []byte{header, one})
	if row < 0 || row-sink > 20 {
		t.Fatalf("no key at %d in front of the row at %d", sink, row)
	}
	content[sink+1] = null
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if outcome, err := readLetters(t, path, payloads); err != nil || !strings.HasPrefix(outcome, "1 missing, 1 reported") {
		t.Errorf("%s, %v", outcome, err)
	}
}

// flipLetter flips a bit, and reads every dead letter of what a start makes of that.
func flipLetter(t *testing.T, name string, content []byte, payloads map[edge.Position]string, at, bit int) {
	t.Helper()
	spoilt := bytes.Clone(content)
	spoilt[at] ^= 1 << bit
	folder := filepath.Join(t.TempDir(), "flip") // t.TempDir stays to the end, with a reserve for each start
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "queue.db")
	if err := os.WriteFile(path, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	if outcome, err := readLetters(t, path, payloads); err != nil {
		t.Errorf("seed %d, flip %s: bit %d at %d: %s, %v", *flipSeed, name, bit, at, outcome, err)
	}
}

// readLetters starts on a file as often as the queue asks for, and reads every dead
// letter.
func readLetters(t *testing.T, path string, payloads map[edge.Position]string) (outcome string, err error) {
	t.Helper()
	for start := 1; ; start++ {
		outcome, err = readLettersOnce(t, path, payloads)
		if _, fatal := errors.AsType[*FatalError](err); !fatal || start == 3 {
			return outcome, err
		}
		path = asFound(t, path, start)
	}
}

func readLettersOnce(t *testing.T, path string, payloads map[edge.Position]string) (outcome string, err error) {
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		return "", fmt.Errorf("start: %w", err)
	}
	if _, err := q.EnsureSinks(t.Context(), []SinkSpec{{Name: "sink-1", Kind: "test"}}); err != nil {
		return "", errors.Join(err, q.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	defer func() {
		cancel()
		err = cmp.Or(<-done, err)
	}()
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1000)
	if err != nil {
		return "", err
	}
	found := map[edge.Position]bool{}
	for i := range letters {
		record := &letters[i].Record
		if letters[i].Sink != 1 || payloads[record.Position] != string(record.Payload) {
			return "", fmt.Errorf("letter %d of sink %d was altered: %q", record.Position, letters[i].Sink, record.Payload)
		}
		found[record.Position] = true
	}
	missing := len(payloads) - len(found)
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 100)
	if err != nil {
		return "", err
	}
	reported := int64(0)
	for i := range losses {
		reported += losses[i].Count
	}
	stats := q.Stats()
	outcome = fmt.Sprintf("%d missing, %d reported, salvaged %d, quarantined %d, mismatches %v", missing, reported, stats.Salvaged, stats.Quarantined, stats.LedgerMismatches > 0)
	if int64(missing) > reported { // a letter without a sink is in no list; whoever counts them all finds it
		if _, err := q.Recount(t.Context()); errors.Is(err, queuefile.ErrRow) {
			<-q.closed // the process ends
			return outcome, err
		}
	}
	if missing > 1 || int64(missing) != reported || missing > 0 && stats.Salvaged == 0 && stats.Quarantined == 0 {
		return outcome, errors.New(outcome)
	}
	return outcome, nil
}
