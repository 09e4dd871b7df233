package crash_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	_ "modernc.org/sqlite" // the driver

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// tampering is one way to spoil the evidence, and what has to be found then.
type tampering struct {
	name   string
	killed bool   // spoils what a crash has left, instead of what all deliveries have
	finds  string // the invariant, and the sink if it is about one
	spoil  func(t *testing.T, run *verify.Run)
}

var tamperings = []tampering{
	{"AcknowledgedAndMissingInTheFileSink", false, "I1 archive", func(t *testing.T, run *verify.Run) {
		editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string { return lines[:len(lines)-1] })
	}},
	{"AcknowledgedAndMissingAtTheReceiver", false, "I1 analytics", func(t *testing.T, run *verify.Run) {
		editLines(t, run.Sinks[1].Received, func(lines []string) []string { return without(lines, identityOf(lines[len(lines)-1])) })
	}},
	{"CursorBeforeTheDelivery", true, "I1 analytics", sqlTampering("UPDATE sink SET cursor = (SELECT max(id + n) FROM frame), settled = x'' WHERE name = 'analytics'")},
	{"RefusedMessageGone", false, "I5", sqlTampering("UPDATE ledger SET ingress_refused = ingress_refused + 1")},
	{"RefusedMessageGoneWithoutALoss", false, "I5", sqlTampering("UPDATE ledger SET ingress_refused = ingress_refused + 1, ingress_evicted = ingress_evicted + 1")},
	{"PendingFramesGone", true, "I1 archive", sqlTampering("DELETE FROM frame WHERE id >= (SELECT cursor FROM sink WHERE name = 'archive')")},
	{"NeverSent", false, "I2 analytics", func(t *testing.T, run *verify.Run) {
		editLines(t, run.Sinks[1].Received, func(lines []string) []string {
			return append(lines, strings.Replace(lines[0], `"sequence":1`, `"sequence":9`, 1))
		})
	}},
	{"AlteredOnTheWay", false, "I2 archive", func(t *testing.T, run *verify.Run) {
		editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string {
			return append(lines[1:], strings.Replace(lines[0], `"door_open":false`, `"door_open":true`, 1))
		})
	}},
	{"AlteredInTheFileWithAGoodChecksum", false, "I2", func(t *testing.T, run *verify.Run) {
		rewriteFrame(t, run.Queue, func(position int64, records []byte) (int64, []byte) {
			return position, bytes.Replace(records, []byte(`"door_open":false`), []byte(`"door_open":fals3`), 1)
		})
	}},
	{"StoredTwice", false, "I3", func(t *testing.T, run *verify.Run) {
		rewriteFrame(t, run.Queue, func(position int64, records []byte) (int64, []byte) { return position + 1<<20, records })
	}},
	{"AgainWithoutACrash", false, "I3 analytics", func(t *testing.T, run *verify.Run) {
		editLines(t, run.Sinks[1].Received, func(lines []string) []string { return append(lines, lines[0]) })
		run.Crashes = nil
	}},
	{"MoreBatchesAgainThanSlots", false, "I3 analytics", func(t *testing.T, run *verify.Run) {
		editLines(t, run.Sinks[1].Received, func(lines []string) []string { return append(lines, lines...) })
	}},
	{"MoreRecordsAgainThanBatches", false, "I3 archive", func(t *testing.T, run *verify.Run) {
		editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string { return append(lines, lines[:sinkSlots*archiveBatch+1]...) })
	}},
	{"AgainUnderAnotherKey", false, "I3 analytics", func(t *testing.T, run *verify.Run) {
		editLines(t, run.Sinks[1].Received, func(lines []string) []string {
			parts := strings.SplitN(lines[len(lines)-1], " ", 3)
			return append(lines, parts[0]+" other/key/1-2 "+parts[2])
		})
		run.Sinks[1].SameKey = true
	}},
	{"OutOfOrder", false, "I4 archive", func(t *testing.T, run *verify.Run) {
		editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string {
			slices.Reverse(lines)
			return lines
		})
	}},
	{"CounterOfASink", false, "I5 archive", sqlTampering("UPDATE sink SET delivered = delivered + 1 WHERE name = 'archive'")},
	{"CounterOfDeadLetters", false, "I5 archive", sqlTampering("UPDATE sink SET delivered = delivered - 1, dead = dead + 1 WHERE name = 'archive'")},
	{"CounterOfAll", false, "I5", sqlTampering("UPDATE ledger SET accepted = accepted + 1")},
	{"CounterOfUnrouted", false, "I5", sqlTampering("UPDATE ledger SET unrouted = unrouted + 1")},
	{"GapBetweenFrames", false, "I5", sqlTampering("DELETE FROM frame WHERE id = (SELECT max(id) FROM frame WHERE id < (SELECT max(id) FROM frame))")},
	{"CounterOfDeliveries", false, "I5 archive", sqlTampering("UPDATE sink SET delivered = delivered - 1, owed = owed - 1 WHERE name = 'archive'")},
	{"MoreCountedThanArrived", true, "I5 analytics", sqlTampering("UPDATE sink SET delivered = delivered + 100000, owed = owed + 100000 WHERE name = 'analytics'")},
	{"CounterOfLosses", false, "I5 archive", sqlTampering("UPDATE sink SET delivered = delivered - 1, expired = expired + 1 WHERE name = 'archive'")},
	{"GivenUpByItself", false, "I1 analytics", sqlTampering(fmt.Sprintf(insertLoss, "analytics", 1, 1, "{}"))},
	{"DeadByItself", false, "I1 archive", sqlTampering(`INSERT INTO dead SELECT id, 1, 'rejected', '', '', '', 0, 0, 0, 0, '', x'00' FROM sink WHERE name = 'archive'`)},
	{"SetAside", false, "I1", sqlTampering("INSERT INTO quarantine VALUES(-1, 1, 1, 0, 0, 0, x'00', '', 0)")},
	{"Salvaged", false, "I1", sqlTampering("UPDATE ledger SET salvaged = 1")},
	{"SinkGone", false, "I5 archive", sqlTampering("DELETE FROM sink WHERE name = 'archive'")},
	{"DamagedAndNotReported", false, "I5 archive", func(t *testing.T, run *verify.Run) { damageLast(t, run, 0) }},
	{"DamagedAndReportedTwice", false, "I5 archive", func(t *testing.T, run *verify.Run) { damageLast(t, run, 2) }},
	{"DamagedAndNotCounted", false, "I5", func(t *testing.T, run *verify.Run) {
		damageLast(t, run, 1)
		sqlTampering("UPDATE ledger SET quarantined = 0")(t, run)
	}},
	{"LostBesidesTheDamaged", false, "I1 archive", func(t *testing.T, run *verify.Run) {
		damageLast(t, run, 1)
		editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string { return without(lines, identityOf(lines[0])) })
	}},
	{"BitOfAFrame", false, "I12", sqlTampering("UPDATE frame SET body = CAST(substr(body, 1, 20) || iif(substr(body, 21, 1) = x'00', x'01', x'00') || substr(body, 22) AS BLOB) WHERE id = (SELECT max(id) FROM frame)")},
	{"BitOfTheFile", false, "I12", func(t *testing.T, run *verify.Run) {
		const freePages = 36 // where the header counts them
		file, err := os.OpenFile(run.Queue, os.O_RDWR, 0)
		harness.Must(t, err)
		_, err = file.WriteAt([]byte{0, 0, 1, 0}, freePages)
		harness.Must(t, err)
		harness.Must(t, file.Close())
	}},
}

