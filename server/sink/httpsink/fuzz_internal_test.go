package httpsink

import "testing"

// FuzzParseRejections offers replies that no receiver should send. Records are
// named only where the reply is understood to its end.
func FuzzParseRejections(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", "<html>", "\xEF\xBB\xBF{}", `{"rejected":null}`, `{"rejected":[]}`, `{"rejected":0}`, `{"rejected":3}`, `{"rejected":true}`,
		`{"rejected":[{"correlation_id":"a","status":422,"reason":"b"}]}`, `{"rejected":[],"rejected":[{"correlation_id":"a"}]}`,
		`{"rejected":[{"status":422}]}`, `{"rejected":[`, `[{"correlation_id":"a","status":422}]`, `{"rejected":1e999}`, `{"rejected":{"a":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, says := parseRejections(plain(body))
		if len(list) > 0 && says != listed {
			t.Errorf("%q: %d records named, but the reply says %v", body, len(list), says)
		}
	})
}
