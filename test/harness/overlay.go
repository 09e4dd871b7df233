package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"combotto.io/gateway/server/sim/overlay"
)

// Overlay is a version of the product's source that exists during one build
// only.
type Overlay struct {
	Changes []Change
	Added   map[string]string // text by path below the root of the product's module
	Flags   []string          // further ones of go build
	Program string            // of the product; empty is the gateway
}

// Change replaces a text that a file holds exactly once.
type Change = overlay.Change

// BuildOverlay builds a program from an overlay and returns where it lies. A
// text that is not there exactly once is an error: overlays must follow the
// code.
func (b *Binaries) BuildOverlay(ctx context.Context, name string, o Overlay) (path string, err error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	list, err := overlay.Overlay{Changes: o.Changes, Added: o.Added}.Write(b.root, dir)
	if err != nil {
		return "", fmt.Errorf("overlay %s: %w", name, err)
	}
	path = filepath.Join(b.dir, name)
	args := append([]string{"-overlay", list, "-o", path}, o.Flags...)
	return path, goBuild(ctx, b.root, append(args, "./cmd/"+cmp.Or(o.Program, "gateway"))...)
}

// CompileOverlay compiles the packages that an overlay touches. Unlike building a
// gateway this takes no time when nothing has changed.
func CompileOverlay(ctx context.Context, o Overlay) (err error) {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return overlay.Overlay{Changes: o.Changes, Added: o.Added}.Compile(ctx, root, dir)
}
