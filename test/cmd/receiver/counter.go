package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"combotto.io/gateway/test/acklog"
)

// counter counts records by their line ends.
type counter struct {
	mark    int64
	buffers sync.Pool

	mu            sync.Mutex
	records       int64
	first, marked int64
}

const readBytes = 64 << 10

func (c *counter) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodGet {
		c.mu.Lock()
		defer c.mu.Unlock()
		fmt.Fprintf(w, `{"records": %d, "first": %d, "marked": %d}`+"\n", c.records, c.first, c.marked)
		return
	}
	began := acklog.Now().Nanoseconds()
	records, err := c.count(request.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := acklog.Now().Nanoseconds()
	c.mu.Lock()
	if c.records == 0 {
		c.first = began
	}
	if c.records += records; c.marked == 0 && c.records >= c.mark {
		c.marked = now
	}
	c.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// count reads the body to its end.
func (c *counter) count(body io.Reader) (lines int64, err error) {
	buffer, _ := c.buffers.Get().(*[readBytes]byte)
	if buffer == nil {
		buffer = new([readBytes]byte)
	}
	defer c.buffers.Put(buffer)
	for {
		n, err := body.Read(buffer[:])
		lines += int64(bytes.Count(buffer[:n], []byte{'\n'}))
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
