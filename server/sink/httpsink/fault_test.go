package httpsink_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sink/httpsink"
)

// TestSink_Status has the table of the package comment, status by status.
func TestSink_Status(t *testing.T) {
	classes := map[edge.Class][]int{
		edge.Delivered: {200, 201, 202, 204, 207, 299},
		edge.Rejected:  {400, 413, 422},
		edge.Unavailable: {408, 409, 423, 424, 425, 429,
			500, 502, 503, 504, 506, 507, 508, 511, 520, 599},
		edge.Misconfigured: {300, 301, 302, 303, 304, 307, 308,
			401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 414, 415, 416, 417, 418, 421, 426, 428, 431, 451, 499,
			501, 505, 510},
	}
	for class, statuses := range classes {
		for _, status := range statuses {
			t.Run(fmt.Sprint(status), func(t *testing.T) {
				var requests atomic.Int32
				url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
					requests.Add(1)
					w.Header().Set("Retry-After", "7")
					if status/100 == 3 {
						w.Header().Set("Location", "/elsewhere")
					}
					w.WriteHeader(status)
					_, _ = io.WriteString(w, "because")
				})
				want := edge.Outcome{Class: class, Status: fmt.Sprint(status), Excerpt: "because"}
				switch {
				case class == edge.Delivered:
					want.Excerpt = ""
				case class == edge.Unavailable:
					want.RetryAfter = 7 * time.Second
				case status/100 == 3:
					want.Excerpt = "redirects are not followed; Location: /elsewhere"
				}
				if diff := cmp.Diff(want, open(t, url).Deliver(t.Context(), batch(1, 2))); diff != "" {
					t.Error(diff)
				}
				if got := requests.Load(); got != 1 {
					t.Errorf("%d requests, want one", got)
				}
			})
		}
	}
}

func TestSink_RetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		retryAfter, date string
		min, max         time.Duration
	}{
		"Seconds":  {"120", "", 2 * time.Minute, 2 * time.Minute},
		"TheirNow": {"Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", 30 * time.Second, 30 * time.Second},
		"OurNow":   {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "-", 59 * time.Minute, time.Hour},
		"Past":     {"Sun, 06 Nov 1994 08:49:37 GMT", "", 0, 0},
		"Negative": {"-5", "", 0, 0},
		"Huge":     {"99999999999999999999", "", 0, 0},
		"Nonsense": {"soon", "", 0, 0},
		"None":     {"", "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.date != "" {
					w.Header()["Date"] = []string{test.date}
				}
				w.Header().Set("Retry-After", test.retryAfter)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			if got := open(t, url).Deliver(t.Context(), batch(1, 1)).RetryAfter; got < test.min || got > test.max {
				t.Errorf("got %v, want %v to %v", got, test.min, test.max)
			}
		})
	}
}

// expectFailure delivers one batch under a deadline that is not reached.
func expectFailure(t *testing.T, sink edge.Sink, class edge.Class, status string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	outcome := sink.Deliver(ctx, batch(1, 2))
	if outcome.Class != class || outcome.Status != status || outcome.Excerpt == "" {
		t.Errorf("got %+v, want %v with status %q", outcome, class, status)
	}
}

func TestSink_Network(t *testing.T) {
	t.Run("Refused", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		expectFailure(t, open(t, server.URL), edge.Unavailable, "connection refused")
	})
	t.Run("NoSuchHost", func(t *testing.T) {
		// The name is reserved never to exist (RFC 6761). Without a resolver the
		// look-up fails in another way, and waits as well.
		outcome := open(t, "http://gateway.invalid/").Deliver(t.Context(), batch(1, 1))
		if outcome.Class != edge.Unavailable || outcome.Status != "no such host" && outcome.Status != "name lookup failed" {
			t.Errorf("got %+v", outcome)
		}
	})
	t.Run("Reset", func(t *testing.T) {
		url := receive(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			connection := hijack(t, w)
			_ = connection.(*net.TCPConn).SetLinger(0)
			_ = connection.Close()
		})
		expectFailure(t, open(t, url), edge.Unavailable, "connection reset by peer")
	})
	t.Run("Closed", func(t *testing.T) {
		url := receive(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = hijack(t, w).Close()
		})
		expectFailure(t, open(t, url), edge.Unavailable, "connection closed")
	})
	t.Run("Timeout", func(t *testing.T) {
		release := make(chan struct{})
		url := receive(t, func(http.ResponseWriter, *http.Request) { <-release })
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if outcome := open(t, url).Deliver(ctx, batch(1, 2)); outcome.Class != edge.Unavailable || outcome.Status != "timeout" {
			t.Errorf("got %+v", outcome)
		}
	})
}

