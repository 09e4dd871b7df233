// Package harness runs the real programs for end-to-end tests and benchmarks:
// it builds them, starts them on free ports with folders of their own, watches
// them, kills them, and reads what they leave behind.
//
// A process that was started here never outlives its test: it is alone in a
// process group that is killed as a whole, and the kernel kills it when the
// test's process dies. Everything that waits has a deadline and says at its end
// what it waited for.
//
// The package does not judge; it returns errors and records, and tests decide.
// What all of them do about errors and ends is in [Main], [Must] and [AtEnd]. A
// [Process] and a [Receiver] are safe for concurrent use; a [Gateway] belongs to
// one goroutine.
package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Binaries are the programs under test and those that test them.
type Binaries struct {
	dir string
	// root is the folder of the product's module.
	root string
}

// Build builds every program of the product and of the test module into a new
// folder inside the test module, which Remove removes. It is called from a
// package of the test module.
func Build(ctx context.Context) (*Binaries, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	parent := filepath.Join(root, "test", ".tmp")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "bin-")
	if err != nil {
		return nil, err
	}
	b := &Binaries{dir: dir, root: root}
	for _, module := range []string{root, filepath.Join(root, "test")} {
		if err := goBuild(ctx, module, "-o", dir+string(filepath.Separator), "./cmd/..."); err != nil {
			return nil, errors.Join(err, b.Remove())
		}
	}
	// go test remembers which files of its module a test has looked at. Looking
	// at one that is new keeps it from taking the result of an older gateway for
	// that of this one.
	_, err = os.Stat(b.Path("gateway"))
	return b, err
}

// Remove removes the programs.
func (b *Binaries) Remove() error { return os.RemoveAll(b.dir) }

// Path returns where a program lies.
func (b *Binaries) Path(name string) string { return filepath.Join(b.dir, name) }

// Root returns the folder of the product's module.
func (b *Binaries) Root() string { return b.root }

// BuildPeer builds a program of somebody else's, from the module below
// test/peers that pins it, and returns where it lies.
func (b *Binaries) BuildPeer(ctx context.Context, name, program string) (string, error) {
	path := filepath.Join(b.dir, name)
	return path, goBuild(ctx, filepath.Join(b.root, "test", "peers", name), "-o", path, program)
}

func goBuild(ctx context.Context, module string, args ...string) error {
	command := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	command.Dir = module
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v in %s: %w\n%s", args, module, err, output)
	}
	return nil
}

// moduleRoot finds the product's module above the working directory: the parent
// of the test module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && filepath.Base(dir) == "test" {
			return filepath.Dir(dir), nil
		}
	}
	return "", errors.New("the working directory is not inside the test module")
}

// pollInterval is how often a real process is asked whether it is so far.
const pollInterval = 10 * time.Millisecond

// Poll asks until done returns true, or ctx ends: then the error says what was
// awaited, and what done last complained of.
func Poll(ctx context.Context, what string, done func() (bool, error)) error {
	return pollEvery(ctx, pollInterval, what, done)
}

func pollEvery(ctx context.Context, interval time.Duration, what string, done func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, last := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("await %s: %w", what, ctx.Err()), last)
		case <-ticker.C:
		}
	}
}

// CanConnect reports whether somebody listens on an address.
func CanConnect(address string) bool {
	connection, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return connection.Close() == nil
}
