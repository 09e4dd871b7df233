package config

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
)

// form says how the values of one Go type are written. Every layer speaks text:
// a text is parsed where it is set, so that its error can name the place, and
// once more when the layers are merged.
type form struct {
	name    string   // what the documentation calls it
	want    string   // completes "must be ..."
	types   []string // the JSON types that a file may write it in
	pattern string   // of the text, for the schema; empty: none
	secret  bool
	parse   func(text string) (any, error)
}

const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`

var durationText = regexp.MustCompile(durationPattern)

// formOf returns the form of a type, or nil for a type that is a section.
func formOf(of reflect.Type) *form {
	switch of {
	case reflect.TypeFor[string]():
		return &form{name: "text", want: "text", types: []string{"string"}, parse: typed(func(text string) (string, error) { return text, nil })}
	case reflect.TypeFor[bool]():
		return &form{name: "boolean", want: "true or false", types: []string{"boolean"}, parse: typed(parseBool)}
	case reflect.TypeFor[int]():
		return &form{name: "number", want: "a whole number", types: []string{"integer"}, parse: typed(strconv.Atoi)}
	case reflect.TypeFor[time.Duration]():
		return &form{name: "duration", want: "a duration like 30s", types: []string{"string"}, pattern: durationPattern, parse: typed(parseDuration)}
	case reflect.TypeFor[Patience]():
		return &form{name: "duration or never", want: "a duration like 30s, or never", types: []string{"string"}, pattern: patiencePattern, parse: typed(parsePatience)}
	case reflect.TypeFor[Size]():
		return &form{name: "size", want: "a size like 64MiB", types: []string{"string", "integer"}, pattern: sizePattern, parse: typed(ParseSize)}
	case reflect.TypeFor[Capacity]():
		return &form{name: "size or share", want: "a size of at least 1MiB or a share from 1% to 95%", types: []string{"string", "integer"}, pattern: capacityPattern, parse: typed(ParseCapacity)}
	case reflect.TypeFor[Secret]():
		return &form{name: "secret", want: "one line of text", types: []string{"string"}, secret: true, parse: typed(parseSecret)}
	case reflect.TypeFor[Header]():
		return &form{name: "text", want: "NAME: VALUE, and no header that the sink sets itself", types: []string{"string"}, pattern: "^[^:]+:.*$", parse: typed(parseHeaderText)}
	case reflect.TypeFor[slog.Level]():
		return &form{name: "text", want: "a level", types: []string{"string"}, parse: typed(parseLevel)}
	case reflect.TypeFor[edge.Encoding]():
		return &form{name: "text", want: "an encoding", types: []string{"string"}, parse: typed(parseEncoding)}
	case reflect.TypeFor[edge.Start]():
		return &form{name: "text", want: "now, oldest, or a time like 2026-11-22T18:00:00Z", types: []string{"string"}, pattern: "^(now|oldest|[0-9]{4}-.*)$", parse: typed(parseStart)}
	}
	return nil
}

func typed[T any](parse func(string) (T, error)) func(string) (any, error) {
	return func(text string) (any, error) { return parse(text) }
}

var errForm = errors.New("not in this form")

func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, errForm
	}
	return text == "true", nil
}

func parseDuration(text string) (time.Duration, error) {
	if !durationText.MatchString(text) {
		return 0, errForm
	}
	return time.ParseDuration(text)
}

// Patience is how long something waits; 0 is for ever.
type Patience time.Duration

const patiencePattern = `^never$|` + durationPattern

func parsePatience(text string) (Patience, error) {
	if text == "never" {
		return 0, nil
	}
	duration, err := parseDuration(text)
	if err == nil && duration == 0 {
		err = errForm // it would read as at once
	}
	return Patience(duration), err
}

// parseSecret refuses what no header can carry, a line break above all: it would
// be the second line of a file that was meant to hold one secret.
func parseSecret(text string) (Secret, error) {
	if !isFieldValue(text) {
		return Secret{}, errForm
	}
	return NewSecret(text), nil
}

func parseHeaderText(text string) (Header, error) {
	header, ok := parseHeader(text)
	if !ok {
		return Header{}, errForm
	}
	return header, nil
}

func parseLevel(text string) (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(text))
	return level, err
}

func parseEncoding(text string) (edge.Encoding, error) {
	for _, encoding := range []edge.Encoding{edge.EncodingAuto, edge.EncodingJSON, edge.EncodingProtobuf} {
		if text == encoding.String() {
			return encoding, nil
		}
	}
	return edge.EncodingAuto, errForm
}

func parseStart(text string) (edge.Start, error) {
	switch text {
	case "now":
		return edge.Start{}, nil
	case "oldest":
		return edge.Start{Oldest: true}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	return edge.Start{At: at.UTC()}, err
}

// check is a rule for a text beyond its form.
type check struct {
	want    string // completes "must be ..."
	pattern string // for the schema, no stricter than valid
	valid   func(text string) bool
}

// checks are the rules that a tag can name.
func checks() map[string]*check {
	return map[string]*check{
		"address":    {"HOST:PORT, like 127.0.0.1:8080", `^$|:[0-9]{1,5}$`, validAddress},
		"gateway_id": {"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", `^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$`, func(text string) bool { return text == "" || edge.ValidGatewayID(text) }},
		"sink_name":  {"[a-z][a-z0-9-]{0,62}", `^[a-z][a-z0-9-]{0,62}$`, edge.ValidSinkName},
		"queue_size": {"a size of at least 4MiB or a share from 1% to 95%", capacityPattern, validQueueSize},
		"url":        {"a URL like https://analytics.example/ingest, without a user, a password or a fragment", `^https?://`, validURL},
	}
}

// validAddress accepts an empty text too: whether it may be empty is a matter of
// the key.
func validAddress(text string) bool {
	if text == "" {
		return true
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || strings.ContainsAny(host, " \t/@") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// validURL refuses a user in the URL: it would be a secret in a place that is
// shown.
func validURL(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Hostname() != "" && parsed.User == nil && parsed.Fragment == "" && len(text) <= 2048
}

// queueSizeMin is the least that a queue can keep to: what is under way beyond it, some
// messages of 64 KiB and the WAL, has to be little beside it.
const queueSizeMin = 4 << 20

// validQueueSize refuses a size that a queue cannot keep to. What a share comes to is
// not known here.
func validQueueSize(text string) bool {
	capacity, err := ParseCapacity(text)
	return err == nil && (capacity.Percent > 0 || capacity.Size >= queueSizeMin)
}

// isLoopback reports whether a valid address can only be reached from this
// machine.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address) // the address was checked when it was set
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
