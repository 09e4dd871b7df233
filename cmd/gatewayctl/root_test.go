package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()

	t.Run("NotReachable", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := "http://" + listener.Addr().String()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		for _, arguments := range [][]string{{"status"}, {"tail"}, {"message", "x"}, {"dlq", "list"}, {"config", "explain"}} {
			got := runCommand(t.Context(), "", append([]string{"--url", address}, arguments...)...)
			if got.Code != exitNotReachable || got.Stdout != "" || !strings.Contains(got.Stderr, address) || !strings.Contains(got.Stderr, "hint: check that it runs") {
				t.Errorf("%v: got %+v", arguments, got)
			}
		}
	})

	t.Run("NoAnswerInTime", func(t *testing.T) {
		t.Parallel()
		left := make(chan struct{})
		silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { <-left }))
		defer silent.Close()
		defer close(left)
		got := runCommand(t.Context(), "", "--url", silent.URL, "--timeout", "20ms", "status")
		expect(t, result{Code: exitNotReachable, Stderr: "gatewayctl: no answer from " + silent.URL + " within 20ms\n  hint: a busy gateway may need a longer --timeout\n"}, got)
	})

	t.Run("NoGateway", func(t *testing.T) {
		t.Parallel()
		other := httptest.NewServer(http.NotFoundHandler())
		defer other.Close()
		got := runCommand(t.Context(), "", "--url", other.URL, "status")
		if got.Code != exitFailed || !strings.Contains(got.Stderr, "may be no gateway: check --url") {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("NotUnderstood", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{failWith: connect.NewError(connect.CodeInvalidArgument, errors.New("no such key"))}, "", "config", "explain")
		expect(t, result{Code: exitFailed, Stderr: "gatewayctl: invalid_argument: no such key\n  hint: the command's --help says what it takes\n"}, got)
		got = command(t, &fakeGateway{}, "", "loss", "list", "--kind", "nonsense")
		expect(t, result{Code: exitUsage, Stderr: "gatewayctl: --kind must be discarded, expired or quarantined\n  hint: gatewayctl loss list shows all kinds without it\n"}, got)
	})

	t.Run("NotBuiltYet", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{failWith: connect.NewError(connect.CodeUnimplemented, errors.New("later"))}, "", "config", "explain")
		expect(t, result{Code: exitFailed, Stderr: "gatewayctl: unimplemented: later\n  hint: this gateway does not have this yet; gatewayctl status shows its version\n"}, got)
	})
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, arguments := range []string{
		"nonsense", "dlq nonsense", "config nonsense", "dlq show", "dlq show a b", "tail x", "status --nonsense", "status -o xml", "--url ftp://x status",
		"--url nonsense status", "--timeout 0s status", "dlq list --limit -1", "tail --count many",
	} {
		t.Run("Usage/"+arguments, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t.Context(), "", strings.Fields(arguments)...)
			if got.Code != exitUsage || !strings.HasPrefix(got.Stderr, "gatewayctl: ") || got.Stdout != "" {
				t.Errorf("got %+v, want a message and code 2", got)
			}
		})
	}

	for arguments, want := range map[string]string{
		"version": "gatewayctl dev", "--help": "Usage:", "dlq": "requeue", "completion bash": "bash completion", "--version": "gatewayctl version dev",
	} {
		t.Run("Done/"+arguments, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t.Context(), "", strings.Fields(arguments)...)
			if got.Code != exitDone || !strings.Contains(got.Stdout, want) {
				t.Errorf("got %+v, want %q", got, want)
			}
		})
	}
}

func TestURL_FromTheEnvironment(t *testing.T) {
	t.Setenv(urlVariable, serve(t, &fakeGateway{status: healthy()}))
	if got := runCommand(t.Context(), "", "status", "-o", "json"); got.Code != exitDone {
		t.Errorf("got %+v", got)
	}
}
