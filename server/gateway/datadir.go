package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// ErrInUse says that another process works on the data folder.
var ErrInUse = errors.New("data folder is in use by another process")

// dataDir is the folder that everything durable lives in, held by a lock for as
// long as the process uses it.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the folder when it is missing and takes its lock. It fails
// with [ErrInUse] at once when another process holds it.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of data folder: %w", err)
	}
	if err := lockFolder(lock, path); err != nil {
		return nil, err
	}
	if err := (sqlite.Disk{}).GiveAway(lock.Name(), path); err != nil { // root may restore a backup here
		return nil, errors.Join(err, lock.Close())
	}
	return &dataDir{path: path, lock: lock}, nil
}

// gatewayID returns the id that the operator configured, or else the one that
// was made when the folder was new.
func (d *dataDir) gatewayID(configured string) (edge.GatewayID, error) {
	if configured != "" {
		return edge.GatewayID(configured), nil
	}
	path := filepath.Join(d.path, "gateway_id")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails since Go 1.24
		text = []byte("gw-" + hex.EncodeToString(random[:]))
		err = writeFileSynced(path, text)
	}
	if err != nil {
		return "", fmt.Errorf("read gateway id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if !edge.ValidGatewayID(id) {
		return "", fmt.Errorf("read gateway id: %s holds %.80q, which is not an id: restore it, or set --gateway-id", path, id)
	}
	return edge.GatewayID(id), nil
}

// queueText in the lock says that a queue was made in the folder.
const queueText = "a queue was made here; if queue.db is gone, somebody has removed it\n"

// hadQueue reports whether a queue was made in the folder before.
func (d *dataDir) hadQueue() (bool, error) {
	lock, err := d.lock.Stat()
	if err != nil {
		return false, fmt.Errorf("look whether there was a queue: %w", err)
	}
	return lock.Size() > 0, nil
}

// rememberQueue keeps in mind that there is a queue.
func (d *dataDir) rememberQueue() error {
	_, err := d.lock.WriteAt([]byte(queueText), 0)
	if err == nil {
		err = d.lock.Sync()
	}
	if err != nil {
		return fmt.Errorf("note that there is a queue: %w", err)
	}
	return nil
}

// inPlace fails when the folder no longer holds the lock: another process would
// take the folder for free.
func (d *dataDir) inPlace() error {
	held, err := d.lock.Stat()
	if err != nil {
		return nil // nothing is known
	}
	path := filepath.Join(d.path, lockFile)
	found, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(held, found) {
		err := &sqlite.TakenAwayError{Path: path}
		return fmt.Errorf("%w; hint: %s", err, sqlite.Hint(err))
	}
	return nil
}

// close gives the folder back.
func (d *dataDir) close() error { return d.lock.Close() }

// writeFileSynced writes a small file so that a power cut leaves all of it or
// nothing.
func writeFileSynced(path string, text []byte) error {
	temporary := path + ".tmp"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
