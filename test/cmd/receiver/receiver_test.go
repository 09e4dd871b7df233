package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"combotto.io/gateway/test/harness"
)

// TestRecorder_DeadSender asks for what a sender sent that is gone before anybody
// has read it.
func TestRecorder_DeadSender(t *testing.T) {
	address, err := harness.FreeAddress()
	harness.Must(t, err)
	path := filepath.Join(t.TempDir(), "received.txt")
	ended := make(chan error, 1)
	go func() { ended <- run(address, path, 0) }() // until the test's process ends
	harness.Must(t, harness.Poll(t.Context(), "a receiver", func() (bool, error) {
		select {
		case err := <-ended:
			return false, err
		default:
			return harness.CanConnect(address), nil
		}
	}))
	const lines, senders = 500_000, 4
	body := bytes.Repeat([]byte("{}\n"), lines)
	for range senders {
		connection, err := net.Dial("tcp", address)
		harness.Must(t, err)
		_, err = fmt.Fprintf(connection, "POST / HTTP/1.1\r\nHost: receiver\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		harness.Must(t, err)
		harness.Must(t, connection.Close())
	}
	harness.Must(t, harness.AwaitReceived(t.Context(), address))
	written, err := os.ReadFile(path)
	harness.Must(t, err)
	if got, want := bytes.Count(written, []byte("\n")), senders*lines; got != want {
		t.Errorf("%d records are written down, want %d", got, want)
	}
}
