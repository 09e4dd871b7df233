package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// The files in the repository are what the program writes, no more and no less.
func TestBuild_NoDrift(t *testing.T) {
	want, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name := filepath.ToSlash(path[len("../"):])
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if expected, known := want[name]; !known {
				t.Errorf("%s is not written by the program", name)
			} else if !bytes.Equal(content, expected) {
				t.Errorf("%s differs", name)
			}
			delete(want, name)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
	if t.Failed() {
		t.Log("run `go run ./proto/vectors/generate`")
	}
}
