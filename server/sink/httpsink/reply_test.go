package httpsink_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"combotto.io/gateway/server/edge"
)

// TestSink_UnclearReplies has replies of a 200 from which nobody can tell
// whether they reject records: nothing may count as delivered or be given up.
func TestSink_UnclearReplies(t *testing.T) {
	three := batch(1, 3)
	named := fmt.Sprintf(`[{"correlation_id":%q,"status":422}]`, three[0].Record.Correlation)
	for name, test := range map[string]struct{ encoding, body string }{
		"Gzip":           {"gzip", compressed(t, `{"rejected":`+named+`}`)},
		"GzipOfNothing":  {"GZIP", compressed(t, `{"rejected":[]}`)},
		"Twice":          {"", `{"rejected":[],"rejected":` + named + `}`},
		"TwiceTheOther":  {"", `{"rejected":` + named + `,"accepted":2,"rejected":[]}`},
		"Object":         {"", fmt.Sprintf(`{"rejected":{%q:"bad"}}`, three[0].Record.Correlation)},
		"True":           {"", `{"rejected":true}`},
		"False":          {"", `{"rejected":false}`},
		"Text":           {"", fmt.Sprintf(`{"rejected":%q}`, three[0].Record.Correlation)},
		"Negative":       {"", `{"rejected":-1}`},
		"ArrayOfReplies": {"", `[{"rejected":` + named + `}]`},
		"ArrayOfNamed":   {"", named},
		"ArrayOfStatus":  {"", ` [{"status":200},{"status":422}]`},
		"NotQuiteJSON":   {"", `{"mean":NaN,"rejected":` + named + `}`},
		"Lines":          {"", `{"accepted":2}` + "\n" + `{"rejected":` + named + `}`},
		"LongBefore":     {"", `{"echo":"` + strings.Repeat("x", 100<<10) + `","rejected":[]}`},
		"LongBehind":     {"", `{"rejected":[],"echo":"` + strings.Repeat("x", 100<<10) + `"}`},
		"LongInside":     {"", `{"rejected":[` + strings.Repeat(" ", 100<<10) + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			sink := open(t, receive(t, answer(test.encoding, test.body)))
			// Divided first, since short replies may be clearer.
			if got := sink.Deliver(t.Context(), three); got.Class != edge.Rejected || got.Status != "200" || got.Excerpt == "" {
				t.Errorf("three: got %+v, want them divided", got)
			}
			got := sink.Deliver(t.Context(), three[:1])
			if got.Class != edge.Misconfigured || got.Status != "200" || !strings.HasPrefix(got.Excerpt, "the reply ") || len(got.Excerpt) > edge.MaxExcerptBytes {
				t.Errorf("alone: got %+v, want Misconfigured", got)
			}
		})
	}
}

// TestSink_PlainReplies has replies of a 200 that look odd and reject nothing.
func TestSink_PlainReplies(t *testing.T) {
	for name, test := range map[string]struct{ encoding, body string }{
		"EncodedNothing": {"gzip", ""},
		"Identity":       {"Identity", `{"rejected":[]}`},
		"ByteOrderMark":  {"", "\xef\xbb\xbf{}"},
		"ZeroPointZero":  {"", `{"rejected":0.0}`},
		"Nested":         {"", `{"was":[{"rejected":true}]}`},
		"Array":          {"", `[1,2,3]`},
		"ArrayOfOthers":  {"", `[{"id":1},{"id":2}]`},
		"HTML":           {"", `<p class="rejected">[{"rejected":[1]}]</p>`},
	} {
		t.Run(name, func(t *testing.T) {
			got := open(t, receive(t, answer(test.encoding, test.body))).Deliver(t.Context(), batch(1, 3))
			if got.Class != edge.Delivered || len(got.Refused) > 0 {
				t.Errorf("got %+v, want Delivered", got)
			}
		})
	}
}

// answer writes the body as it is, whatever the encoding says.
func answer(encoding, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		_, _ = io.WriteString(w, body)
	}
}

func compressed(t *testing.T, text string) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	if _, err := io.WriteString(writer, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}
