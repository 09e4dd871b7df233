package queue_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFiles holds the map in the package comment to the files that there are.
func TestFiles(t *testing.T) {
	text, err := os.ReadFile("queue.go")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(text), "\npackage queue\n")
	named := regexp.MustCompile(`\w+\.go`).FindAllString(comment, -1)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	slices.Sort(named)
	if diff := cmp.Diff(files, named); diff != "" {
		t.Errorf("files that there are, and that the package comment of queue.go names: %s", diff)
	}
}
