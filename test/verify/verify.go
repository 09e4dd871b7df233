// Package verify judges what a run has left behind: the generator's log, what
// the sinks wrote down, and the queue's file after the gateway is gone. It asks
// nobody else, least of all the gateway, and shares no code with it: it reads
// SQLite and frames itself.
//
// What it checks, by the names of the invariants:
//
//	I1   what was acknowledged was delivered to each sink, or waits for it in the
//	     file. What the gateway itself says that it has set aside, given up or
//	     salvaged is a finding, too, unless the run allows it: then a dead letter
//	     and a loss that is reported account for a message. Of a run whose file was
//	     damaged, the messages that were damaged are pardoned, and no other
//	I2   what was delivered or stored was sent, and is what was sent
//	I3   a message is stored once; what a sink received again after one crash is at
//	     most one batch for each of its slots, under the same key where there is one
//	I4   messages of a device arrive first in the order in which they were sent
//	I5   the counters in the file are what its rows come to
//	I12  SQLite finds the file sound, and every frame is what its checksum says
//
// A check that cannot fail proves nothing: for each of them a test tampers with
// the evidence of a real run. Check may be called by several goroutines.
package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"combotto.io/gateway/test/acklog"
)

// Run says where the evidence lies.
type Run struct {
	Log     string     // of the generator, complete
	Doubted []Interval // acknowledgements that came then promise nothing, nor does the key of what arrived then
	Queue   string     // the database file; its WAL lies beside it
	Sinks   []Sink
	Crashes []Crash // in order; one at the end, with no start after it, is left out
	// MayGiveUp says that the run has dead letters, limits that drop records, or
	// damage. A gateway that loses what it writes down as lost is pardoned only then.
	MayGiveUp bool
	Damage    *Damage // that was done to the queue's file; nil when there was none
	// Killed says that the gateway was not started again after the last crash: the
	// file sink may hold an unfinished line, which counts as nothing.
	Killed bool
}

// Crash says what the sinks had written down when the gateway was started again
// after it: bytes of whole lines, by the name of the file without its folder. What
// comes behind that and was there before is what the crash has repeated.
type Crash map[string]int64

// Interval is a while on the machine's monotonic clock, both ends included.
type Interval struct {
	From, To time.Duration
	Wall     time.Time // at From
}

// Damage is what was destroyed in the queue's file while no gateway ran. The
// messages are pardoned, and nothing else is: what a sink has not got of them has to
// be in the loss report, and the ledger counts each of them once.
type Damage struct {
	Messages []acklog.Identity // none when all that was stored is whole
	// Undecided is how many of them the file said that a sink was still owed, by the
	// sink's name. So many are reported, though some may have arrived: what a crash
	// has kept the gateway from writing down it cannot know.
	Undecided map[string]int64
}

// Sink is one destination. It has a folder or a file.
type Sink struct {
	Name     string
	Folder   string // of a file sink
	Received string // file of a receiver process
	Slots    int    // batches that may be under way
	Batch    int    // most records in one
	SameKey  bool   // what comes again has to come under the key that it came with
}

// Report is what the evidence comes to.
type Report struct {
	Sent       int // different messages
	Promised   int // of those, acknowledged
	Stored     int // records in the file's frames
	Findings   []Finding
	Deliveries []Deliveries // of each sink
}

// Deliveries is what one sink received.
type Deliveries struct {
	Sink       string
	Records    int
	Distinct   int
	Duplicates int // records that it had already
	OtherKey   int // of those, under another key than before
	// MostRepeated is how many of the duplicates one crash has made at most.
	MostRepeated int
	Pending      int // records in the file that are owed to it and not decided
	Dead         int
}

// Finding is one way in which the evidence contradicts the promise.
type Finding struct {
	Invariant string // I1, I2 ...
	Sink      string // empty when it is about the file
	Count     int
	Example   string
}

func (f Finding) String() string {
	text := f.Invariant
	if f.Sink != "" {
		text += " " + f.Sink
	}
	return fmt.Sprintf("%s: %d times, such as: %s", text, f.Count, f.Example)
}

// Finding returns the first finding about an invariant, if there is one.
func (r *Report) Finding(invariant string) (Finding, bool) {
	for _, finding := range r.Findings {
		if finding.Invariant == invariant {
			return finding, true
		}
	}
	return Finding{}, false
}

// Err returns the findings as one error, nil when there are none.
func (r *Report) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	var lines []string
	for _, finding := range r.Findings {
		lines = append(lines, finding.String())
	}
	return fmt.Errorf("the verifier finds:\n%s", strings.Join(lines, "\n"))
}

func (r *Report) String() string {
	text := fmt.Sprintf("%d sent, %d acknowledged, %d stored", r.Sent, r.Promised, r.Stored)
	for _, sink := range r.Deliveries {
		text += fmt.Sprintf("; %s: %d distinct, %d duplicates (at most %d after a crash, %d under another key), %d pending, %d dead",
			sink.Sink, sink.Distinct, sink.Duplicates, sink.MostRepeated, sink.OtherKey, sink.Pending, sink.Dead)
	}
	return text
}

// Check reads all of the evidence and judges it. An error says that some of it
// could not be read at all.
func Check(run Run) (*Report, error) {
	c := &check{run: &run, findings: map[findingKey]*Finding{}, damaged: map[acklog.Identity]bool{}}
	if run.Damage != nil {
		for _, message := range run.Damage.Messages {
			c.damaged[message] = true
		}
	}
	if err := c.readLog(); err != nil {
		return nil, err
	}
	for _, sink := range run.Sinks {
		if err := c.readSink(sink); err != nil {
			return nil, fmt.Errorf("read what %s received: %w", sink.Name, err)
		}
	}
	if err := c.readQueue(); err != nil {
		return nil, fmt.Errorf("read the queue's file: %w", err)
	}
	c.judge()
	return c.report(), nil
}

