package queuefile

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/sqlite"
)

// TestRows_Columns holds what reads whole rows to the schema: rows that are carved
// out of a damaged file are read by the same functions, by place.
func TestRows_Columns(t *testing.T) {
	db, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		SelectLedger, SelectSinks, SelectFrames, SelectSets, SelectLetters, SelectDevices, SelectStretches, "SELECT " + AttemptColumns + " FROM attempt",
		"SELECT " + quarantineColumns + " FROM quarantine",
	} {
		text, table, _ := strings.Cut(strings.TrimPrefix(query, "SELECT "), " FROM ")
		var want []string
		err := db.Read(t.Context(), func(conn *sqlite.Conn) error {
			return conn.Query("SELECT name FROM pragma_table_info(?) ORDER BY cid", func(row sqlite.Row) error {
				want = append(want, row.Text(0))
				return nil
			}, table)
		})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\n", r) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %s: %s", table, diff)
		}
	}
}
