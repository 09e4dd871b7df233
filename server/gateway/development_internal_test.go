package gateway

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/edge"
)

func TestLocalCallers_Authenticate(t *testing.T) {
	for _, test := range []struct {
		remote, host string
		admitted     bool
	}{
		{"127.0.0.1:5000", "127.0.0.1:8080", true},
		{"127.0.0.1:5000", "localhost:8080", true},
		{"127.0.0.1:5000", "LocalHost", true},
		{"[::1]:5000", "[::1]:8080", true},
		{"[::1]:5000", "[::1]", true},
		{"[::ffff:127.0.0.1]:5000", "127.9.9.9", true},
		{"127.0.0.1:5000", "evil.example:8080", false},
		{"127.0.0.1:5000", "localhost.evil.example", false},
		{"127.0.0.1:5000", "127.0.0.1.evil.example", false},
		{"127.0.0.1:5000", "", false},
		{"10.0.0.7:5000", "127.0.0.1:8080", false},
		{"", "127.0.0.1:8080", false},
	} {
		caller, err := localCallers{}.Authenticate(&http.Request{RemoteAddr: test.remote, Host: test.host})
		if admitted := err == nil && caller.Operator; admitted != test.admitted {
			t.Errorf("%s to %s: %v, %v", test.remote, test.host, caller, err)
		}
		if err != nil && edge.AsError(err).Code != edge.Forbidden {
			t.Errorf("%s to %s: %v", test.remote, test.host, err)
		}
	}
}

func TestOnlyLocal(t *testing.T) {
	served := onlyLocal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for host, want := range map[string]int{"127.0.0.1:1": http.StatusNoContent, "evil.example": http.StatusForbidden} {
		answer := httptest.NewRecorder()
		served.ServeHTTP(answer, &http.Request{RemoteAddr: "127.0.0.1:5000", Host: host, Header: http.Header{}})
		if answer.Code != want {
			t.Errorf("%s: %d", host, answer.Code)
		}
	}
}

func TestLocalClients_Authenticate(t *testing.T) {
	for address, admitted := range map[string]bool{"127.0.0.1:5000": true, "[::1]:5000": true, "10.0.0.7:5000": false} {
		login := &broker.Login{Remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}
		if err := (localClients{}).Authenticate(t.Context(), login); (err == nil) != admitted {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := (localClients{}).Authenticate(t.Context(), &broker.Login{}); err == nil {
		t.Error("a client without an address is admitted")
	}
}
