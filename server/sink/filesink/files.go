package filesink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"combotto.io/gateway/server/edge"
)

const (
	dirMode  fs.FileMode = 0o750
	fileMode fs.FileMode = 0o640
	current              = ".current"
	pattern              = "????-??-??/??-????????????????????.ndjson"
	// scanChunk is how much of the end of a file is read at a time in search of
	// its last line feed.
	scanChunk = 64 << 10
)

var errTakenAway = errors.New("the file was removed or replaced while it was being written")

// files is the folder. Whoever uses it has the sink's turn.
type files struct {
	dir  string
	log  *slog.Logger
	sync func(dir string) error // of a folder; a test puts another in its place

	claimed *os.File // what others have to lock; nil when the next batch has to

	file *os.File // nil when the next batch has to open one
	path string   // of file, below dir
	hour string   // of file
	size int64    // of what is synced; a failed write is cut back to here
	// clean is true when no file can end in half a line: at the start, and after
	// a write that failed, the last file has to be looked at first.
	clean bool
	// mended is true once the file that another process was writing has been
	// looked at. That file is resumed in its hour, so that the order of names is
	// that of delivery also across a crash: the batches that come again may begin
	// below the position in its name.
	mended bool
	resume string
	// last is the file that was written last, below dir. The next one in its hour
	// gets a name behind it, though its first batch may lie before: batches of
	// several slots come in any order.
	last string
	// unsynced are folders in which one was made whose name is not durable yet.
	unsynced []string
}

func newFiles(dir string, log *slog.Logger) *files {
	return &files{dir: dir, log: log, sync: syncDir}
}

// append writes lines to the file of the hour and syncs it. It returns the
// file's path below the folder.
func (f *files) append(lines []byte, first edge.Position, now time.Time) (string, error) {
	if err := f.claim(); err != nil {
		return "", err
	}
	if err := f.mend(); err != nil {
		return "", err
	}
	if hour := now.Format("2006-01-02/15"); f.file == nil || hour != f.hour || !f.inPlace() {
		if err := f.roll(hour, first); err != nil {
			return "", err
		}
	}
	if err := f.write(lines); err != nil {
		f.abandon()
		return "", fmt.Errorf("append to %s: %w", f.path, err)
	}
	f.size += int64(len(lines))
	f.last = f.path
	return f.path, nil
}

// write puts lines behind what is synced. It looks once more whether the file is
// in its place, so that whatever was acknowledged after a file had been removed
// is in the folder; beside the sync that costs nothing.
func (f *files) write(lines []byte) error {
	if _, err := f.file.WriteAt(lines, f.size); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	if !f.inPlace() {
		return errTakenAway
	}
	return nil
}

// inPlace reports whether the path still leads to the open file, and the file
// still holds what was synced. Writing on into a removed file would lose the
// records; into one that was emptied, it would leave a hole before them.
func (f *files) inPlace() bool {
	opened, err := f.file.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(filepath.Join(f.dir, f.path))
	return err == nil && os.SameFile(opened, found) && found.Size() >= f.size
}

// roll opens the file of an hour, which exists when the same batch was begun
// before, or when another process was writing it in this hour.
func (f *files) roll(hour string, first edge.Position) error {
	if err := f.close(); err != nil {
		return err
	}
	name := nameOf(hour, first)
	if strings.HasPrefix(f.last, hour+"-") && name <= f.last {
		name = nameBehind(hour, f.last)
	}
	if strings.HasPrefix(f.resume, hour+"-") {
		name = f.resume
	}
	day := filepath.Join(f.dir, path.Dir(name))
	if err := f.makeDir(day); err != nil {
		return err
	}
	if err := f.setCurrent(name); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	size, err := f.cut(file)
	if err == nil {
		err = f.sync(day) // or a power cut may lose the name of a synced file
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return fmt.Errorf("open %s: %w", name, err)
	}
	f.file, f.path, f.hour, f.size, f.resume = file, name, hour, size, ""
	return nil
}

