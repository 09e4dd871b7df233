package analytics

import (
	"slices"
	"sort"
)

const (
	bootsMax = 8   // of one device; the oldest is folded into the totals
	runsMax  = 256 // of one boot; the lowest gap is folded into the totals
)

// device is what arrived of one device.
type device struct {
	records    int64
	inversions int64 // arrived after a higher sequence of the same boot
	repeated   int64 // another record with a sequence that has arrived
	forgotten  int64 // missing from boots that fell out of the bound
	boots      []*boot
}

// boot is which sequences arrived of one start of a device.
//
//	runs: [4..9] [11..11] [15..40]     missing: 10, 12, 13, 14
type boot struct {
	id        string
	runs      []run // ascending, with gaps between them
	forgotten uint64
}

type run struct{ first, last uint64 }

// track counts a record that is new. The receiver's lock is held.
func (r *Receiver) track(record *record) {
	found, ok := r.devices[record.DeviceID]
	if !ok && len(r.devices) < devicesMax {
		found = &device{}
		r.devices[record.DeviceID] = found
	}
	if found == nil {
		r.counts.Untracked++
		return
	}
	found.records++
	if record.Sequence == nil || record.BootID == "" {
		r.counts.Untracked++
		return
	}
	late, repeated := found.boot(record.BootID).add(*record.Sequence)
	if late && record.inOrder() {
		found.inversions++
	}
	if repeated {
		found.repeated++
	}
}

func (d *device) boot(id string) *boot {
	for _, boot := range slices.Backward(d.boots) {
		if boot.id == id {
			return boot
		}
	}
	if len(d.boots) == bootsMax {
		d.forgotten += d.boots[0].missing()
		d.boots = slices.Delete(d.boots, 0, 1)
	}
	boot := &boot{id: id}
	d.boots = append(d.boots, boot)
	return boot
}

func (d *device) missing() int64 {
	missing := d.forgotten
	for _, boot := range d.boots {
		missing += boot.missing()
	}
	return missing
}

// add notes that a sequence arrived. It is late when a higher one was there
// first, repeated when it was there itself.
func (b *boot) add(sequence uint64) (late, repeated bool) {
	// The first run that ends at the sequence or behind it.
	at := sort.Search(len(b.runs), func(i int) bool { return b.runs[i].last >= sequence })
	late = at < len(b.runs)
	if late && b.runs[at].first <= sequence {
		return late, true
	}
	joinsLeft := at > 0 && b.runs[at-1].last+1 == sequence
	joinsRight := late && b.runs[at].first == sequence+1
	switch {
	case joinsLeft && joinsRight:
		b.runs[at-1].last = b.runs[at].last
		b.runs = slices.Delete(b.runs, at, at+1)
	case joinsLeft:
		b.runs[at-1].last = sequence
	case joinsRight:
		b.runs[at].first = sequence
	default:
		b.runs = slices.Insert(b.runs, at, run{sequence, sequence})
	}
	if len(b.runs) > runsMax {
		b.forgotten += b.runs[1].first - b.runs[0].last - 1
		b.runs[1].first = b.runs[0].first
		b.runs = slices.Delete(b.runs, 0, 1)
	}
	return late, false
}

// missing counts the sequences between the lowest and the highest that have not
// arrived. What is missing before the first or after the last one cannot be
// known here.
func (b *boot) missing() int64 {
	missing := b.forgotten
	for i := 1; i < len(b.runs); i++ {
		missing += b.runs[i].first - b.runs[i-1].last - 1
	}
	return int64(missing)
}
