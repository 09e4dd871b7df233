package queuefile

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

const (
	// lossDevices is how many devices a stretch names. Those that lost least are
	// counted together, under no name.
	lossDevices = 512
	// lossesMax bounds the loss report. Beyond it the oldest stretch is joined with
	// the next one of the same sink and reason: nothing leaves the count.
	lossesMax = 10_000
	// lossExtended is how long a stretch is extended: a row per hour and reason,
	// as long as something is given up.
	lossExtended = time.Hour
)

// Unnamed is the device under which a stretch counts those that it does not name.
const Unnamed = edge.DeviceID("")

// LossReason is why something was given up, and by whom.
type LossReason struct {
	Kind   edge.LossKind
	Reason string
	Actor  string // empty for a policy
}

// DamagedReason is why records are lost by damage. Which devices lost them is not
// known, and the time of the commit stands for that of their receipt.
var DamagedReason = LossReason{Kind: edge.LossQuarantined, Reason: "damaged"}

// Stretch is a part of the loss report: a row of the table loss, or what becomes
// one with the next commit.
type Stretch struct {
	LossReason
	ID                          int64       // 0 while it is not stored
	Sink                        edge.SinkID // that has lost them; said by Write
	First, Last                 edge.Position
	FirstReceived, LastReceived time.Time // zero when no record could be read
	At                          time.Time // gateway time of the last of them
	Count                       int64
	Devices                     map[edge.DeviceID]int64

	bytes int64 // of the row that was read, or stored, about
}

// NewStretch makes the report of count records at positions, which nobody could
// read when device is [Unnamed] and received is zero.
func NewStretch(why LossReason, at time.Time, positions Span, count int64, received time.Time, device edge.DeviceID) *Stretch {
	received = received.UTC()
	return &Stretch{
		LossReason: why, First: positions.First, Last: positions.End - 1, FirstReceived: received, LastReceived: received,
		At: at, Count: count, Devices: map[edge.DeviceID]int64{device: count},
	}
}

// AddRecord extends a stretch by one record, which allocates nothing for a known
// device.
func (s *Stretch) AddRecord(record *edge.Record, at time.Time) {
	s.cover(record.Position, record.Position, record.ReceivedAt, record.ReceivedAt, at)
	s.Count++
	s.Devices[record.Device]++
	s.boundDevices(4 * lossDevices)
}

// Join adds another stretch of the same sink and reason.
func (s *Stretch) Join(other *Stretch) {
	s.cover(other.First, other.Last, other.FirstReceived, other.LastReceived, other.At)
	s.Count += other.Count
	for device, count := range other.Devices {
		s.Devices[device] += count
	}
	s.boundDevices(4 * lossDevices)
}

// cover extends a stretch.
func (s *Stretch) cover(first, last edge.Position, firstReceived, lastReceived, at time.Time) {
	s.First, s.Last = min(s.First, first), max(s.Last, last)
	if !firstReceived.IsZero() && (s.FirstReceived.IsZero() || firstReceived.Before(s.FirstReceived)) {
		s.FirstReceived = firstReceived
	}
	if lastReceived.After(s.LastReceived) {
		s.LastReceived = lastReceived
	}
	if at.After(s.At) {
		s.At = at
	}
}

// boundDevices forgets the names of those that lost least, once there are more
// names than most.
func (s *Stretch) boundDevices(most int) {
	if len(s.Devices) > most {
		s.keepNames(lossDevices)
	}
}

// keepNames keeps the names of those that lost most, and counts the others as [Unnamed].
func (s *Stretch) keepNames(most int) {
	named := s.MostFirst()
	for _, device := range named[min(most, len(named)):] {
		delete(s.Devices, device.Device)
		s.Devices[Unnamed] += device.Count
	}
}

// MostFirst lists the devices that have names.
func (s *Stretch) MostFirst() []edge.DeviceLoss {
	named := make([]edge.DeviceLoss, 0, len(s.Devices))
	for device, count := range s.Devices {
		if device != Unnamed {
			named = append(named, edge.DeviceLoss{Device: device, Count: count})
		}
	}
	slices.SortFunc(named, func(a, b edge.DeviceLoss) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Device, b.Device))
	})
	return named
}