// TestVerify spoils the evidence of a real run in every way that the verifier
// knows. One that it did not find would make all the other tests worthless.
func TestVerify(t *testing.T) {
	r := newRig(t, binaries.Path("gateway"))
	for range 3 {
		r.cycle()
	}
	killed := copyEvidence(t, r.evidence(true))
	_, report := r.finish()
	harness.Must(t, report.Err())
	drained := r.evidence(false)
	for _, tampering := range tamperings {
		t.Run(tampering.name, func(t *testing.T) {
			original := drained
			if tampering.killed {
				original = killed
			}
			run := copyEvidence(t, original)
			tampering.spoil(t, &run)
			report, err := verify.Check(run)
			harness.Must(t, err)
			found := slices.ContainsFunc(report.Findings, func(finding verify.Finding) bool {
				return strings.TrimSpace(finding.Invariant+" "+finding.Sink) == tampering.finds
			})
			if !found {
				t.Errorf("want a finding of %s, got %v", tampering.finds, report.Findings)
			}
		})
	}
	t.Run("DamagedIsNotLost", func(t *testing.T) {
		run := copyEvidence(t, drained)
		damageLast(t, &run, 1)
		report, err := verify.Check(run)
		harness.Must(t, err)
		harness.Must(t, report.Err())
	})
	t.Run("GivenUpIsNotLost", func(t *testing.T) {
		run := copyEvidence(t, drained)
		var gone string
		editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string {
			gone, lines = lines[len(lines)-1], lines[:len(lines)-1]
			return lines
		})
		device, _, _ := strings.Cut(identityOf(gone), `"`)
		sqlTampering(fmt.Sprintf(insertLoss, "archive", 1, 1, `{"`+device+`": 1}`))(t, &run)
		sqlTampering("UPDATE sink SET delivered = delivered - 1, discarded = discarded + 1 WHERE name = 'archive'")(t, &run)
		run.MayGiveUp = true
		report, err := verify.Check(run)
		harness.Must(t, err)
		harness.Must(t, report.Err())
	})
}