func nameOf(hour string, first edge.Position) string {
	return fmt.Sprintf("%s-%020d.ndjson", hour, first)
}

// nameBehind returns the next name in the hour of a file.
func nameBehind(hour, file string) string {
	digits := strings.TrimSuffix(strings.TrimPrefix(file, hour+"-"), ".ndjson")
	position, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return file // nothing but this package names files, and it could be read
	}
	return nameOf(hour, edge.Position(position+1))
}

// abandon takes back a write that failed, as far as the disk lets it. The next
// batch goes to another file: after a failed sync nobody knows which pages of
// this one are on the disk, and syncing again would not tell.
func (f *files) abandon() {
	f.clean = f.file.Truncate(f.size) == nil
	if f.size == 0 && f.inPlace() {
		_ = os.Remove(filepath.Join(f.dir, f.path))
	}
	_ = f.file.Close()
	f.file = nil
}

func (f *files) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// mend cuts half a line off the file that was being written when the process,
// or a write, ended badly.
func (f *files) mend() error {
	if f.clean {
		return nil
	}
	name, err := os.ReadFile(filepath.Join(f.dir, current))
	if errors.Is(err, fs.ErrNotExist) {
		f.clean, f.mended = true, true
		return nil
	}
	if err != nil {
		return err
	}
	last := strings.TrimSpace(string(name))
	if match, _ := path.Match(pattern, last); !match {
		f.log.Warn("file sink ignores a .current that names no file of its own", "dir", f.dir, "names", last)
		f.clean, f.mended = true, true
		return nil
	}
	found, err := f.mendFile(last)
	if err != nil {
		return fmt.Errorf("mend %s: %w", last, err)
	}
	switch {
	case found && !f.mended:
		f.resume = last
	case !found && !f.mended:
		f.last = last // a crash came before the file; the ones before it have lower names
	}
	f.clean, f.mended = true, true
	return nil
}

func (f *files) mendFile(name string) (found bool, err error) {
	file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.cut(file)
	return true, errors.Join(err, file.Close())
}

// cut removes half a line from the end of the file and returns the size of
// what is left. Half a line was never acknowledged: its record comes again.
func (f *files) cut(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	end, err := endOfLastLine(file, info.Size())
	if err != nil || end == info.Size() {
		return end, err
	}
	f.log.Warn("file sink cut half a line off a file that was being written", "file", file.Name(), "bytes", info.Size()-end)
	if err := file.Truncate(end); err != nil {
		return 0, err
	}
	return end, file.Sync()
}

// endOfLastLine returns the offset behind the last line feed, 0 without one.
func endOfLastLine(file io.ReaderAt, size int64) (int64, error) {
	chunk := make([]byte, scanChunk)
	for end := size; end > 0; {
		start := max(0, end-scanChunk)
		part := chunk[:end-start]
		if _, err := file.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// setCurrent names the file that is about to be written, durably: it is where
// mend looks after a crash. It is replaced as a whole, so that it is never half
// written itself.
func (f *files) setCurrent(name string) error {
	replacement := filepath.Join(f.dir, current+".new")
	file, err := os.OpenFile(replacement, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(name + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(replacement, filepath.Join(f.dir, current)); err != nil {
		return err
	}
	return f.sync(f.dir)
}

// makeDir makes a folder with those above it, and their names durable. A sync that
// fails is made up for by the next call, which finds the folder there.
func (f *files) makeDir(dir string) error {
	if err := f.makeDirs(dir); err != nil {
		return err
	}
	for ; len(f.unsynced) > 0; f.unsynced = f.unsynced[1:] {
		// One that was taken away meanwhile holds nothing.
		if err := f.sync(f.unsynced[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f *files) makeDirs(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := f.makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f.unsynced = append(f.unsynced, parent)
	return nil
}

// syncDir makes the names in a folder durable. A network file system that
// cannot do that says EINVAL, and is then trusted to do it by itself.
func syncDir(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = folder.Sync(); errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, folder.Close())
}
