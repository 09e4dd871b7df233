package queue

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// TestOpen_WALHead starts where the beginning of the WAL was damaged after a kill, or
// all of it emptied. SQLite takes such a WAL for an empty one.
func TestOpen_WALHead(t *testing.T) {
	const header, frame = 32, sqlite.PageBytes + 24
	ones := func(bytes int) func([]byte) []byte {
		return func(wal []byte) []byte {
			for i := range min(bytes, len(wal)) {
				wal[i] = byte(i*i*7 + i>>3 + 1)
			}
			return wal
		}
	}
	zeros := func(bytes int) func([]byte) []byte {
		return func(wal []byte) []byte { clear(wal[:min(bytes, len(wal))]); return wal }
	}
	cut := func(to int) func([]byte) []byte { return func(wal []byte) []byte { return wal[:to] } }
	all := []edge.Position{1, 2, 3, 4, 5, 6}
	for name, test := range map[string]struct {
		damage func(wal []byte) []byte
		want   []edge.Position // leased after the start, at least
		gone   bool            // nothing is left to be looked at
		round  bool            // nor of the newest round, for all that anybody can tell
	}{
		"Header":        {zeros(header), all, false, false},
		"HeaderGarbage": {ones(header), all, false, false},
		"Sector":        {zeros(512), all, false, true},
		"SectorGarbage": {ones(512), all, false, true},
		"Page":          {zeros(sqlite.PageBytes), all[:3], false, true},
		"PageGarbage":   {ones(sqlite.PageBytes), all[:3], false, true},
		"TwoFrames":     {zeros(header + 2*frame), all[:3], false, true},
		"Everything":    {zeros(1 << 30), all[:3], false, true},
		"Emptied":       {cut(0), all[:3], true, true},
		"Cut":           {cut(header - 1), all[:3], true, true},
		"CutAndZero":    {func(wal []byte) []byte { return zeros(header)(wal[:header]) }, all[:3], true, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := killedWithout(t)
			rewrite(t, path+"-wal", test.damage)
			found, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
			if err != nil || (found.Structural > 0) == test.gone || slices.Contains(found.Notes, queuefile.ErrGone.Error()) != test.gone {
				t.Errorf("verified %+v, %v", found, err)
			}
			q, stop := run(t, Settings{Path: path, Known: true})
			sink := q.registry.all()[0].id
			leased := leaseAll(t, q, sink)
			got := PositionsOf(leased)
			for _, position := range test.want {
				if !slices.Contains(got, position) {
					t.Errorf("leased %v, want %v at least", got, test.want)
				}
			}
			for _, delivery := range leased {
				if !bytes.Equal(delivery.Record.Payload, large(int(delivery.Record.Position)-1, 1)[0].Record.Payload) {
					t.Errorf("the payload at %d was altered", delivery.Record.Position)
				}
			}
			if ledger := q.ledger.read(); ledger.Salvaged != 1 || q.Head() < 1<<20 || (q.Head() > 1<<39) != test.round {
				t.Errorf("%d salvaged, head %d", ledger.Salvaged, q.Head())
			}
			accepted(t, q, owedTo(large(20, 2), sink))
			expectBalance(t, q, int64(len(got)+2))
			t.Logf("leased %v", got)
			stop()
			if found, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); err != nil || found.Found > 0 {
				t.Errorf("verified %+v, %v", found, err)
			}
		})
	}
}

// TestOpen_WALHead_SaysSo starts where all of the WAL is damaged: the log does not say that
// nothing is lost.
func TestOpen_WALHead_SaysSo(t *testing.T) {
	path := killedWithout(t)
	rewrite(t, path+"-wal", func(wal []byte) []byte { clear(wal); return wal })
	if log := logged(t, Settings{Path: path, Known: true}); !strings.Contains(log, `"lost":0,"newest_lost":"unknown"`) {
		t.Errorf("the log says: %s", log)
	}
}
