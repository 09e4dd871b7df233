package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

// dataDir returns a data folder with six messages, two in each commit, that wait
// for a sink.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	q, err := queue.Open(t.Context(), queue.Settings{Path: filepath.Join(dir, "queue.db")}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	sinks, err := q.EnsureSinks(t.Context(), []queue.SinkSpec{{Name: "archive", Kind: "file"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	for n := range 3 {
		replies := edgetest.NewReplies()
		var entries []edge.Entry
		for i := range 2 {
			entries = append(entries, edge.Entry{Record: edgetest.Record("dev-1", 2*n+i), Owed: sinks, Replier: replies})
		}
		if err := q.Append(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
		replies.Wait(t, len(entries))
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gateway.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spoil changes the payload of the last message in a file.
func spoil(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(content, []byte("dev-1"))
	content[at+20] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestQueueVerify(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)

	got := runCommand(t.Context(), "", "queue", "verify", "--data-dir", dir)
	if got.Code != exitDone || got.Stderr != "" || !strings.Contains(got.Stdout, "6 in 3 frames") || !strings.Contains(got.Stdout, "problems           0") {
		t.Errorf("got %+v", got)
	}
	lock, err := os.Open(filepath.Join(dir, "gateway.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "monday.db")
	if err := os.WriteFile(backup, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for operation, hint := range map[string]string{
		"verify": "; while it runs, gatewayctl queue backup makes a copy that can be verified\n", "repair": "\n", "compact": "\n",
		"restore": "\n", "backup": ", or let it make the backup: the same without --data-dir\n",
	} {
		arguments := []string{"queue", operation, "--data-dir", dir}
		switch operation {
		case "restore":
			arguments = append(arguments, "--force", backup)
		case "backup":
			arguments = append(arguments, backup+".new")
		}
		got := runCommand(t.Context(), "", arguments...)
		if got.Code != exitFailed || !strings.Contains(got.Stderr, "in use by another process") || !strings.HasSuffix(got.Stderr, "hint: stop the gateway first"+hint) {
			t.Errorf("beside a gateway, %s: got %+v", operation, got)
		}
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	got = runCommand(t.Context(), "", "queue", "verify", filepath.Join(dir, "none.db"))
	if got.Code != exitFailed || !strings.Contains(got.Stderr, "there is no queue at "+filepath.Join(dir, "none.db")) {
		t.Errorf("got %+v", got)
	}
}

// TestQueueVerify_Emptied looks at a queue whose WAL was emptied, or removed, after a
// kill: what is left is whole, and yet something is missing.
func TestQueueVerify_Emptied(t *testing.T) {
	t.Parallel()
	path := filepath.Join(dataDir(t), "queue.db")
	for _, suffix := range []string{"-running", "-wal"} {
		if err := os.WriteFile(path+suffix, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got := runCommand(t.Context(), "", "queue", "verify", path)
		if got.Code != exitFound || !strings.Contains(got.Stdout, "the WAL was removed or emptied") || !strings.Contains(got.Stderr, "what was committed last is missing") {
			t.Errorf("got %+v", got)
		}
		if err := os.Remove(path + "-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func TestQueueRepair(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	path := filepath.Join(dir, "queue.db")
	spoil(t, path)

	got := runCommand(t.Context(), "", "queue", "verify", "-o", "json", path)
	if got.Code != exitFound || !strings.Contains(got.Stdout, `"problems":[{"kind":"`) || !strings.Contains(got.Stderr, "hint: gatewayctl queue repair") {
		t.Errorf("got %+v", got)
	}
	if got = runCommand(t.Context(), "", "queue", "compact", "--data-dir", dir); got.Code != exitFailed || !strings.Contains(got.Stderr, "hint: gatewayctl queue repair "+path) {
		t.Errorf("got %+v", got)
	}
	got = runCommand(t.Context(), "", "queue", "repair", "--data-dir", dir)
	if got.Code != exitFound || !strings.Contains(got.Stdout, "messages kept") || !strings.Contains(got.Stderr, "nothing was changed") {
		t.Errorf("got %+v", got)
	}
	got = runCommand(t.Context(), "", "queue", "repair", "--data-dir", dir, "--yes")
	if got.Code != exitDone || !strings.Contains(got.Stdout, path+".damaged-") {
		t.Errorf("got %+v", got)
	}
	if got = runCommand(t.Context(), "", "queue", "repair", "--data-dir", dir, "--yes"); got.Code != exitDone || !strings.HasPrefix(got.Stdout, "there is nothing to repair") {
		t.Errorf("got %+v", got)
	}
	got = runCommand(t.Context(), "", "queue", "compact", "--data-dir", dir)
	if got.Code != exitDone || !strings.HasPrefix(got.Stdout, path+" takes ") {
		t.Errorf("got %+v", got)
	}
	if got = runCommand(t.Context(), "", "queue", "verify", "--data-dir", dir); got.Code != exitDone {
		t.Errorf("got %+v", got)
	}
}

// What an operation finds under the name of a replacement is set aside, and it says so,
// also when it is refused after that.
func TestQueue_SetsUnfitReplacementAside(t *testing.T) {
	t.Parallel()
	for operation, code := range map[string]int{"compact": exitDone, "repair": exitDone, "restore": exitFailed} {
		dir, backup := dataDir(t), filepath.Join(t.TempDir(), "monday.db")
		path := filepath.Join(dir, "queue.db")
		if err := os.Mkdir(path+".rebuilt", 0o700); err != nil {
			t.Fatal(err)
		}
		if got := runCommand(t.Context(), "", "queue", "backup", "--data-dir", dir, backup); got.Code != exitDone {
			t.Fatalf("got %+v", got)
		}
		arguments := []string{"queue", operation, "-o", "json", "--data-dir", dir}
		if operation == "restore" {
			arguments = append(arguments, backup)
		}
		got := runCommand(t.Context(), "", arguments...)
		if got.Code != code || !strings.Contains(got.Stderr, path+".rebuilt is no finished replacement of the queue's file (it is no file): it is "+path+".rebuilt.unfit-1 now\n") {
			t.Errorf("%s: got %+v", operation, got)
		}
		if code == exitDone && !strings.Contains(got.Stdout, `"moved":[{"path":"`+path+`.rebuilt","unfit":"it is no file","kept":"`+path+`.rebuilt.unfit-1"}]`) {
			t.Errorf("%s: got %+v", operation, got)
		}
	}
}

func TestQueueBackup(t *testing.T) {
	t.Parallel()

	t.Run("Online", func(t *testing.T) {
		t.Parallel()
		fake := &fakeGateway{}
		got := command(t, fake, "", "queue", "backup", "/backup/monday.db")
		expect(t, result{Stdout: "/backup/monday.db: 3.0 MiB, 117 messages, 2 dead letters, verified\n"}, got)
		if fake.backup.GetPath() != "/backup/monday.db" {
			t.Errorf("asked for %v", fake.backup)
		}
	})

	t.Run("NotRunning", func(t *testing.T) {
		t.Parallel()
		got := runCommand(t.Context(), "", "--url", "http://127.0.0.1:1", "queue", "backup", "/backup/monday.db")
		if got.Code != exitNotReachable || !strings.Contains(got.Stderr, "gatewayctl queue backup --data-dir DIR /backup/monday.db") {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("Offline", func(t *testing.T) {
		t.Parallel()
		dir, backup, elsewhere := dataDir(t), filepath.Join(t.TempDir(), "monday.db"), filepath.Join(t.TempDir(), "data")
		got := runCommand(t.Context(), "", "queue", "backup", "--data-dir", dir, backup)
		if got.Code != exitDone || !strings.HasSuffix(got.Stdout, " 6 messages, 0 dead letters, verified\n") {
			t.Errorf("got %+v", got)
		}
		if got = runCommand(t.Context(), "", "queue", "backup", "--data-dir", dir, backup); got.Code != exitFailed || !strings.Contains(got.Stderr, "file already exists") {
			t.Errorf("twice: got %+v", got)
		}
		if got = runCommand(t.Context(), "", "queue", "verify", backup); got.Code != exitDone {
			t.Errorf("got %+v", got)
		}
		got = runCommand(t.Context(), "", "queue", "restore", "--data-dir", elsewhere, backup)
		if got.Code != exitDone || !strings.Contains(got.Stdout, "messages      6") {
			t.Errorf("got %+v", got)
		}
		if got = runCommand(t.Context(), "", "queue", "restore", "--data-dir", elsewhere, backup); got.Code != exitFailed || !strings.Contains(got.Stderr, "hint: --force replaces it") {
			t.Errorf("twice: got %+v", got)
		}
		if got = runCommand(t.Context(), "", "queue", "restore", "--data-dir", elsewhere, "--force", backup); got.Code != exitDone || !strings.Contains(got.Stdout, ".replaced-") {
			t.Errorf("got %+v", got)
		}
		if got = runCommand(t.Context(), "", "queue", "verify", "--data-dir", elsewhere); got.Code != exitDone {
			t.Errorf("got %+v", got)
		}
		if got = runCommand(t.Context(), "", "queue", "restore", "--data-dir", elsewhere, backup+".none"); got.Code != exitFailed || !strings.Contains(got.Stderr, "there is no backup") {
			t.Errorf("got %+v", got)
		}
	})
}
