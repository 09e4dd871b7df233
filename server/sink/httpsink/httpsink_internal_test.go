package httpsink

import "testing"

// TestNewTransport looks inside, because net/http reads the variables of the
// environment once per process and a test cannot set them early enough.
func TestNewTransport(t *testing.T) {
	if transport := newTransport(Settings{Connections: 3}); transport.Proxy != nil || transport.MaxConnsPerHost != 3 || !transport.DisableCompression {
		t.Errorf("got %+v, want no proxy, 3 connections and no compression", transport)
	}
}
