// Package overlay makes versions of the product's source that exist during one
// build only: with a known fault, for tests that have to show that they would
// find it, or with a place at which a process dies. The tree is not touched; the
// go command is told to read other files.
//
// A text that is not where it is expected is an error, so that overlays follow
// the code. The package is used by tests only, in both modules.
package overlay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Overlay is what differs from the tree: places that are changed, and files that
// are added.
type Overlay struct {
	Changes []Change
	Added   map[string]string // text by path below the root of the product's module
}

// Change replaces a text that a file holds exactly once.
type Change struct {
	File string // below the root of the product's module, or absolute, as one of Go's own
	Old  string
	New  string
}

// Write writes the files of an overlay into a folder, and with them the list
// that go build takes with -overlay. Root is the folder of the product's module.
func (o Overlay) Write(root, folder string) (list string, err error) {
	texts := map[string]string{}
	for file, text := range o.Added {
		texts[source(root, file)] = text
	}
	for _, change := range o.Changes {
		path := source(root, change.File)
		text, known := texts[path]
		if !known {
			original, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("write overlay: %w", err)
			}
			text = string(original)
		}
		if count := strings.Count(text, change.Old); count != 1 {
			return "", fmt.Errorf("%s holds this text %d times, want once; adapt the overlay:\n%s", change.File, count, change.Old)
		}
		texts[path] = strings.Replace(text, change.Old, change.New, 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(folder, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
	}
	description, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	list = filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(list, description, 0o600); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return list, nil
}

// Compile compiles the packages of the product's module that an overlay touches,
// and nothing that imports them: that takes two seconds, or none when it was done
// before. Its error says what to adapt after the code has moved on. Folder is for
// its files.
func (o Overlay) Compile(ctx context.Context, root, folder string) error {
	list, err := o.Write(root, folder)
	if err != nil {
		return err
	}
	files := slices.Collect(maps.Keys(o.Added))
	for _, change := range o.Changes {
		files = append(files, change.File)
	}
	command := exec.CommandContext(ctx, "go", "build", "-overlay", list)
	for _, file := range files {
		if folder := "./" + path.Dir(file); !filepath.IsAbs(file) && !slices.Contains(command.Args, folder) {
			command.Args = append(command.Args, folder)
		}
	}
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compile overlay: %w; adapt it:\n%s", err, output)
	}
	return nil
}

// source returns where a file of an overlay really is.
func source(root, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(root, filepath.FromSlash(file))
}

// Root returns the folder of the module that the working directory, which is
// that of the test, belongs to.
func Root() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); !errors.Is(err, fs.ErrNotExist) {
			return folder, err
		}
	}
	return "", errors.New("no go.mod above the working directory")
}
