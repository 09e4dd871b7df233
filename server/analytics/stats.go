package analytics

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
)

// pageDevices is how many devices the page shows; /stats has them all.
const pageDevices = 20

// Stats is what arrived.
type Stats struct {
	Counts
	Missing    int64         `json:"missing"`
	Inversions int64         `json:"inversions"`
	Repeated   int64         `json:"repeated"`
	Devices    []DeviceStats `json:"devices"` // by device id
}

// DeviceStats is what arrived of one device.
type DeviceStats struct {
	DeviceID   string `json:"device_id"`
	Records    int64  `json:"records"` // without duplicates
	Missing    int64  `json:"missing"`
	Inversions int64  `json:"inversions"`
	Repeated   int64  `json:"repeated"`          // another record with a sequence that has arrived
	BootID     string `json:"boot_id,omitempty"` // of the newest boot
	Last       uint64 `json:"last_sequence"`     // the highest of it
}

// Stats returns what arrived until now.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := Stats{Counts: r.counts, Devices: make([]DeviceStats, 0, len(r.devices))}
	for id, device := range r.devices {
		one := DeviceStats{
			DeviceID: id, Records: device.records, Missing: device.missing(),
			Inversions: device.inversions, Repeated: device.repeated,
		}
		if len(device.boots) > 0 {
			newest := device.boots[len(device.boots)-1]
			one.BootID, one.Last = newest.id, newest.runs[len(newest.runs)-1].last
		}
		stats.Missing += one.Missing
		stats.Inversions += one.Inversions
		stats.Repeated += one.Repeated
		stats.Devices = append(stats.Devices, one)
	}
	slices.SortFunc(stats.Devices, func(a, b DeviceStats) int { return cmp.Compare(a.DeviceID, b.DeviceID) })
	return stats
}

// page is for people: the totals, then the devices with the most missing.
func (r *Receiver) page(w http.ResponseWriter, _ *http.Request) {
	stats := r.Stats()
	slices.SortStableFunc(stats.Devices, func(a, b DeviceStats) int { return cmp.Compare(b.Missing, a.Missing) })
	var page strings.Builder
	fmt.Fprintf(&page, "Reference receiver of the gateway. POST /ingest, GET /stats, PUT /faults.\n\n")
	fmt.Fprintf(&page, "%d requests (%d failed), %d records: %d unique, %d duplicates, %d rejected\n",
		stats.Requests, stats.Failed, stats.Received, stats.Unique, stats.Duplicates, stats.Rejected)
	fmt.Fprintf(&page, "%d missing, %d out of order, %d repeated sequences, on %d devices\n\n",
		stats.Missing, stats.Inversions, stats.Repeated, len(stats.Devices))
	table := tabwriter.NewWriter(&page, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "device\trecords\tmissing\tout of order\tboot\tlast sequence")
	for _, device := range stats.Devices[:min(pageDevices, len(stats.Devices))] {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%d\n", device.DeviceID, device.Records, device.Missing, device.Inversions, device.BootID, device.Last)
	}
	_ = table.Flush() // into memory
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(page.String()))
}