// Write extends the stored stretch of the same hour and sink, or begins one.
func (s *Stretch) Write(conn *sqlite.Conn, sink edge.SinkID) error {
	stored, err := readStretch(conn, SelectStretches+" WHERE sink = ? AND kind = ? AND reason = ? AND actor = ? ORDER BY id DESC LIMIT 1",
		int64(sink), int64(s.Kind), s.Reason, s.Actor)
	if err != nil {
		return err
	}
	if stored != nil && stored.At.Truncate(lossExtended).Equal(s.At.Truncate(lossExtended)) {
		stored.Join(s)
		return stored.store(conn)
	}
	begun := *s // the report itself is needed again when the transaction fails
	begun.Sink, begun.Devices = sink, maps.Clone(s.Devices)
	if err := begun.store(conn); err != nil {
		return err
	}
	return boundLosses(conn, lossesMax)
}

// boundLosses keeps at most so many rows, if there are two that can be joined.
func boundLosses(conn *sqlite.Conn, most int64) error {
	var rows int64
	if _, err := conn.One("SELECT count(*) FROM loss", func(row sqlite.Row) { rows = row.Int(0) }); err != nil || rows <= most {
		return err
	}
	_, err := joinOldest(conn, new(coarsened))
	return err
}

const (
	// lossRowBytes is what SQLite keeps of a stretch besides its texts, about.
	lossRowBytes = 100
	// lossTakes is what takes returns, for a query whose first argument is lossRowBytes.
	lossTakes = "octet_length(devices) + octet_length(reason) + octet_length(actor) + ?1"
)

// takes returns how much of the file a stretch takes, as LossBytes counts it.
func (s *Stretch) takes(devices string) int64 {
	return lossRowBytes + int64(len(devices)+len(s.Reason)+len(s.Actor))
}

// LossBytes returns about how much of the file the loss report takes. It reads all of it.
func LossBytes(conn *sqlite.Conn) (bytes int64, err error) {
	_, err = conn.One("SELECT coalesce(sum("+lossTakes+"), 0) FROM loss",
		func(row sqlite.Row) { bytes = row.Int(0) }, int64(lossRowBytes))
	return bytes, err
}

// CoarsenLosses makes the loss report shorter when it takes more than so many bytes, by
// one transaction's worth: the oldest stretches are joined with the next ones of the
// same sink and reason, and when none can be joined any more, those that name most
// devices name fewer. Every record that was given up stays in one stretch, and what a
// stretch counts is still what its devices lost. more reports whether the next
// transaction can go on with that.
func CoarsenLosses(conn *sqlite.Conn, most int64) (more bool, err error) {
	bytes, err := LossBytes(conn)
	if err != nil {
		return false, err
	}
	done := coarsened{excess: bytes - most}
	for _, shorten := range []func(*sqlite.Conn, *coarsened) (bool, error){joinOldest, nameFewer} {
		for shorter := true; shorter && done.goesOn(); {
			if shorter, err = shorten(conn, &done); err != nil {
				return false, err
			}
		}
	}
	return done.excess > 0 && !done.goesOn(), nil
}

// coarsened is what one transaction has made of the loss report. It remembers where it
// has looked: the committer does nothing else meanwhile, and a report of thousands of
// sinks has thousands of stretches that are not to be looked at for each one that becomes
// shorter.
type coarsened struct {
	excess    int64    // bytes that the report still takes too many
	rewritten int64    // bytes
	joinsFrom int64    // id in front of which no stretch can be joined
	naming    []naming // what can name fewer devices, perhaps, the longest last; nil before it is read
}

// naming is a stretch that names devices, and how much it takes.
type naming struct{ id, bytes int64 }

func (c *coarsened) add(before, after int64) {
	c.rewritten, c.excess = c.rewritten+after, c.excess-before+after
}

func (c *coarsened) goesOn() bool { return c.excess > 0 && c.rewritten < coarsenedBytes }

const (
	// coarsenedBytes bounds what one transaction writes anew of the loss report.
	coarsenedBytes = 256 << 10
	// namesMin is how many devices a stretch names in any case.
	namesMin = 16
)

