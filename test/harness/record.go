package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"combotto.io/gateway/test/acklog"
)

// Record is the canonical record as a sink receives it.
type Record struct {
	CorrelationID string            `json:"correlation_id"`
	GatewayID     string            `json:"gateway_id"`
	DeviceID      string            `json:"device_id"`
	ReceiveTS     time.Time         `json:"receive_ts"`
	ObservedAt    string            `json:"observed_at"`
	BootID        string            `json:"boot_id"`
	Sequence      *uint64           `json:"sequence"`
	MessageID     string            `json:"message_id"`
	SchemaVersion int               `json:"schema_version"`
	Metrics       map[string]any    `json:"metrics"`
	Attributes    map[string]string `json:"attributes"`
	Source        string            `json:"source"`
	TraceParent   string            `json:"traceparent"`
	Verified      bool              `json:"verified"`
	Delivery      string            `json:"delivery"`
	Revision      int               `json:"revision"`

	ArrivedAt time.Time `json:"-"` // at the receiver; zero in a file sink
}

// Identity is what the device calls the message.
func (r *Record) Identity() acklog.Identity {
	identity := acklog.Identity{Device: r.DeviceID, BootID: r.BootID}
	if r.Sequence != nil {
		identity.Sequence = *r.Sequence
	}
	return identity
}

// ReadFileSink calls each for every record in the folder of a file sink, file by
// file in the order of their names. The order of names is that of positions.
func ReadFileSink(dir string, each func(*Record) error) error {
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".ndjson") {
			files = append(files, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read file sink: %w", err)
	}
	slices.Sort(files)
	for _, path := range files {
		err := readLines(path, func(line []byte) error {
			var record Record
			if err := json.Unmarshal(line, &record); err != nil {
				return err
			}
			return each(&record)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadReceived calls each for every record that a receiver process wrote down.
// A line is the time of arrival in nanoseconds, the key of the batch or a
// hyphen, and the record.
func ReadReceived(path string, each func(*Record) error) error {
	err := readLines(path, func(line []byte) error {
		arrived, rest, _ := bytes.Cut(line, []byte{' '})
		_, text, found := bytes.Cut(rest, []byte{' '})
		nanoseconds, err := strconv.ParseInt(string(arrived), 10, 64)
		if !found || err != nil {
			return fmt.Errorf("no time of arrival and key in %.80q", line)
		}
		record := Record{ArrivedAt: time.Unix(0, nanoseconds)}
		if err := json.Unmarshal(text, &record); err != nil {
			return err
		}
		return each(&record)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readLines calls each for every line. A last line that is not finished is an
// error: no sink may leave one once everything is at rest.
func readLines(path string, each func(line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	for number := 1; ; number++ {
		line, err := reader.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err == nil {
			err = each(bytes.TrimSuffix(line, []byte{'\n'}))
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, number, err)
		}
	}
}
