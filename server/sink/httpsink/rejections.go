package httpsink

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"combotto.io/gateway/server/edge"
)

// statusMax bounds what is kept of the status that a receiver gives a record.
const statusMax = 64

// rejection is one element of "rejected".
type rejection struct {
	CorrelationID string         `json:"correlation_id"`
	Status        jsontext.Value `json:"status"` // a number or a text
	Reason        string         `json:"reason"`
}

// meaning is what a reply says about single records.
type meaning uint8

const (
	listed  meaning = iota // those in the list are rejected, and no others
	counted                // some are rejected, and not all of them are named
	unclear                // nobody can tell whether any is rejected
)

// byteOrderMark begins the texts of some receivers. It is no JSON.
const byteOrderMark = "\xef\xbb\xbf"

// reply is the answer to an accepted batch.
type reply struct {
	body     []byte
	encoding string // empty when the body can be read
	err      error  // not nil when the body broke off
}

// plain returns the body without what may stand before and behind a JSON text.
func plain(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte(byteOrderMark)))
}

// encodingOf returns the encodings that were used although none was asked for.
func encodingOf(header http.Header) string {
	encodings := strings.Join(header.Values("Content-Encoding"), ", ")
	if strings.EqualFold(encodings, "identity") {
		return ""
	}
	return encodings
}

// mayReject reports whether the body is, or when it broke off could have become,
// one that names records.
func (r reply) mayReject() bool {
	if r.encoding != "" {
		return len(r.body) > 0 || r.err != nil
	}
	return bytes.HasPrefix(r.body, []byte("{")) || bytes.HasPrefix(r.body, []byte("[")) ||
		r.err != nil && strings.HasPrefix(byteOrderMark, string(r.body))
}

// mentions reports whether one of the names stands in the text as JSON writes
// it.
func mentions(text []byte, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return bytes.Contains(text, []byte(`"`+name+`"`)) })
}

// parseRejections reads the member "rejected" of a reply that begins as an
// object or an array. It may be cut off, or no JSON at all.
func parseRejections(body []byte) ([]rejection, meaning) {
	if len(body) == 0 {
		return nil, listed
	}
	if body[0] == '[' {
		if mentions(body, "rejected", "correlation_id", "status") {
			return nil, unclear
		}
		return nil, listed
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	list, says, err := parseObject(decoder)
	switch {
	case says != listed:
		return nil, says
	case err == nil && !mentions(body[decoder.InputOffset():], "rejected"):
		return list, listed
	case len(list) > 0:
		return nil, counted
	case errors.Is(err, io.ErrUnexpectedEOF) || mentions(body, "rejected"):
		return nil, unclear
	}
	return nil, listed // what is no JSON is no list of rejections
}

// parseObject reads to the end of the object, since a name may come twice:
// receivers' own libraries would disagree about which of the two counts.
func parseObject(decoder *jsontext.Decoder) (list []rejection, says meaning, err error) {
	_, err = decoder.ReadToken() // the opening brace
	for seen := false; err == nil; {
		var name jsontext.Token
		name, err = decoder.ReadToken()
		switch {
		case err != nil:
		case name.Kind() != '"': // the closing brace
			return list, says, nil
		case name.String() != "rejected":
			err = decoder.SkipValue()
		case seen:
			return nil, unclear, nil
		default:
			seen = true
			list, says, err = parseList(decoder)
		}
	}
	return list, says, err
}

func parseList(decoder *jsontext.Decoder) (list []rejection, says meaning, err error) {
	switch decoder.PeekKind() {
	case '[':
		_, _ = decoder.ReadToken() // was peeked at
	case 'n':
		return nil, listed, decoder.SkipValue()
	case '0':
		says, err = parseCount(decoder)
		return nil, says, err
	default: // true, a text, an object: not of this contract
		return nil, unclear, decoder.SkipValue()
	}
	for kind := decoder.PeekKind(); kind != ']'; kind = decoder.PeekKind() {
		value, err := decoder.ReadValue()
		if err != nil && kind != jsontext.KindInvalid {
			says = counted // one more element has begun, and cannot be read
		}
		if err != nil {
			return list, says, err
		}
		var element rejection
		if err := json.Unmarshal(value, &element, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
			says = counted
			continue
		}
		list = append(list, element)
	}
	_, err = decoder.ReadToken() // the closing bracket
	return list, says, err
}

// parseCount reads a number in the place of the list.
func parseCount(decoder *jsontext.Decoder) (meaning, error) {
	token, err := decoder.ReadToken()
	if err != nil {
		return unclear, err
	}
	switch count, _ := token.Float(); { // one that is out of range is not 0
	case count == 0:
		return listed, nil
	case count > 0:
		return counted, nil
	}
	return unclear, nil
}

// match finds the rejected records in the batch. It is not known which ones
// are meant when an element names none of them.
func match(list []rejection, batch []edge.Delivery, status string) (refused []edge.Refused, known bool) {
	if len(list) == 0 {
		return nil, true
	}
	indexes := make(map[edge.CorrelationID]int, len(batch))
	for i := range batch {
		indexes[batch[i].Record.Correlation] = i
	}
	for _, element := range list {
		id, valid := edge.ParseCorrelationID(element.CorrelationID)
		index, found := indexes[id]
		if !valid || !found {
			return nil, false
		}
		refused = append(refused, edge.Refused{
			Index: index, Status: statusOf(element.Status, status), Excerpt: edge.Excerpt(element.Reason),
		})
	}
	slices.SortStableFunc(refused, func(a, b edge.Refused) int { return cmp.Compare(a.Index, b.Index) })
	return slices.CompactFunc(refused, func(a, b edge.Refused) bool { return a.Index == b.Index }), true
}

// statusOf returns the receiver's word for a rejection.
func statusOf(value jsontext.Value, otherwise string) string {
	text := string(value)
	if value.Kind() == '"' {
		unquoted, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return otherwise
		}
		text = string(unquoted)
	}
	text = strings.ToValidUTF8(text[:min(len(text), statusMax)], "")
	if text == "" || text == "null" {
		return otherwise
	}
	return text
}
