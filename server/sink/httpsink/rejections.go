package httpsink

import (
	"bytes"
	"cmp"
	"errors"
	"io"
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

// mayReject reports whether the body is, or when it broke off could have become,
// an object that names records.
func mayReject(body []byte, err error) bool {
	text := bytes.TrimLeft(body, " \t\r\n")
	return bytes.HasPrefix(text, []byte("{")) || err != nil && len(text) == 0
}

// parseRejections reads the member "rejected" of a reply, which may be cut off
// or no JSON at all. It is not certain when records may have been rejected that
// it cannot tell: when the reply does not end, or only counts them.
func parseRejections(body []byte) (list []rejection, certain bool) {
	decoder := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	_, err := decoder.ReadToken() // the opening brace
	for err == nil {
		var name jsontext.Token
		name, err = decoder.ReadToken()
		switch {
		case err != nil:
		case name.Kind() != '"': // the closing brace
			return nil, true
		case name.String() == "rejected":
			return parseList(decoder)
		default:
			err = decoder.SkipValue()
		}
	}
	// What is no JSON is no list of rejections.
	return nil, !errors.Is(err, io.ErrUnexpectedEOF)
}

func parseList(decoder *jsontext.Decoder) (list []rejection, certain bool) {
	switch decoder.PeekKind() {
	case '[':
		_, _ = decoder.ReadToken() // was peeked at
	case '0':
		count, err := decoder.ReadToken()
		return nil, err == nil && count.String() == "0"
	default: // null, true, a text: not a list of this contract
		return nil, true
	}
	for decoder.PeekKind() != ']' {
		var element rejection
		if err := json.UnmarshalDecode(decoder, &element); err != nil {
			return nil, false
		}
		list = append(list, element)
	}
	return list, true
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
