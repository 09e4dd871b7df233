package queue

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// notReplacements are what may lie under the name of a finished replacement without being
// one: each takes the path of the queue's file and that name.
var notReplacements = map[string]func(t *testing.T, path, name string) error{
	"Empty":   func(_ *testing.T, _, name string) error { return os.WriteFile(name, nil, 0o600) },
	"Garbage": func(_ *testing.T, _, name string) error { return os.WriteFile(name, make([]byte, 5000), 0o600) },
	"Folder":  func(_ *testing.T, _, name string) error { return os.MkdirAll(name+"/full", 0o700) },
	"Link":    func(_ *testing.T, path, name string) error { return os.Symlink(path, name) },
	"Pipe":    func(_ *testing.T, _, name string) error { return syscall.Mkfifo(name, 0o600) },
	"PipeBeside": func(_ *testing.T, _, name string) error {
		return errors.Join(os.WriteFile(name, make([]byte, 5000), 0o600), syscall.Mkfifo(name+"-wal", 0o600))
	},
	"Damaged": func(t *testing.T, path, name string) error {
		copied := copyOf(t, path, name)
		damageIn(t, name, 5)
		inFile(t, name, "UPDATE ledger SET counted = 3") // structural
		return copied
	},
	"OfAnother": func(t *testing.T, path, name string) error {
		other := stopped(t)
		for logOf(t, other) == logOf(t, path) { // there are not many
			other = stopped(t)
		}
		return copyOf(t, other, name)
	},
	"Older": func(t *testing.T, path, name string) error {
		copied := copyOf(t, path, path+".copy")
		q, stop := run(t, Settings{Path: path})
		accepted(t, q, large(100, 1))
		stop()
		return errors.Join(copied, os.Rename(path+".copy", name))
	},
}

func logOf(t *testing.T, path string) uint16 {
	t.Helper()
	q, stop := run(t, Settings{Path: path})
	defer stop()
	return q.logs.Current
}

func copyOf(t *testing.T, from, to string) error {
	t.Helper()
	content, err := os.ReadFile(from)
	return errors.Join(err, os.WriteFile(to, content, 0o600))
}

// What a start finds under the name of a finished replacement takes the place of the
// queue's file only when it is one. Otherwise it is kept, the log says so, and no message
// that waits is lost by it.
func TestOpen_SetsUnfitReplacementAside(t *testing.T) {
	for _, suffix := range []string{".compacted", ".restored", ".salvaged", ".rebuilt"} {
		for name, put := range notReplacements {
			t.Run(suffix[1:]+"/"+name, func(t *testing.T) {
				path := stopped(t)
				if err := put(t, path, path+suffix); err != nil {
					t.Fatal(err)
				}
				if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path); err != nil || v.Path != path || v.Found != 0 || len(v.Notes) == 0 {
					t.Errorf("verify looks at %s, finds %d problems, notes %v, error %v", v.Path, v.Found, v.Notes, err)
				}
				log := logged(t, Settings{Path: path})
				kept := path + suffix + ".unfit-1"
				if !strings.Contains(log, "was set aside") || !strings.Contains(log, kept) || strings.Contains(log, "has taken the place") {
					t.Errorf("the log says: %s", log)
				}
				if !isThere(t, kept) || isThere(t, path+suffix) {
					t.Errorf("it is not kept: %v", leftBeside(t, path))
				}
				q, stop := run(t, Settings{Path: path})
				defer stop()
				want := []edge.Position{4, 5, 6}
				if name == "Older" {
					want = append(want, 7)
				}
				if got := PositionsOf(leaseAll(t, q, 1)); !slices.Equal(got, want) {
					t.Errorf("leased %v, want %v", got, want)
				}
			})
		}
	}
}

// A folder under the name of what is half made keeps no start from serving.
func TestOpen_SetsFolderAside(t *testing.T) {
	path := stopped(t)
	if err := os.MkdirAll(path+".building/full", 0o700); err != nil {
		t.Fatal(err)
	}
	if log := logged(t, Settings{Path: path}); !strings.Contains(log, path+".building.unfit-1") || !isThere(t, path+".building.unfit-1/full") {
		t.Errorf("it is not kept: %v; the log says: %s", leftBeside(t, path), log)
	}
	if log := logged(t, Settings{Path: path}); strings.Count(log, path+".building.unfit-1") != 1 {
		t.Errorf("the next start does not name it: %s", log)
	}
}

