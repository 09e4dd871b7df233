package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"combotto.io/gateway/test/harness"
)

// collectors are the addresses that a gateway may be told to send its traces to.
type collectors struct {
	takes string // takes traces and forgets them
	away  string // nobody listens
	hangs string // takes the connection and never answers

	server   *httptest.Server
	listener net.Listener
}

func newCollectors() (*collectors, error) {
	away, err := harness.FreeAddress()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel completes connections, nobody accepts them
	if err != nil {
		return nil, err
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body) // What cannot be read is forgotten all the same.
	}))
	return &collectors{
		takes: server.URL, away: "http://" + away, hangs: "http://" + listener.Addr().String(),
		server: server, listener: listener,
	}, nil
}

func (c *collectors) close() error {
	c.server.Close()
	return c.listener.Close()
}
