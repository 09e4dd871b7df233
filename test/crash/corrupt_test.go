package crash_test

import (
	"os"
	"strings"
	"testing"

	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// farBacklog is much more than the lanes have read when the page is spoilt.
const farBacklog = 100_000

// TestCorrupt spoils one byte of a page below a gateway at work, so that SQLite
// meets what cannot be in a whole file. The process ends as
// docs/runbooks/damaged-queue.md says, the next start reads the whole file and makes
// a new one, and nothing is lost: no message was in that byte.
func TestCorrupt(t *testing.T) {
	harness.SkipShort(t, "5 s")
	r := newRig(t, binaries.Path("gateway"))
	harness.Must(t, r.receiver.Kill())
	r.begin()
	r.awaitAcknowledged(0, farBacklog)
	r.kill()
	r.byHand(intoFile)
	pages, size := r.listing()
	page := pages[len(pages)*3/4]
	r.begin()
	r.awaitAcknowledged(r.load.Progress().Acknowledged, acknowledgedMin)

	r.overwrite((page-1)*size, []byte{0xFF})
	t.Logf("page %d is spoilt, one of %d that list frames", page, len(pages))
	r.startReceiver()
	code, err := r.gateway.Process().Wait(harness.Within(t, patience))
	harness.Must(t, err)
	r.noteEnd()
	r.awaitCut()
	log := r.gateway.Process().Log()
	if code != 1 || !strings.Contains(log, "a write has failed: the process must exit") || !strings.Contains(log, "database disk image is malformed") {
		t.Errorf("exit code %d, want 1, and words of the runbook: %s", code, r.gateway.Process().LogTail())
	}
	if _, err := os.Stat(r.queueFile() + ".suspect"); err != nil {
		t.Errorf("the mark for the next start: %v", err)
	}

	r.damage = &verify.Damage{}
	r.begin()
	r.await("a connected generator", func() bool { return r.load.Progress().Connected > 0 })
	values, err := r.gateway.Metrics(t.Context())
	harness.Must(t, err)
	if files, messages := values["gateway_queue_salvaged_files_total"], values["gateway_queue_quarantined_messages_total"]; files != 1 || messages != 0 {
		t.Errorf("%v files were salvaged and %v messages lost, want 1 and 0", files, messages)
	}
	if _, err := os.Stat(r.queueFile() + ".suspect"); err == nil {
		t.Error("the mark is still there")
	}
	r.kill()
	r.begin()
	r.drain()
	if err := r.verify("when all was delivered", false).Err(); err != nil {
		t.Error(err)
	}
}