// check is one call of Check.
type check struct {
	run      *Run
	fleet    fleet
	arrivals []*arrivals // of each sink of the run
	stored   int
	damaged  map[acklog.Identity]bool
	findings map[findingKey]*Finding
}

type findingKey struct{ invariant, sink string }

// find notes a contradiction. The first of its kind is the example.
func (c *check) find(invariant, sink, format string, arguments ...any) {
	key := findingKey{invariant, sink}
	if known := c.findings[key]; known != nil {
		known.Count++
		return
	}
	c.findings[key] = &Finding{Invariant: invariant, Sink: sink, Count: 1, Example: fmt.Sprintf(format, arguments...)}
}

// judge looks at every message and every sink, once everything is read.
func (c *check) judge() {
	for _, arrived := range c.arrivals {
		c.judgeRepeated(arrived)
		for _, device := range c.fleet.devices {
			c.judgePromises(arrived, device)
		}
		c.judgeDamage(arrived)
	}
}

// judgeRepeated compares what came again after each crash with what may: a batch
// for each slot. Where batches have keys they are counted, whatever their size.
func (c *check) judgeRepeated(arrived *arrivals) {
	sink := &arrived.sink
	for crash, repeated := range arrived.repeated {
		switch {
		case crash == 0:
			c.find("I3", sink.Name, "%d records came again before there was a crash", repeated.records)
		case sink.SameKey && len(repeated.keys) > sink.Slots:
			c.find("I3", sink.Name, "%d batches came again after crash %d, with %d records, and there are %d slots", len(repeated.keys), crash, repeated.records, sink.Slots)
		case repeated.records > sink.Slots*sink.Batch:
			c.find("I3", sink.Name, "%d records came again after crash %d, more than %d batches of %d", repeated.records, crash, sink.Slots, sink.Batch)
		}
		arrived.MostRepeated = max(arrived.MostRepeated, repeated.records)
	}
}

func (c *check) judgePromises(arrived *arrivals, device *device) {
	given := 0
	if c.run.MayGiveUp {
		given = arrived.givenUp[device.name]
	}
	for number, promised := range device.promised {
		if !promised || arrived.accounts(device, uint32(number)) {
			continue
		}
		if given > 0 {
			given--
			continue
		}
		if c.damaged[c.fleet.identity(device, uint32(number))] {
			continue
		}
		c.find("I1", arrived.sink.Name, "%s message %d was acknowledged %v after the generator's first; it was neither delivered nor is it kept (stored %d times)",
			device.name, number, device.promisedAt(uint32(number), c.fleet.firstAt), device.stored[number])
	}
}

// judgeDamage compares what damage has taken from a sink with what the loss report
// says.
func (c *check) judgeDamage(arrived *arrivals) {
	if c.run.Damage == nil {
		return
	}
	missing := int64(0)
	for identity := range c.damaged {
		device, message, known := c.fleet.message(identity.Device, identity.BootID, identity.Sequence)
		if known && !arrived.accounts(device, message) {
			missing++
		}
	}
	if want := c.run.Damage.Undecided[arrived.sink.Name]; arrived.quarantined != want || missing > want {
		c.find("I5", arrived.sink.Name, "%d messages in damaged frames were still owed, and %d did not arrive; the loss report says %d", want, missing, arrived.quarantined)
	}
}

func (c *check) report() *Report {
	report := &Report{Stored: c.stored}
	for _, device := range c.fleet.devices {
		report.Sent += len(device.stored)
		for _, promised := range device.promised {
			if promised {
				report.Promised++
			}
		}
	}
	for _, arrived := range c.arrivals {
		report.Deliveries = append(report.Deliveries, arrived.Deliveries)
	}
	for _, finding := range c.findings {
		report.Findings = append(report.Findings, *finding)
	}
	slices.SortFunc(report.Findings, func(a, b Finding) int { return strings.Compare(a.String(), b.String()) })
	return report
}

// doubted reports whether an acknowledgement promises nothing because of when it
// came.
func (r *Run) doubted(at time.Duration) bool {
	return slices.ContainsFunc(r.Doubted, func(while Interval) bool { return while.From <= at && at <= while.To })
}

// doubtedWall is doubted for a time of the wall clock, in nanoseconds.
func (r *Run) doubtedWall(nanoseconds int64) bool {
	return slices.ContainsFunc(r.Doubted, func(while Interval) bool {
		since := time.Duration(nanoseconds - while.Wall.UnixNano())
		return 0 <= since && since <= while.To-while.From
	})
}

// readLog takes what the generator says.
func (c *check) readLog() error {
	header, entries, err := acklog.Read(c.run.Log)
	if err != nil {
		return err
	}
	c.fleet = newFleet(header)
	for _, entry := range entries {
		if entry.Sent {
			c.fleet.device(entry.Device).sent(entry.Message)
		}
	}
	for _, entry := range entries {
		if entry.Sent || c.run.doubted(entry.At) {
			continue
		}
		if device := c.fleet.device(entry.Device); !device.promise(entry) {
			return fmt.Errorf("%s: message %d of %s was acknowledged and never sent", c.run.Log, entry.Message, device.name)
		}
		if c.fleet.firstAt == 0 {
			c.fleet.firstAt = entry.At
		}
	}
	return nil
}
