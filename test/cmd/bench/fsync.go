package main

import (
	"os"
	"path/filepath"
	"time"
)

// fsyncLength is how long the disk itself is measured beside a round.
const fsyncLength = 500 * time.Millisecond

// measureDisk notes how long the disk itself takes: 4 KiB over and over in one
// place, and fsync.
func (b *bench) measureDisk() error {
	file, err := os.Create(filepath.Join(b.folder, "fsync"))
	if err != nil {
		return err
	}
	defer file.Close()
	page := make([]byte, 4096)
	for end := time.Now().Add(fsyncLength); time.Now().Before(end); {
		began := time.Now()
		if _, err := file.WriteAt(page, 0); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		b.report.fsync = append(b.report.fsync, time.Since(began))
	}
	return nil
}
