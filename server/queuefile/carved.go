package queuefile

import (
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// carved is a row while it is judged.
type carved struct {
	*sqlite.CarvedRow
	findings *findings
	table    string
}

// of names the table that the row would be of.
func (c *carved) of(table string) *carved { c.table = table; return c }

// value returns a column; nil when the row is older than the column.
func (c *carved) value(name string) any {
	for i, column := range c.findings.columns[c.table] {
		if column == name && i < len(c.Values) {
			return c.Values[i]
		}
	}
	return nil
}

// row returns the row as a query for all columns of its table would.
func (c *carved) row() sqlite.Row {
	return asRead(c.CarvedRow, len(c.findings.columns[c.table]))
}

// asRead returns a row of a table with row ids as a query for so many columns would,
// nil where the row is older than a column.
func asRead(carved *sqlite.CarvedRow, columns int) sqlite.Row {
	row := make(sqlite.Row, columns)
	for i, value := range carved.Values {
		row[i] = value
	}
	row[0] = carved.ID
	return row
}

func (c *carved) int(name string) int64 { value, _ := c.value(name).(int64); return value }

func (c *carved) text(name string) string { value, _ := c.value(name).(string); return value }

func (c *carved) blob(name string) []byte { value, _ := c.value(name).([]byte); return value }

func (c *carved) position(n string) edge.Position { return edge.Position(c.int(n)) }

// shaped reports whether the values have the types of a table's columns, given as
// one letter each: i, t, b. Columns that were added later may be missing, or have
// any type.
func (c *carved) shaped(types string) bool {
	if len(c.Values) < len(types) || len(c.Values) > len(c.findings.columns[c.table]) {
		return false
	}
	for i, kind := range types {
		ok := false
		switch c.Values[i].(type) {
		case int64:
			ok = kind == 'i'
		case string:
			ok = kind == 't'
		case []byte:
			ok = kind == 'b'
		}
		if !ok {
			return false
		}
	}
	return true
}

// insert keeps the row as it is, instead of another version or only if there is
// none.
func (c *carved) insert(instead bool) bool {
	if c.Free && c.findings.frugal {
		return true
	}
	verb := "INSERT OR IGNORE INTO "
	if instead {
		verb = "INSERT OR REPLACE INTO "
	}
	bytes := 0
	for _, value := range c.Values {
		switch value := value.(type) {
		case string:
			bytes += len(value)
		case []byte:
			bytes += len(value)
		}
	}
	names := c.findings.columns[c.table][:len(c.Values)]
	c.findings.keep(verb+c.table+"("+strings.Join(names, ", ")+") VALUES("+strings.Repeat(", ?", len(names))[2:]+")", bytes, c.Values...)
	return true
}

func (c *carved) frame() bool {
	if !c.of("frame").shaped("iiiiib") || c.ID < 1 || c.ID > MaxPosition {
		return false
	}
	count, body := c.int("n"), c.blob("body")
	if count < 1 || count > MaxFrameBytes/minRecordBytes {
		c.reject()
		return false
	}
	if _, err := c.findings.decoder.decode(edge.Position(c.ID), int(count), body); err == nil {
		return c.whole()
	} else if c.reject(); c.Live && len(body) >= 2+checksumBytes {
		stored := ReadFrame(c.row())
		stored.Count = stored.plausibleCount(0)
		row := stored.quarantine(FrameSink, err, time.Time{})
		c.findings.keep("INSERT OR IGNORE "+insertQuarantined, len(body), row.values()...)
	}
	return false
}

// whole keeps a frame. One that was merged takes the place of its first part, which
// may still lie in free space. What lies behind the last commit may never have been
// stored, and its positions given to others: it only counts where nothing else is. So
// does what lies in free pages, and only where a sink waits for it: all that was ever
// removed may lie there, many times what is in use, and there is no room for that.
func (c *carved) whole() bool {
	columns := strings.Join(c.findings.columns[c.table], ", ")
	if c.Free && !c.findings.awaited(c.position("id")+c.position("n")) {
		return true
	}
	if c.Tail || c.Free {
		c.findings.keep("INSERT OR IGNORE INTO frame("+columns+") SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS"+
			" (SELECT 1 FROM frame WHERE id < ?1 + ?2 AND id > ?1 - ?7 AND id + n > ?1)", len(c.blob("body")), append(c.Values[:6:6], int64(MaxFrameBytes/minRecordBytes))...)
		return true
	}
	c.findings.keep("INSERT INTO frame("+columns+") VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(id) DO UPDATE SET n = excluded.n, committed = excluded.committed,"+
		" owed = excluded.owed, raw = excluded.raw, body = excluded.body WHERE excluded.n > frame.n", len(c.blob("body")), c.Values[:6]...)
	return true
}

func (c *carved) letter() bool {
	if !c.of("dead").shaped("iitttt" + "iiii" + "tb") {
		return false
	}
	decoded, err := c.findings.decoder.decode(c.position("position"), 1, c.blob("body"))
	if err != nil || c.int("sink") < 0 {
		c.reject()
		return false
	}
	if owner := decoded.Owed[0]; owner != 0 {
		c.Values[0] = int64(owner) - 1 // whatever damage has made of the key
	}
	return c.insert(c.Live)
}

// reject counts what was stored and is not whole.
func (c *carved) reject() {
	if c.Live {
		c.findings.rejected++
	}
}

func (c *carved) death() bool {
	if !c.of("death").shaped("itii") || c.int("sink") < 0 || c.int("now") < 0 || c.int("ever") < c.int("now") || c.int("ever") > MaxPosition {
		return false
	}
	key := deathKey{sink: edge.SinkID(c.int("sink")), reason: c.text("reason")}
	if !sumHolds(c.value("checksum"), deathSum(key.sink, key.reason, Deaths{Now: c.int("now"), Ever: c.int("ever")})) {
		return false
	}
	c.findings.deaths[key] = max(c.findings.deaths[key], c.int("ever"))
	return true
}

func (c *carved) device() bool {
	if !c.of("identity_window").shaped("tb") {
		return false
	}
	name := edge.DeviceID(c.text("device"))
	covered, err := checkDevice(name, c.blob("body"))
	if err != nil {
		return false
	}
	if newer, known := c.findings.covered[string(name)]; known && newer > covered {
		return true
	}
	c.findings.covered[string(name)] = covered
	return c.insert(true)
}

// apart takes what is in quarantine already.
func (c *carved) apart() bool {
	return c.of("quarantine").shaped("iiiiiibti") && c.int("sink") >= FrameSink && c.int("position") > 0 && c.int("n") > 0 &&
		c.int("position")+c.int("n") <= MaxPosition && c.insert(false)
}

func (c *carved) ledgerRow() bool {
	if !c.of("ledger").shaped("iiiiiiiii") || c.ID != 1 || c.int("log") < 0 || c.int("log") >= LogMax || c.int("counted") < 0 || c.int("counted") > MaxPosition {
		return false
	}
	stored := ReadLedger(c.row())
	if !stored.PlaceHolds() {
		return false
	}
	old, checked := &c.findings.ledger, stored.placeSum != nil
	if old.checked && !checked || old.checked == checked && stored.Counted < old.Counted {
		return true
	}
	old.found, old.checked, old.values, old.logs.Current, old.StoredLedger = true, checked, c.Values, uint16(stored.Log), stored
	return true
}

func (c *carved) sink() bool {
	if !c.of("sink").shaped("ittiiiib"+"iiiiiii") || c.ID < 1 || c.int("cursor") < 0 || c.int("cursor") > MaxPosition {
		return false
	}
	stored := ReadSink(c.row())
	ranges, err := ParseSpans(stored.Settled, stored.Cursor)
	if err != nil || !stored.PlaceHolds() {
		return false
	}
	old, checked := c.findings.sinks[stored.ID], stored.placeSum != nil
	if old != nil && (old.checked && !checked || old.checked == checked && (old.Cursor > stored.Cursor || old.Cursor == stored.Cursor && old.Counted > stored.Counted)) {
		return true
	}
	c.findings.sinks[stored.ID] = &foundSink{StoredSink: stored, ranges: ranges, unsure: !stored.CountsHold(), values: c.Values, checked: checked}
	return true
}

func (c *carved) set() bool {
	if !c.of("owed").shaped("it") || c.ID < 1 || c.ID > 1<<20 {
		return false
	}
	stored := ReadSet(c.row())
	if _, err := stored.Members(); err != nil || !stored.Holds() {
		return false
	}
	if _, known := c.findings.owed[c.ID]; !known || stored.sum != nil {
		c.findings.owed[c.ID] = stored.Sinks
	}
	return true
}

func (c *carved) earlierLog() bool {
	if !c.of("earlier_log").shaped("iiii") {
		return false
	}
	log := earlierLog{before: c.position("before"), letters: c.int("letters"), log: uint16(c.int("log"))}
	if c.int("checksum") != log.sum() {
		return false
	}
	if ledger := &c.findings.ledger; log.before == beforeAll {
		if c.Live || !ledger.logKept { // of a file that was mended, the one before may lie in free space
			ledger.kept, ledger.logKept = log.log, true
		}
		return true
	}
	earlier := &c.findings.ledger.logs.earlier
	for _, known := range *earlier {
		if known == log {
			return true
		}
	}
	*earlier = append(*earlier, log)
	return true
}

// attempt takes what looks like an attempt: it explains, and nothing depends on
// it.
func (c *carved) attempt() bool {
	return c.of("attempt").shaped("iiiiiiiiiii"+"tt") && c.int("sink") > 0 && c.int("class") >= int64(edge.Delivered) && c.int("class") <= int64(edge.Rejected) &&
		c.int("started") <= c.int("ended") && c.int("first") <= c.int("last") && c.insert(false)
}

// loss takes what looks like a line of the loss report.
func (c *carved) loss() bool {
	return c.of("loss").shaped("iii"+"tt"+"iiiiii"+"t") && c.int("kind") >= 1 && c.int("kind") <= int64(edge.LossQuarantined) &&
		c.int("first") <= c.int("last") && c.int("count") > 0 && c.insert(c.Live)
}
