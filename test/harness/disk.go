package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system in a file, whose power can be cut: everything that
// was not synced is gone then, and programs that still run get EIO. It needs
// root and a loop device, which goes away with the mount.
type Disk struct {
	image string
	path  string
}

// NewDisk makes a disk below dir and mounts it. The size is in bytes.
func NewDisk(dir string, size int64) (*Disk, error) {
	d := &Disk{image: filepath.Join(dir, "disk.img"), path: filepath.Join(dir, "disk")}
	if err := os.Mkdir(d.path, 0o755); err != nil {
		return nil, err
	}
	image, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(image.Truncate(size), image.Close()); err != nil {
		return nil, err
	}
	if err := run("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.Mount()
}

// Path returns where the disk is mounted.
func (d *Disk) Path() string { return d.path }

// Mount mounts the disk; after a cut that replays its journal. Nothing is written in
// the background that no program has asked for.
func (d *Disk) Mount() error {
	return run("mount", "-t", "ext4", "-o", "loop,noinit_itable", d.image, d.path)
}

// Unmount unmounts the disk. No program may have a file on it open. The kernel may let
// go of the last ones of a process a moment after it has ended.
func (d *Disk) Unmount() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	busy := Poll(ctx, "umount "+d.path, func() (bool, error) {
		err = unix.Unmount(d.path, 0)
		return !errors.Is(err, unix.EBUSY), err
	})
	return cmp.Or(busy, err)
}

// Remove removes a folder for good: without the sync it would be back after the
// next cut.
func (d *Disk) Remove(path string) error {
	folder, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(path), unix.Syncfs(int(folder.Fd())), folder.Close())
}

// WrittenBytes returns what was written to the device, the journal included, once
// nothing waits to be written. It counts from some time before the disk was made.
func (d *Disk) WrittenBytes() (int64, error) {
	folder, err := os.Open(d.path)
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	if err := unix.Syncfs(int(folder.Fd())); err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &stat); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(stat.Dev), unix.Minor(stat.Dev)))
	if err != nil {
		return 0, err
	}
	// Documentation/block/stat.rst: the seventh is sectors written, of 512 bytes.
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		return 0, fmt.Errorf("statistics of the device: %q", text)
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	return 512 * sectors, err
}

// What linux/ext4.h calls EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH.
const (
	shutdownRequest = 0x8004587D
	noLogFlush      = 2
)

// Cut cuts the power. A sync that is under way may still report success, though
// a machine without power would not: what is acknowledged from the beginning of
// Cut on promises nothing.
func (d *Disk) Cut() error {
	folder, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetPointerInt(int(folder.Fd()), shutdownRequest, noLogFlush), folder.Close())
}

func run(name string, args ...string) error {
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, output)
	}
	return nil
}