// insertLoss reports messages as lost: by a sink, their kind, how many, and by
// device.
const insertLoss = `INSERT INTO loss(sink, kind, reason, actor, first, last, first_received, last_received, at, count, devices)
	VALUES((SELECT id FROM sink WHERE name = '%s'), %d, 'test', '', 1, 1, 0, 0, 0, %d, '%s')`

// damageLast makes a run of one in which damage has taken the last message from the
// file sink, and the loss report says that it were so many.
func damageLast(t *testing.T, run *verify.Run, reported int) {
	t.Helper()
	var gone harness.Record
	editLines(t, newestFile(t, run.Sinks[0].Folder), func(lines []string) []string {
		harness.Must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &gone))
		return without(lines, identityOf(lines[len(lines)-1]))
	})
	run.Damage = &verify.Damage{Messages: []acklog.Identity{gone.Identity()}, Undecided: map[string]int64{"archive": 1}}
	sqlTampering("UPDATE ledger SET quarantined = 1")(t, run)
	if reported > 0 {
		const quarantined = 3
		sqlTampering(fmt.Sprintf(insertLoss, "archive", quarantined, reported, "{}"))(t, run)
		sqlTampering(fmt.Sprintf("UPDATE sink SET delivered = delivered - %d, discarded = discarded + %[1]d WHERE name = 'archive'", reported))(t, run)
	}
}

// copyEvidence copies what a run has left into a folder of its own.
func copyEvidence(t *testing.T, run verify.Run) verify.Run {
	t.Helper()
	folder := t.TempDir()
	copied := func(path string) string {
		text, err := os.ReadFile(path)
		harness.Must(t, err)
		target := filepath.Join(folder, filepath.Base(path))
		harness.Must(t, os.WriteFile(target, text, 0o600))
		return target
	}
	if _, err := os.Stat(run.Queue + "-wal"); err == nil {
		copied(run.Queue + "-wal")
	}
	run.Log, run.Queue = copied(run.Log), copied(run.Queue)
	archive := filepath.Join(folder, "out")
	harness.Must(t, os.CopyFS(archive, os.DirFS(run.Sinks[0].Folder)))
	run.Sinks = slices.Clone(run.Sinks)
	run.Sinks[0].Folder, run.Sinks[1].Received = archive, copied(run.Sinks[1].Received)
	return run
}

func newestFile(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.ndjson"))
	harness.Must(t, err)
	if len(files) == 0 {
		t.Fatalf("no file in %s", folder)
	}
	return slices.Max(files)
}

func editLines(t *testing.T, path string, edit func(lines []string) []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	harness.Must(t, err)
	lines := edit(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
	harness.Must(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// identityOf returns what is particular to a record's message, from its device
// on.
func identityOf(line string) string {
	_, device, _ := strings.Cut(line, `"device_id":"`)
	name, _, _ := strings.Cut(device, `"`)
	_, sequence, _ := strings.Cut(line, `"sequence":`)
	number, _, _ := strings.Cut(sequence, ",")
	return name + `"` + number
}

// without removes every line about a message.
func without(lines []string, identity string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return identityOf(line) == identity })
}

func sqlTampering(statement string) func(t *testing.T, run *verify.Run) {
	return func(t *testing.T, run *verify.Run) {
		t.Helper()
		db, err := sql.Open("sqlite", run.Queue)
		harness.Must(t, err)
		result, err := db.Exec(statement)
		harness.Must(t, err)
		if rows, err := result.RowsAffected(); err != nil || rows == 0 {
			t.Fatalf("%s: %d rows, %v", statement, rows, err)
		}
		harness.Must(t, db.Close())
	}
}

// rewriteFrame edits the newest frame and gives it a good checksum. A frame that
// changes its position is one more.
func rewriteFrame(t *testing.T, path string, edit func(position int64, records []byte) (int64, []byte)) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	harness.Must(t, err)
	var first, count int64
	var body []byte
	harness.Must(t, db.QueryRow("SELECT id, n, body FROM frame ORDER BY id DESC LIMIT 1").Scan(&first, &count, &body))
	_, width := binary.Uvarint(body[2:])
	records := body[2+width : len(body)-8]
	if body[1] == 1 {
		decoder, err := zstd.NewReader(nil)
		harness.Must(t, err)
		defer decoder.Close()
		records, err = decoder.DecodeAll(records, nil)
		harness.Must(t, err)
	}
	position, edited := edit(first, records)
	body = append(binary.AppendUvarint([]byte{body[0], 0}, uint64(len(edited))), edited...)
	place := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(position)), uint64(count))
	digest := xxhash.NewWithSeed(xxhash.Sum64(place))
	_, _ = digest.Write(body) // Cannot fail.
	_, err = db.Exec("INSERT OR REPLACE INTO frame VALUES(?, ?, 0, 0, 0, ?)", position, count, binary.LittleEndian.AppendUint64(body, digest.Sum64()))
	harness.Must(t, err)
	harness.Must(t, db.Close())
}