// Whatever a start, or an operation, fails at: it tells of every file that it has moved
// before.
func TestOpen_TellsOfMovedFiles(t *testing.T) {
	disk := simulated(t, 0)
	settings := simulatedSettings(disk)
	f := openOn(t, settings)
	f.append(t, 3)
	f.stop()
	foreign := func(names ...string) {
		for _, name := range names {
			file, err := settings.Disk.Open(settings.Path+name, os.O_WRONLY|os.O_CREATE)
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	foreign(".rebuilt", ".compacted")
	broken := simdisk.Fault{Calls: simdisk.Rename, Path: ".compacted", Err: syscall.EIO}
	disk.Inject(broken)
	log, err := loggedStart(t, settings)
	if err == nil || !strings.Contains(log, settings.Path+".rebuilt.unfit-1") {
		t.Errorf("a start fails with %v, and the log says: %s", err, log)
	}
	want := queuefile.MovedFile{Path: settings.Path + ".rebuilt", Unfit: "it is empty", OldFiles: queuefile.OldFiles{Kept: settings.Path + ".rebuilt.unfit-2"}}
	for name, operation := range map[string]func() ([]queuefile.MovedFile, error){
		"Compact": func() ([]queuefile.MovedFile, error) {
			done, err := queuefile.Compact(t.Context(), settings.Disk, settings.Path)
			return done.Moved, err
		},
		"Repair": func() ([]queuefile.MovedFile, error) {
			done, err := queuefile.Repair(t.Context(), settings.Disk, settings.Path, true)
			return done.Moved, err
		},
		"Restore": func() ([]queuefile.MovedFile, error) {
			done, err := queuefile.Restore(t.Context(), settings.Disk, "/backup.db", settings.Path, true, Renew)
			return done.Moved, err
		},
	} {
		foreign(".rebuilt")
		moved, err := operation()
		if len(moved) == 1 {
			moved[0].Kept = want.Kept // counts on
		}
		if diff := cmp.Diff([]queuefile.MovedFile{want}, moved); diff != "" || err == nil {
			t.Errorf("%s fails with %v, and has moved: %s", name, err, diff)
		}
	}
	disk.Heal()
	done, err := queuefile.Compact(t.Context(), settings.Disk, settings.Path)
	if err != nil || len(done.Moved) != 1 || done.Moved[0].Path != settings.Path+".compacted" {
		t.Errorf("when it can be moved: %+v, %v", done, err)
	}
	serveAll(t, disk, 3)
}

// A start that could not put the salvaged file in the place of the old one serves no
// empty one instead; the next one goes on.
func TestOpen_SalvagedFileHasNoPlace(t *testing.T) {
	disk := simulated(t, 0)
	damagedOnDisk(t, disk, 4, true)
	for _, suffix := range []string{".salvaged", ".rebuilt"} {
		disk.Inject(simdisk.Fault{Calls: simdisk.Rename, Path: suffix, Err: syscall.EIO})
	}
	settings := simulatedSettings(disk)
	if log, err := loggedStart(t, settings); err == nil || !strings.Contains(err.Error(), settings.Path+".damaged-") {
		t.Errorf("the start ends with %v; the log says: %s", err, log)
	}
	disk.Heal()
	serveAll(t, disk, 4)
}

// What an operation has finished takes the place of the file that it was made of, also
// when that one was left by a crash, and has a WAL.
func TestOpen_FinishesReplacement(t *testing.T) {
	for suffix, operation := range map[string]func(t *testing.T, backup, path string) error{
		".compacted": func(t *testing.T, _, path string) error {
			_, err := queuefile.Compact(t.Context(), sqlite.Disk{}, path)
			return err
		},
		".restored": func(t *testing.T, backup, path string) error {
			_, err := queuefile.Restore(t.Context(), sqlite.Disk{}, backup, path, true, Renew)
			return err
		},
		".rebuilt": func(t *testing.T, _, path string) error {
			_, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, path)
			return err
		},
	} {
		t.Run(suffix[1:], func(t *testing.T) {
			path, backup := stopped(t), t.TempDir()+"/backup.db"
			if err := copyOf(t, path, backup); err != nil {
				t.Fatal(err)
			}
			q, stop := run(t, Settings{Path: path})
			accepted(t, q, large(100, 1))
			source := crashed(t, q)
			stop()
			other := Crashed(t, source)
			if err := operation(t, backup, other); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, source+suffix); err != nil {
				t.Fatal(err)
			}
			if v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, source); err != nil || v.Path != source+suffix || v.Found != 0 {
				t.Errorf("verify looks at %s, finds %d problems, error %v", v.Path, v.Found, err)
			}
			if log := logged(t, Settings{Path: source}); strings.Contains(log, "was set aside") || !strings.Contains(log, "has taken the place") {
				t.Errorf("the log says: %s", log)
			}
			if isThere(t, source+suffix) || isThere(t, source+suffix+".unfit-1") {
				t.Errorf("it was not taken: %v", leftBeside(t, source))
			}
		})
	}
}

// Where nothing is left of the file that is replaced, the replacement is all there is: what
// is damaged of it is salvaged. What holds nothing is set aside all the same.
func TestOpen_OnlyReplacementIsLeft(t *testing.T) {
	t.Run("Damaged", func(t *testing.T) {
		path := stopped(t)
		rewrite(t, path, func(b []byte) []byte { clear(b[:100]); return b })
		if err := os.Rename(path, path+".restored"); err != nil {
			t.Fatal(err)
		}
		q, stop := run(t, Settings{Path: path})
		defer stop()
		if got := PositionsOf(leaseAll(t, q, 1)); !slices.Equal(got, []edge.Position{4, 5, 6}) || q.Stats().Salvaged != 1 {
			t.Errorf("leased %v, %d files salvaged", got, q.Stats().Salvaged)
		}
	})
	t.Run("Empty", func(t *testing.T) {
		path := stopped(t)
		if err := errors.Join(os.Remove(path), os.WriteFile(path+".compacted", nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		q, stop := run(t, Settings{Path: path, Known: true})
		defer stop()
		if !isThere(t, path+".compacted.unfit-1") || q.Head() < 1<<39 {
			t.Errorf("the head is %d; there are %v", q.Head(), leftBeside(t, path))
		}
	})
}
