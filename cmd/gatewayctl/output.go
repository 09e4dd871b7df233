package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// printJSON writes a message as ProtoJSON on one line. protojson varies its white
// space from build to build, so that it is taken out.
func (a *application) printJSON(message proto.Message) error {
	text, err := protojson.Marshal(message)
	if err != nil {
		return &failure{code: exitFailed, message: "write JSON: " + err.Error()}
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return &failure{code: exitFailed, message: "write JSON: " + err.Error()}
	}
	a.print("%s\n", line.Bytes())
	return nil
}

// printValue writes a value as JSON on one line.
func (a *application) printValue(value any) error {
	if err := json.NewEncoder(a.stdout).Encode(value); err != nil {
		return &failure{code: exitFailed, message: "write JSON: " + err.Error()}
	}
	return nil
}

// table writes columns that line up. Cells are made printable: they hold what
// devices and receivers sent.
type table struct{ writer *tabwriter.Writer }

func newTable(w io.Writer, header ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(header) > 0 {
		t.row(header...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	fmt.Fprintln(t.writer, strings.Join(cells, "\t"))
}

func (t *table) flush() { t.writer.Flush() } // as with application.print

// printable takes the power over the terminal from a text.
func printable(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// excerpt cuts a text for a table.
func excerpt(text string, runes int) string {
	if utf8.RuneCountInString(text) <= runes {
		return text
	}
	return string([]rune(text)[:runes-1]) + "…"
}

// word returns the lower-case word of an enum's value: SINK_STATE_ACTIVE, with
// the prefix SINK_STATE_, is active.
func word(value fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(value.String(), prefix))
}

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().UTC().Format(timeLayout)
}

// span rounds to what a person reads.
func span(d *durationpb.Duration) string {
	duration := d.AsDuration()
	if duration >= time.Second {
		return duration.Round(time.Second).String()
	}
	return duration.Round(time.Millisecond).String()
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// size rounds down to tenths of the largest unit that fits.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return count(n) + " B"
	}
	unit := 0
	for n >= 1024*1024 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprintf("%d.%d %ciB", n/1024, n%1024*10/1024, units[unit])
}
