package rpc

import (
	"testing"

	"combotto.io/gateway/server/edge"
)

// FuzzFilter holds the filter to refusing what it does not understand: it never
// panics, and whatever it accepts is a list of complete comparisons.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"", "*", `sink = "archive" AND reason = "rejected"`, `device_id = dev-1`, `last_error_time >= "2026-11-22T00:00:00Z"`,
		`NOT a`, `a OR b`, `a:b`, `a.b = "c"`, `a = `, `((((a = "b"))))`, `f(a) = "b"`, "\x00", `a = "\`, `-a = "b"`, `a "b"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, err := parseFilter(text)
		if err != nil {
			if edge.AsError(err).Code != edge.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for _, c := range found {
			if c.field == "" || c.operator == "" || c.value == "" {
				t.Errorf("%q: %+v", text, c)
			}
		}
	})
}

// FuzzTokens offers made-up names and cursors: those that are accepted are those
// that are given.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"", "p0", "pzz", "p-1", "1-2", "0-1", "1--2", "-1-2", "4294967296-1", formatPageToken("a", "b"), formatPageToken("1-2", "")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if position, err := parseCursor(text); err == nil {
			if again, err := parseCursor(formatCursor(position)); err != nil || again != position {
				t.Errorf("cursor %q: %d, then %d %v", text, position, again, err)
			}
		}
		if key, err := parseDeadLetterID(text); err == nil {
			if again, err := parseDeadLetterID(formatDeadLetterID(key)); err != nil || again != key {
				t.Errorf("dead letter %q: %v, then %v %v", text, key, again, err)
			}
		}
		if after, err := parsePageToken(text, ""); err == nil && after != "" {
			if again, err := parsePageToken(formatPageToken(after, ""), ""); err != nil || again != after {
				t.Errorf("page %q: %q, then %q %v", text, after, again, err)
			}
		}
	})
}
