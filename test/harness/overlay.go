package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Overlay is a version of the product's source that exists during one build
// only: places that are changed, and files that are added. The tree is not
// touched.
type Overlay struct {
	Changes []Change
	Added   map[string]string // text by path below the root of the product's module
	Flags   []string          // further ones of go build
}

// Change replaces a text that a file holds exactly once.
type Change struct {
	File string // below the root of the product's module, or absolute, as one of Go's own
	Old  string
	New  string
}

// BuildOverlay builds the gateway from an overlay and returns where it lies. A
// text that is not there exactly once is an error: overlays must follow the
// code.
func (b *Binaries) BuildOverlay(ctx context.Context, name string, overlay Overlay) (path string, err error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	texts := map[string]string{}
	for file, text := range overlay.Added {
		texts[file] = text
	}
	for _, change := range overlay.Changes {
		text, known := texts[change.File]
		if !known {
			original, err := os.ReadFile(b.source(change.File))
			if err != nil {
				return "", fmt.Errorf("overlay %s: %w", name, err)
			}
			text = string(original)
		}
		if count := strings.Count(text, change.Old); count != 1 {
			return "", fmt.Errorf("overlay %s: %s holds this text %d times, want once; adapt the overlay:\n%s", name, change.File, count, change.Old)
		}
		texts[change.File] = strings.Replace(text, change.Old, change.New, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		replaced := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replaced, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[b.source(file)] = replaced
	}
	description, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, description, 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(b.dir, name)
	args := append([]string{"-overlay", list, "-o", path}, overlay.Flags...)
	return path, goBuild(ctx, b.root, append(args, "./cmd/gateway")...)
}

// source returns where a file of an overlay really is.
func (b *Binaries) source(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(b.root, filepath.FromSlash(file))
}
