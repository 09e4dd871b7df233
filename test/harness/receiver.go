package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Request is one POST of an HTTP sink.
type Request struct {
	IdempotencyKey string
	ContentType    string
	TraceParent    string
	Records        []Record
	Body           []byte
}

// Answer is what a receiver says to a request.
type Answer struct {
	Status int
	Body   string
}

// Accept is the answer of a receiver that took everything.
var Accept = Answer{Status: http.StatusNoContent}

// Receiver is an HTTP destination inside the test, whose answers the test
// chooses. It may be away for a while and comes back under the same address.
type Receiver struct {
	address string
	answer  func(Request) Answer

	mu       sync.Mutex
	server   *http.Server // nil while it is away
	served   chan struct{}
	requests []Request
	accepted []Record
}

// NewReceiver opens a receiver. The function answers every request, one or many
// at a time; nil accepts all.
func NewReceiver(answer func(Request) Answer) (*Receiver, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	if answer == nil {
		answer = func(Request) Answer { return Accept }
	}
	r := &Receiver{address: address, answer: answer}
	return r, r.Open()
}

// Address returns host:port.
func (r *Receiver) Address() string { return r.address }

// Open listens.
func (r *Receiver) Open() error {
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("open receiver: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	r.served = make(chan struct{})
	go func(server *http.Server, served chan struct{}) {
		defer close(served)
		_ = server.Serve(listener) // Always an error: Close ends it.
	}(r.server, r.served)
	return nil
}

// Close refuses connections from now on, and cuts those that are open.
func (r *Receiver) Close() error {
	r.mu.Lock()
	server, served := r.server, r.served
	r.server = nil
	r.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Close()
	<-served
	return err
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	came, err := parseRequest(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := r.answer(came)
	r.mu.Lock()
	r.requests = append(r.requests, came)
	if answer.Status/100 == 2 {
		r.accepted = append(r.accepted, came.Records...)
	}
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.Status)
	_, _ = io.WriteString(w, answer.Body) // The gateway may be gone.
}

func parseRequest(request *http.Request) (Request, error) {
	came := Request{
		IdempotencyKey: request.Header.Get("Idempotency-Key"),
		ContentType:    request.Header.Get("Content-Type"),
		TraceParent:    request.Header.Get("Traceparent"),
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return came, err
	}
	came.Body = body
	decoder := json.NewDecoder(bytes.NewReader(body))
	for {
		record := Record{ArrivedAt: time.Now()}
		switch err := decoder.Decode(&record); {
		case errors.Is(err, io.EOF):
			return came, nil
		case err != nil:
			return came, err
		}
		came.Records = append(came.Records, record)
	}
}

// Requests returns every request so far, whatever the answer was.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Accepted returns the records of the requests that were answered with success.
func (r *Receiver) Accepted() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Record(nil), r.accepted...)
}
