// Command receiver is an HTTP destination that writes down what it receives
// before it says so:
//
//	receiver --addr 127.0.0.1:9000 --out received.txt
//
// Every POST of NDJSON becomes one line for each record: the time of arrival in
// nanoseconds since 1970, the Idempotency-Key or a hyphen, and the record as it
// came, with spaces between. The answer, 204, follows the write, so that what was answered is in the file, whoever dies
// next. It prints "ready" and runs until it is killed.
//
// GET is answered once nobody else is connected. When the sender is dead, what it
// had sent is in the file by then: a busy receiver may be late with it.
//
// Without --out it keeps nothing and only counts, so that it takes as little as
// possible of the machine that a benchmark measures:
//
//	receiver --addr 127.0.0.1:9000 --mark 10000
//
// GET then answers {"records": 21000, "first": 17, "marked": 19}: how many came,
// and on the machine's monotonic clock, in nanoseconds, the beginning of the first
// request to end, and the end of the one that brought the record of --mark.
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`host:port` to listen on")
	out := flag.String("out", "", "`file` to append to; empty only counts")
	mark := flag.Int64("mark", 0, "`number` of the record whose arrival is noted")
	flag.Parse()
	if err := run(*addr, *out, *mark); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

func run(addr, out string, mark int64) error {
	server := &http.Server{Handler: &counter{mark: mark}, ReadHeaderTimeout: time.Minute}
	if out != "" {
		file, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		recorder := &recorder{file: file, callers: newCallers()}
		server.Handler, server.ConnState = recorder, recorder.callers.count
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return server.Serve(listener)
}

// recorder answers requests one after the other where it writes, so that lines
// never mix.
type recorder struct {
	callers *callers

	mu   sync.Mutex
	file *os.File
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodGet {
		if err := r.callers.awaitOne(request.Context()); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	prefix := strconv.AppendInt(nil, time.Now().UnixNano(), 10)
	prefix = fmt.Appendf(prefix, " %s ", cmp.Or(request.Header.Get("Idempotency-Key"), "-"))
	lines := make([]byte, 0, len(body)+len(body)/4)
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		lines = append(append(append(lines, prefix...), line...), '\n')
	}
	r.mu.Lock()
	_, err = r.file.Write(lines)
	r.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