func hijack(t *testing.T, w http.ResponseWriter) net.Conn {
	t.Helper()
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
	}
	return connection
}

func TestSink_TLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are the point
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := func(s *httpsink.Settings) { s.TLS = &tls.Config{RootCAs: roots} }

	if outcome := open(t, server.URL, trusting).Deliver(t.Context(), batch(1, 1)); outcome.Class != edge.Delivered {
		t.Errorf("trusted: got %+v", outcome)
	}
	t.Run("UnknownAuthority", func(t *testing.T) {
		expectFailure(t, open(t, server.URL), edge.Misconfigured, "tls")
	})
	t.Run("OtherName", func(t *testing.T) {
		other := func(s *httpsink.Settings) { s.TLS = &tls.Config{RootCAs: roots, ServerName: "other.example"} }
		expectFailure(t, open(t, server.URL, other), edge.Misconfigured, "tls")
	})
	t.Run("PlainReceiver", func(t *testing.T) {
		plain := receive(t, func(http.ResponseWriter, *http.Request) {})
		expectFailure(t, open(t, strings.Replace(plain, "http:", "https:", 1)), edge.Misconfigured, "tls")
	})
	t.Run("ClientCertificateWanted", func(t *testing.T) {
		strict := httptest.NewUnstartedServer(nil)
		strict.Config.ErrorLog = server.Config.ErrorLog
		strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		strict.StartTLS()
		t.Cleanup(strict.Close)
		roots.AddCert(strict.Certificate())
		expectFailure(t, open(t, strict.URL, trusting), edge.Misconfigured, "tls")
	})
}

func TestSink_Reply(t *testing.T) {
	// endless writes part until the sink hangs up, and tells that it did.
	endless := func(status int, part string) (http.HandlerFunc, <-chan struct{}) {
		hungUp := make(chan struct{})
		return func(w http.ResponseWriter, _ *http.Request) {
			defer close(hungUp)
			w.WriteHeader(status)
			for {
				if _, err := io.WriteString(w, part); err != nil {
					return
				}
			}
		}, hungUp
	}
	t.Run("EndlessSuccess", func(t *testing.T) {
		handler, hungUp := endless(200, "<p>hello</p>\n")
		if diff := cmp.Diff(edge.Outcome{Class: edge.Delivered, Status: "200"}, open(t, receive(t, handler)).Deliver(t.Context(), batch(1, 2))); diff != "" {
			t.Error(diff)
		}
		<-hungUp
	})
	t.Run("EndlessFailure", func(t *testing.T) {
		handler, hungUp := endless(503, "\xff\xfeé")
		outcome := open(t, receive(t, handler)).Deliver(t.Context(), batch(1, 2))
		if outcome.Class != edge.Unavailable || !utf8.ValidString(outcome.Excerpt) || len(outcome.Excerpt) > edge.MaxExcerptBytes || !strings.HasPrefix(outcome.Excerpt, "éé") {
			t.Errorf("got %+v", outcome)
		}
		<-hungUp
	})
	t.Run("BreaksOff", func(t *testing.T) {
		for _, part := range []string{"", "\xef\xbb", "\xef\xbb\xbf ", `{"rejected":[`, `[{"`} {
			url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "500")
				_, _ = io.WriteString(w, part)
			})
			expectFailure(t, open(t, url), edge.Unavailable, "connection closed")
		}
	})
	t.Run("StallsInTheMiddle", func(t *testing.T) {
		release := make(chan struct{})
		url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"rejected":[`)
			_ = http.NewResponseController(w).Flush()
			<-release
		})
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if outcome := open(t, url).Deliver(ctx, batch(1, 2)); outcome.Class != edge.Unavailable || outcome.Status != "timeout" {
			t.Errorf("got %+v", outcome)
		}
	})
}

func TestSink_Connections(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 60<<10))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	sink := open(t, server.URL)
	for range 20 {
		if outcome := sink.Deliver(t.Context(), batch(1, 2)); outcome.Class != edge.Delivered {
			t.Fatalf("got %+v", outcome)
		}
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections for 20 batches in a row, want 1", got)
	}
}
