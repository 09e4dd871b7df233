package queue

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

// unnamed is the device under which a stretch counts those that it does not name.
const unnamed = edge.DeviceID("")

// lossReason is why something was given up, and by whom.
type lossReason struct {
	kind   edge.LossKind
	reason string
	actor  string // empty for a policy
}

// damagedReason is why records are lost by damage. Which devices lost them is not
// known, and the time of the commit stands for that of their receipt.
var damagedReason = lossReason{kind: edge.LossQuarantined, reason: "damaged"}

// stretch is a part of the loss report: a row of the table loss, or what becomes
// one with the next commit.
type stretch struct {
	lossReason
	id                          int64 // 0 while it is not stored
	first, last                 edge.Position
	firstReceived, lastReceived time.Time // zero when no record could be read
	at                          time.Time // gateway time of the last of them
	count                       int64
	devices                     map[edge.DeviceID]int64
}

func newStretch(why lossReason, at time.Time, positions span, count int64, received time.Time, device edge.DeviceID) *stretch {
	received = received.UTC()
	return &stretch{
		lossReason: why, first: positions.first, last: positions.end - 1, firstReceived: received, lastReceived: received,
		at: at, count: count, devices: map[edge.DeviceID]int64{device: count},
	}
}

// addRecord extends a stretch by one record, which allocates nothing for a known
// device.
func (s *stretch) addRecord(record *edge.Record, at time.Time) {
	s.cover(record.Position, record.Position, record.ReceivedAt, record.ReceivedAt, at)
	s.count++
	s.devices[record.Device]++
	s.boundDevices(4 * lossDevices)
}

// join adds another stretch of the same sink and reason.
func (s *stretch) join(other *stretch) {
	s.cover(other.first, other.last, other.firstReceived, other.lastReceived, other.at)
	s.count += other.count
	for device, count := range other.devices {
		s.devices[device] += count
	}
	s.boundDevices(4 * lossDevices)
}

// cover extends a stretch.
func (s *stretch) cover(first, last edge.Position, firstReceived, lastReceived, at time.Time) {
	s.first, s.last = min(s.first, first), max(s.last, last)
	if !firstReceived.IsZero() && (s.firstReceived.IsZero() || firstReceived.Before(s.firstReceived)) {
		s.firstReceived = firstReceived
	}
	if lastReceived.After(s.lastReceived) {
		s.lastReceived = lastReceived
	}
	if at.After(s.at) {
		s.at = at
	}
}

// boundDevices forgets the names of those that lost least, once there are more
// names than most.
func (s *stretch) boundDevices(most int) {
	if len(s.devices) <= most {
		return
	}
	named := s.mostFirst()
	for _, device := range named[min(lossDevices, len(named)):] {
		delete(s.devices, device.Device)
		s.devices[unnamed] += device.Count
	}
}

// mostFirst lists the devices that have names.
func (s *stretch) mostFirst() []edge.DeviceLoss {
	named := make([]edge.DeviceLoss, 0, len(s.devices))
	for device, count := range s.devices {
		if device != unnamed {
			named = append(named, edge.DeviceLoss{Device: device, Count: count})
		}
	}
	slices.SortFunc(named, func(a, b edge.DeviceLoss) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Device, b.Device))
	})
	return named
}

// write extends the stored stretch of the same hour, or begins one.
func (s *stretch) write(conn *sqlite.Conn, sink edge.SinkID) error {
	stored, err := readStretch(conn, selectStretches+" WHERE sink = ? AND kind = ? AND reason = ? AND actor = ? ORDER BY id DESC LIMIT 1",
		int64(sink), int64(s.kind), s.reason, s.actor)
	if err != nil {
		return err
	}
	if stored != nil && stored.at.Truncate(lossExtended).Equal(s.at.Truncate(lossExtended)) {
		stored.join(s)
		return stored.store(conn, sink)
	}
	begun := *s // the report itself is needed again when the transaction fails
	begun.devices = maps.Clone(s.devices)
	if err := begun.store(conn, sink); err != nil {
		return err
	}
	return boundLosses(conn, lossesMax)
}

// boundLosses keeps at most so many rows, if there are two that can be joined.
func boundLosses(conn *sqlite.Conn, most int64) error {
	var rows, older, newer, sink int64
	if _, err := conn.One("SELECT count(*) FROM loss", func(row sqlite.Row) { rows = row.Int(0) }); err != nil || rows <= most {
		return err
	}
	found, err := conn.One(`SELECT older.id, newer.id, older.sink FROM loss AS older JOIN loss AS newer
		ON newer.sink = older.sink AND newer.kind = older.kind AND newer.reason = older.reason AND newer.id > older.id
		ORDER BY older.id, newer.id LIMIT 1`, func(row sqlite.Row) { older, newer, sink = row.Int(0), row.Int(1), row.Int(2) })
	if err != nil || !found {
		return err
	}
	first, err := readStretch(conn, selectStretches+" WHERE id = ?", older)
	if err != nil || first == nil {
		return err
	}
	second, err := readStretch(conn, selectStretches+" WHERE id = ?", newer)
	if err != nil || second == nil {
		return err
	}
	if first.actor != second.actor {
		second.actor = severalActors
	}
	second.join(first)
	if err := second.store(conn, edge.SinkID(sink)); err != nil {
		return err
	}
	return conn.Exec("DELETE FROM loss WHERE id = ?", older)
}

// severalActors stands for the names in joined stretches.
const severalActors = "several"

func (s *stretch) store(conn *sqlite.Conn, sink edge.SinkID) error {
	s.boundDevices(lossDevices)
	devices, err := json.Marshal(s.devices)
	if err != nil {
		return err
	}
	var id any
	if s.id > 0 {
		id = s.id
	}
	return conn.Exec("INSERT OR REPLACE INTO loss VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", id, int64(sink), int64(s.kind), s.reason, s.actor,
		int64(s.first), int64(s.last), unixMicro(s.firstReceived), unixMicro(s.lastReceived), s.at.UnixMicro(), s.count, string(devices))
}

const selectStretches = "SELECT id, kind, reason, actor, first, last, first_received, last_received, at, count, devices, sink FROM loss"

// readStretch reads the one row that a query yields, nil when it yields none.
func readStretch(conn *sqlite.Conn, query string, arguments ...any) (found *stretch, err error) {
	_, err = conn.One(query, func(row sqlite.Row) { found = parseStretch(row) }, arguments...)
	return found, err
}

// parseStretch reads a row of selectStretches. Damaged names of devices do not
// hide that something was lost.
func parseStretch(row sqlite.Row) *stretch {
	s := &stretch{
		id: row.Int(0), lossReason: lossReason{kind: edge.LossKind(row.Int(1)), reason: row.Text(2), actor: row.Text(3)},
		first: edge.Position(row.Int(4)), last: edge.Position(row.Int(5)),
		firstReceived: fromUnixMicro(row.Int(6)), lastReceived: fromUnixMicro(row.Int(7)), at: fromUnixMicro(row.Int(8)),
		count: row.Int(9),
	}
	if err := json.Unmarshal([]byte(row.Text(10)), &s.devices); err != nil || s.devices == nil {
		s.devices = map[edge.DeviceID]int64{unnamed: s.count}
	}
	return s
}
