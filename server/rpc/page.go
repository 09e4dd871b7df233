package rpc

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"strconv"

	"combotto.io/gateway/server/edge"
)

const (
	pageSizeDefault = 50
	pageSizeMax     = 1000
)

func pageSize(asked int32) int {
	if asked <= 0 {
		return pageSizeDefault
	}
	return min(int(asked), pageSizeMax)
}

// pageToken is where the next page begins. It is bound to the filter, because a
// token of another filter would skip or repeat silently.
type pageToken struct {
	After  string `json:"a"`
	Filter string `json:"f,omitempty"` // a hash
}

func formatPageToken(after, filter string) string {
	text, _ := json.Marshal(pageToken{after, hashFilter(filter)}) // two strings cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

// parsePageToken returns where the page begins, empty for the first one.
func parsePageToken(text, filter string) (after string, err error) {
	if text == "" {
		return "", nil
	}
	refusal := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "page_token", "is not a token of this list and filter")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", refusal
	}
	var token pageToken
	if err := json.Unmarshal(raw, &token); err != nil || token.Filter != hashFilter(filter) || token.After == "" {
		return "", refusal
	}
	return token.After, nil
}

func hashFilter(filter string) string {
	if filter == "" {
		return ""
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(filter)) // a hash never fails
	return strconv.FormatUint(hash.Sum64(), 36)
}

// paginate cuts one page out of items that are sorted by a unique key.
func paginate[T any](items []T, size int32, token string, key func(T) string) (page []T, next string, err error) {
	after, err := parsePageToken(token, "")
	if err != nil {
		return nil, "", err
	}
	for _, item := range items {
		if key(item) <= after {
			continue
		}
		if len(page) == pageSize(size) {
			return page, formatPageToken(key(page[len(page)-1]), ""), nil
		}
		page = append(page, item)
	}
	return page, "", nil
}