// nameFewer takes names from the longest stretch that can do with fewer, and reports
// whether there was one. By now there is one of each sink and reason.
func nameFewer(conn *sqlite.Conn, done *coarsened) (bool, error) {
	if done.naming == nil {
		err := conn.Query("SELECT id, "+lossTakes+" AS bytes FROM loss ORDER BY bytes, id DESC", func(row sqlite.Row) error {
			done.naming = append(done.naming, naming{row.Int(0), row.Int(1)})
			return nil
		}, int64(lossRowBytes))
		if err != nil {
			return false, err
		}
	}
	for last := len(done.naming) - 1; last >= 0; last-- {
		longest, err := readStretch(conn, SelectStretches+" WHERE id = ?", done.naming[last].id)
		if err != nil {
			return false, err
		}
		done.naming = done.naming[:last]
		if longest == nil || len(longest.MostFirst()) <= namesMin {
			continue
		}
		before := longest.bytes
		longest.keepNames(max(len(longest.MostFirst())/2, namesMin))
		if err := longest.store(conn); err != nil {
			return false, err
		}
		done.add(before, longest.bytes)
		at, _ := slices.BinarySearchFunc(done.naming, longest.bytes, func(other naming, bytes int64) int { return cmp.Compare(other.bytes, bytes) })
		done.naming = slices.Insert(done.naming, at, naming{longest.ID, longest.bytes})
		return true, nil
	}
	return false, nil
}

// joinOldest joins the oldest stretch that can be joined with the next one of the same
// sink and reason, and reports whether there were two.
func joinOldest(conn *sqlite.Conn, done *coarsened) (bool, error) {
	var older, newer int64
	found, err := conn.One(`SELECT older.id, newer.id FROM loss AS older JOIN loss AS newer
		ON newer.sink = older.sink AND newer.kind = older.kind AND newer.reason = older.reason AND newer.id > older.id
		WHERE older.id >= ? ORDER BY older.id, newer.id LIMIT 1`, func(row sqlite.Row) { older, newer = row.Int(0), row.Int(1) }, done.joinsFrom)
	if err != nil || !found {
		return false, err
	}
	first, err := readStretch(conn, SelectStretches+" WHERE id = ?", older)
	if err != nil || first == nil {
		return false, err
	}
	second, err := readStretch(conn, SelectStretches+" WHERE id = ?", newer)
	if err != nil || second == nil {
		return false, err
	}
	before := first.bytes + second.bytes
	if first.Actor != second.Actor {
		second.Actor = severalActors
	}
	second.Join(first)
	if err := second.store(conn); err != nil {
		return false, err
	}
	done.add(before, second.bytes)
	done.joinsFrom = older + 1
	return true, conn.Exec("DELETE FROM loss WHERE id = ?", older)
}

// severalActors stands for the names in joined stretches.
const severalActors = "several"

func (s *Stretch) store(conn *sqlite.Conn) error {
	s.boundDevices(lossDevices)
	devices, err := json.Marshal(s.Devices)
	if err != nil {
		return err
	}
	s.bytes = s.takes(string(devices))
	var id any
	if s.ID > 0 {
		id = s.ID
	}
	return conn.Exec("INSERT OR REPLACE INTO loss VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", id, int64(s.Sink), int64(s.Kind), s.Reason, s.Actor,
		int64(s.First), int64(s.Last), unixMicro(s.FirstReceived), unixMicro(s.LastReceived), s.At.UnixMicro(), s.Count, string(devices))
}

// SelectStretches reads whole rows.
const SelectStretches = "SELECT id, sink, kind, reason, actor, first, last, first_received, last_received, at, count, devices FROM loss"

// readStretch reads the one row that a query yields, nil when it yields none.
func readStretch(conn *sqlite.Conn, query string, arguments ...any) (found *Stretch, err error) {
	_, err = conn.One(query, func(row sqlite.Row) { found = ReadStretch(row) }, arguments...)
	return found, err
}

// ReadStretch reads a row of SelectStretches. Damaged names of devices do not
// hide that something was lost.
func ReadStretch(row sqlite.Row) *Stretch {
	s := &Stretch{
		ID: row.Int(0), Sink: edge.SinkID(row.Int(1)), LossReason: LossReason{Kind: edge.LossKind(row.Int(2)), Reason: row.Text(3), Actor: row.Text(4)},
		First: edge.Position(row.Int(5)), Last: edge.Position(row.Int(6)),
		FirstReceived: fromUnixMicro(row.Int(7)), LastReceived: fromUnixMicro(row.Int(8)), At: fromUnixMicro(row.Int(9)),
		Count: row.Int(10),
	}
	if err := json.Unmarshal([]byte(row.Text(11)), &s.Devices); err != nil || s.Devices == nil {
		s.Devices = map[edge.DeviceID]int64{Unnamed: s.Count}
	}
	s.bytes = s.takes(row.Text(11))
	return s
}
