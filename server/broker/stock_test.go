package broker_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The tests of the guard run their scenario twice: against the broker, where it
// must pass, and against mochi without the guard, where it must fail. The second
// runs in a process of its own, because some scenarios kill it and others leave
// it hanging.

// stockVariable names the variant of mochi that a process is to run.
const stockVariable = "BROKER_TEST_STOCK"

// variants configure stock mochi the way an embedder would who has only hooks.
var variants = map[string]func(*mochi.Options, *stockHook){
	"plain":        func(*mochi.Options, *stockHook) {},
	"append fails": func(_ *mochi.Options, h *stockHook) { h.publish = func() error { return errors.New("disk full") } },
	"wrapped code": func(_ *mochi.Options, h *stockHook) { h.publish = func() error { return wrapped() } },
	"slow append": func(_ *mochi.Options, h *stockHook) {
		h.publish = func() error { <-time.After(slowCommit); return nil }
	},
	"restricted":    func(_ *mochi.Options, h *stockHook) { h.denied = "restricted/" },
	"accept fails":  func(_ *mochi.Options, h *stockHook) { h.acceptErrors = 5 },
	"bounded queue": func(o *mochi.Options, _ *stockHook) { o.Capabilities.MaximumClientWritesPending = 64 },
	"websocket":     func(_ *mochi.Options, h *stockHook) { h.websocket = true },
}

func wrapped() error { return fmt.Errorf("append: %w", packets.ErrQuotaExceeded) }

type stockHook struct {
	mochi.HookBase
	publish      func() error
	denied       string // prefix of topics that nobody may publish to
	acceptErrors int
	websocket    bool
}

func (h *stockHook) ID() string { return "stock" }

func (h *stockHook) Provides(event byte) bool {
	return event == mochi.OnConnectAuthenticate || event == mochi.OnACLCheck || event == mochi.OnPublish && h.publish != nil
}

func (h *stockHook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (h *stockHook) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	return !write || h.denied == "" || !strings.HasPrefix(topic, h.denied)
}

func (h *stockHook) OnPublish(_ *mochi.Client, packet packets.Packet) (packets.Packet, error) {
	return packet, h.publish()
}

// runStockVictim turns this process into stock mochi, when it was started for
// that. It closes the broker when it reads a line, and ends with its input.
func runStockVictim() {
	name, ok := os.LookupEnv(stockVariable)
	if !ok {
		return
	}
	if err := serveStock(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveStock(name string) error {
	server, hook, err := newStock(name)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	accepted := newBadListener(listener, hook.acceptErrors)
	if hook.websocket {
		_ = listener.Close()
		err = server.AddListener(listeners.NewWebsocket(listeners.Config{ID: "stock", Address: address}))
	} else {
		err = server.AddListener(listeners.NewNet("stock", accepted))
	}
	if err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	if err := eventually(func() error { return knock(address) }); err != nil {
		return err
	}
	fmt.Println(address)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
		accepted.unread.Wait()
		_ = server.Close()
		fmt.Println("closed")
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// knock reports whether somebody listens.
func knock(address string) error {
	socket, err := net.Dial("tcp", address)
	if err == nil {
		err = socket.Close()
	}
	return err
}

func newStock(name string) (*mochi.Server, *stockHook, error) {
	options := &mochi.Options{
		Capabilities: mochi.NewDefaultServerCapabilities(), Logger: slog.New(slog.DiscardHandler),
		SysTopicResendInterval: 24 * 3600, // it stops the world each time
	}
	hook := &stockHook{}
	variants[name](options, hook)
	server := mochi.New(options)
	return server, hook, server.AddHook(hook, nil)
}

// victim is a running process of stock mochi.
type victim struct {
	address string
	input   io.WriteCloser
	lines   chan string
}

func startStock(t testing.TB, variant string) *victim {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), stockVariable+"="+variant, "GORACE=exitcode=0")
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{input: input, lines: make(chan string, 8)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(v.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			v.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Process.Kill()
		<-read
		_ = command.Wait() // it was killed, or killed itself
	})
	if v.address = v.line(patience); v.address == "" {
		t.Fatalf("stock mochi did not start")
	}
	return v
}

// ends reports whether the process ends within the limit.
func (v *victim) ends(limit time.Duration) bool {
	end := time.After(limit)
	for {
		select {
		case _, open := <-v.lines:
			if !open {
				return true
			}
		case <-end:
			return false
		}
	}
}

// line returns the next line that the process prints, empty when there is none.
func (v *victim) line(limit time.Duration) string {
	select {
	case line := <-v.lines:
		return line
	case <-time.After(limit):
		return ""
	}
}

// probe is a test that is allowed to fail.
type probe struct {
	testing.TB
	failure string
}

func (p *probe) Helper() {}

func (p *probe) Error(args ...any) { p.failure = fmt.Sprint(args...) }

func (p *probe) Errorf(format string, args ...any) { p.failure = fmt.Sprintf(format, args...) }

func (p *probe) Fatal(args ...any) {
	p.Error(args...)
	runtime.Goexit()
}

func (p *probe) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	runtime.Goexit()
}

// bypassed runs the scenario against stock mochi and fails when the scenario does
// not: it would then prove nothing about the guard.
func bypassed(t *testing.T, variant string, scenario func(t testing.TB, address string)) {
	t.Helper()
	stock := startStock(t, variant)
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		scenario(p, stock.address)
	}()
	<-done
	// A process that panics closes the guilty connection first and may serve
	// others for an instant while it dies.
	if p.failure == "" && stock.ends(patience) {
		p.Error("the process ended")
	}
	if p.failure == "" {
		t.Errorf("stock mochi passes: the scenario does not show the fault")
	}
	t.Logf("stock mochi: %s", p.failure)
}

// badListener fails a number of times as a process without file descriptors does.
type badListener struct {
	net.Listener
	failures atomic.Int64
	// unread counts the accepted connections that mochi has not begun to read:
	// it does not know of them yet, and a stop does not wait for them.
	unread sync.WaitGroup
}

func newBadListener(listener net.Listener, failures int) *badListener {
	bad := &badListener{Listener: listener}
	bad.failures.Store(int64(failures))
	return bad
}

func (l *badListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	socket, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.unread.Add(1)
	return &acceptedConn{Conn: socket, begin: sync.OnceFunc(l.unread.Done)}, nil
}

type acceptedConn struct {
	net.Conn
	begin func() // called at the first read
}

func (c *acceptedConn) Read(p []byte) (int, error) {
	c.begin()
	return c.Conn.Read(p)
}
