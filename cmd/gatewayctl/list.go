package main

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
)

// maxPage is how many entries one answer holds.
const maxPage = 1000

// equality is one term of a filter.
type equality struct{ field, value string }

// filterOf writes the terms that have a value in AIP-160; empty selects everything.
func filterOf(terms ...equality) string {
	var written []string
	for _, term := range terms {
		if term.value != "" {
			written = append(written, term.field+" = "+strconv.Quote(term.value))
		}
	}
	return strings.Join(written, " AND ")
}

// listing is what a list command asks for and prints.
type listing[T proto.Message] struct {
	header []string
	page   func(size int32, token string) (entries []T, next string, err error)
	row    func(entry T) []string
}

// print prints page by page up to a limit, so that a long list needs no memory; 0
// is no limit.
func (l *listing[T]) print(a *application, limit int) error {
	if limit < 0 {
		return usage("--limit must not be negative", "0 lists all of them")
	}
	out := newTable(a.stdout, l.header...)
	token := ""
	for listed := 0; ; {
		size := int32(maxPage)
		if limit > 0 {
			size = int32(min(limit-listed, maxPage)) // at most 1,000
		}
		entries, next, err := l.page(size, token)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if a.output == "json" {
				if err := a.printJSON(entry); err != nil {
					return err
				}
				continue
			}
			out.row(l.row(entry)...)
		}
		listed += len(entries)
		token = next
		if token != "" && (limit == 0 || listed < limit) && len(entries) > 0 {
			continue
		}
		if a.output == "table" {
			out.flush()
		}
		if token != "" {
			fmt.Fprintf(a.stderr, "gatewayctl: there are more than %d; --limit 0 lists all\n", listed)
		}
		return nil
	}
}
