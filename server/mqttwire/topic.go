package mqttwire

import "strings"

// ValidTopic reports whether a message may be published to topic: not empty and
// without wildcards. The text itself is checked when it is decoded.
func ValidTopic[T ~string | ~[]byte](topic T) bool {
	for i := range len(topic) {
		if topic[i] == '+' || topic[i] == '#' {
			return false
		}
	}
	return len(topic) > 0
}

// Levels counts the levels of a topic or filter.
func Levels[T ~string | ~[]byte](topic T) int {
	levels := 1
	for i := range len(topic) {
		if topic[i] == '/' {
			levels++
		}
	}
	return levels
}

// SharePrefix begins the filter of a shared subscription.
const SharePrefix = "$share/"

// ParseFilter splits a filter into the group of a shared subscription, empty
// for any other, and what topics are matched with. It reports whether the filter
// is valid.
func ParseFilter(filter string) (group, match string, ok bool) {
	match = filter
	if filter == "$share" {
		return "", "", false
	}
	if rest, shared := strings.CutPrefix(filter, SharePrefix); shared {
		var complete bool
		group, match, complete = strings.Cut(rest, "/")
		if !complete || group == "" || strings.ContainsAny(group, "+#") {
			return "", "", false
		}
	}
	return group, match, validMatch(match)
}

func validMatch(match string) bool {
	if match == "" {
		return false
	}
	for level := range strings.SplitSeq(strings.TrimSuffix(match, "#"), "/") {
		if level != "+" && strings.ContainsAny(level, "+#") {
			return false
		}
	}
	return !strings.HasSuffix(match, "#") || match == "#" || strings.HasSuffix(match, "/#")
}
