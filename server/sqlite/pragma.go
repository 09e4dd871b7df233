package sqlite

import (
	"fmt"
	"strconv"
	"strings"
)

// role is what a connection is for.
type role int

const (
	roleWriter role = iota
	roleReader
	roleInspector // of a file that nobody works with and that is not to be changed
)

// pragma is a setting that is applied and then read back, because SQLite
// ignores what it does not understand or cannot change.
type pragma struct {
	name  string
	value string
	reads string // what reading it back yields
}

// WALBytesMax bounds the WAL: a longer one is cut when it is next recycled. See
// also [DB.BoundWAL].
const WALBytesMax = 64 << 20

// PageBytes is the size of a page.
const PageBytes = 4096

// Pages and vacuum come first: they can only be chosen while the file is empty.
var pragmas = []pragma{
	{"busy_timeout", "5000", "5000"},
	{"page_size", strconv.Itoa(PageBytes), strconv.Itoa(PageBytes)},
	{"auto_vacuum", "NONE", "0"},
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"},
	{"wal_autocheckpoint", "0", "0"},
	{"journal_size_limit", strconv.Itoa(WALBytesMax), strconv.Itoa(WALBytesMax)},
	{"temp_store", "MEMORY", "2"},
	{"mmap_size", "0", "0"}, // a read error would be a fault of the process
	{"foreign_keys", "OFF", "0"},
	{"secure_delete", "OFF", "0"},
}

var rolePragmas = map[role][]pragma{
	roleWriter: {{"cache_size", "-8192", "-8192"}, {"query_only", "OFF", "0"}},
	roleReader: {{"cache_size", "-2048", "-2048"}, {"query_only", "ON", "1"}},
	roleInspector: {{"busy_timeout", "5000", "5000"}, {"temp_store", "MEMORY", "2"}, {"mmap_size", "0", "0"},
		{"cache_size", "-8192", "-8192"}, {"query_only", "ON", "1"}},
}

// versionMin is the first SQLite without the WAL-reset race, which could lose
// committed transactions when a checkpoint met a commit.
var versionMin = [3]int{3, 51, 3}

// configure applies and verifies the settings of a fresh connection.
func (c *Conn) configure(role role) error {
	if err := c.checkVersion(); err != nil {
		return err
	}
	groups := [][]pragma{pragmas, rolePragmas[role]}
	if role == roleInspector { // whatever is about writing cannot be set
		groups = groups[1:]
	}
	for _, group := range groups {
		for _, pragma := range group {
			if err := c.apply(pragma); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Conn) apply(pragma pragma) error {
	if err := c.script(fmt.Sprintf("PRAGMA %s=%s", pragma.name, pragma.value)); err != nil {
		return err
	}
	value := ""
	found, err := c.One("PRAGMA "+pragma.name, func(row Row) { value = fmt.Sprint(row[0]) })
	if err != nil {
		return err
	}
	if !found || value != pragma.reads {
		return &PragmaError{Name: pragma.name, Set: pragma.value, Reads: value}
	}
	return nil
}

// PragmaError says that a setting does not hold. A file whose header is damaged
// can be the reason.
type PragmaError struct{ Name, Set, Reads string }

func (e *PragmaError) Error() string {
	return fmt.Sprintf("PRAGMA %s is %q after it was set to %s", e.Name, e.Reads, e.Set)
}

func (c *Conn) checkVersion() error {
	text := ""
	if _, err := c.One("SELECT sqlite_version()", func(row Row) { text = row.Text(0) }); err != nil {
		return err
	}
	if !atLeast(text, versionMin) {
		return fmt.Errorf("SQLite %s can lose commits: at least %v is needed", text, versionMin)
	}
	return nil
}

func atLeast(version string, least [3]int) bool {
	parts := strings.Split(version, ".")
	for i := range least {
		part := 0
		if i < len(parts) {
			part, _ = strconv.Atoi(parts[i]) // text that is no number counts as 0: too old
		}
		if part != least[i] {
			return part > least[i]
		}
	}
	return true
}
