// Command generate writes the golden vectors of telemetry.
//
//	go run ./proto/vectors/generate            rewrites proto/vectors
//	go run ./proto/vectors/generate -out DIR   writes them elsewhere
//
// A vector states by hand what a payload means (valid.go, literals.go, limits.go)
// or why it is refused (refused.go, refused_protobuf.go); this program only
// spells it out. It shares no code with the server, so that the vectors can find
// the server wrong. Running it twice writes the same bytes: the one signature is
// deterministic (RFC 6979).
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	out := flag.String("out", "proto/vectors", "folder to write to")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	files, err := build()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.RemoveAll(filepath.Join(out, folder)); err != nil {
			return err
		}
	}
	for name, content := range files {
		name = filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// folders are what the program owns below proto/vectors.
var folders = []string{"valid", "invalid"}

// build returns the content of every file, by its path below proto/vectors.
func build() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, v := range slices.Concat(plain(), literals(), limits()) {
		if err := v.spell(files); err != nil {
			return nil, fmt.Errorf("valid/%s: %w", v.name, err)
		}
	}
	for _, r := range slices.Concat(refusedJSON(), refusedProtobuf()) {
		if err := r.spell(files); err != nil {
			return nil, fmt.Errorf("invalid/%s: %w", r.name, err)
		}
	}
	if err := signed(files); err != nil {
		return nil, fmt.Errorf("valid/signed: %w", err)
	}
	return files, nil
}

// add puts a file in place and refuses to write one twice.
func add(files map[string][]byte, content []byte, path ...string) error {
	name := strings.Join(path, "/")
	if _, taken := files[name]; taken {
		return fmt.Errorf("%s is written twice", name)
	}
	files[name] = content
	return nil
}
