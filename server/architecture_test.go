// Package server_test keeps the shape of the code honest: it reads source files
// only, so it needs no build and takes milliseconds.
package server_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "combotto.io/gateway/"

// place is where a package stands: packages import lower levels only, and of
// those only what is listed.
type place struct {
	level   int
	imports []string
}

// allowed is the architecture. A package that is not listed may not exist.
var allowed = map[string]place{
	"server": {0, nil},

	// Vocabulary and mechanisms.
	"server/edge":     {0, nil},
	"server/sqlite":   {0, nil},
	"server/observe":  {0, nil},
	"server/mqttwire": {0, nil},

	// Translation between vocabulary and the outside.
	"server/wire":   {1, []string{"server/edge", "gen/..."}},
	"server/config": {1, []string{"server/edge"}},

	// What the queue's file contains, without a running queue.
	"server/queuefile": {1, []string{"server/edge", "server/sqlite"}},

	// A disk for tests to break, below the real SQLite.
	"server/sqlite/simdisk": {1, []string{"server/sqlite"}},

	// The data path.
	"server/ingest":        {2, []string{"server/edge", "server/observe"}},
	"server/queue":         {2, []string{"server/edge", "server/observe", "server/sqlite", "server/queuefile"}},
	"server/dispatch":      {2, []string{"server/edge", "server/observe"}},
	"server/sink/filesink": {2, []string{"server/edge", "server/observe", "server/wire"}},
	"server/sink/httpsink": {2, []string{"server/edge", "server/observe", "server/wire"}},
	"server/edgetest":      {2, []string{"server/edge", "server/observe"}},

	// Doors, and what knocks at them.
	"server/rpc":       {3, []string{"server/edge", "server/observe", "server/wire", "gen/..."}},
	"server/broker":    {3, []string{"server/edge", "server/observe", "server/wire", "server/mqttwire"}},
	"server/fleet":     {3, []string{"server/edge", "server/observe", "server/wire", "gen/..."}},
	"server/analytics": {3, []string{"server/edge", "server/wire", "gen/..."}},

	// Composition.
	"server/gateway": {4, []string{
		"server/edge", "server/observe", "server/wire", "server/config", "server/ingest", "server/queue", "server/queuefile", "server/dispatch",
		"server/sink/...", "server/rpc", "server/broker", "server/fleet", "server/sqlite", "gen/...",
	}},

	// The whole gateway without sockets, for tests to break, and with known faults.
	"server/sim/overlay": {0, nil},
	"server/sim": {4, []string{
		"server/edge", "server/observe", "server/wire", "server/ingest", "server/queue", "server/dispatch",
		"server/queuefile", "server/sqlite/simdisk",
	}},

	// Flags, signals, exit codes.
	"cmd/gateway":    {5, []string{"server/gateway", "server/config"}},
	"cmd/gatewayctl": {5, []string{"server/gateway", "gen/..."}},
	"cmd/devicesim":  {5, []string{"server/fleet", "server/observe"}},
	"cmd/analytics":  {5, []string{"server/analytics"}},

	// Contract tools.
	"proto/...": {5, []string{"server/edge", "gen/...", "proto/..."}},
}

// owners names the packages that may touch a third-party dependency.
var owners = map[string][]string{
	"github.com/mochi-mqtt/":       {"server/broker"},
	"github.com/eclipse/paho":      {"server/fleet"},
	"modernc.org/":                 {"server/sqlite", "server/sqlite/simdisk"},
	"database/sql":                 {"server/sqlite"},
	"github.com/prometheus/":       {"server/observe"},
	"go.opentelemetry.io/otel/sdk": {"server/observe"},
	"github.com/knadh/koanf":       {"server/config"},
}

const (
	maxFunctionLines    = 70
	maxFileLines        = 500
	maxInterfaceMethods = 5
)

// source is one parsed Go file.
type source struct {
	name string // path from the root of the repository, with slashes
	dir  string
	test bool
	line int // how many
	set  *token.FileSet
	file *ast.File
}

func TestArchitecture(t *testing.T) {
	for _, problem := range inspect(t, "..") {
		t.Error(problem)
	}
}

// inspect returns what is wrong with the tree below root.
func inspect(t *testing.T, root string) []string {
	t.Helper()
	var problems []string
	comments := map[string][]string{} // package folder -> files with a package comment
	files, maps := map[string][]string{}, map[string]string{}
	for _, file := range parse(t, root) {
		problems = append(problems, checkShape(file)...)
		if file.test {
			continue
		}
		problems = append(problems, checkImports(file)...)
		problems = append(problems, checkPages(file, root)...)
		if _, seen := comments[file.dir]; !seen {
			comments[file.dir] = nil
		}
		files[file.dir] = append(files[file.dir], path.Base(file.name))
		if file.file.Doc != nil {
			comments[file.dir] = append(comments[file.dir], file.name)
			maps[file.dir] = file.file.Doc.Text()
		}
	}
	for dir, text := range maps {
		problems = append(problems, checkMap(dir, text, files[dir])...)
	}
	problems = append(problems, checkTable(root)...)
	problems = append(problems, checkChangelog(root)...)
	for dir, files := range comments {
		switch home := dir[strings.LastIndex(dir, "/")+1:] + ".go"; {
		case len(files) != 1:
			problems = append(problems, fmt.Sprintf("%s: want exactly one package comment, found %d %v", dir, len(files), files))
		case !strings.HasSuffix(files[0], "/"+home) && !strings.HasSuffix(files[0], "/main.go"):
			problems = append(problems, fmt.Sprintf("%s: the package comment belongs into %s", files[0], home))
		}
	}
	slices.Sort(problems)
	return problems
}

// parse reads every Go file of the product; generated code and other modules
// are left out.
func parse(t *testing.T, root string) []source {
	t.Helper()
	var files []source
	skip := []string{"gen", "testdata", "node_modules", "test", "third_party"}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (slices.Contains(skip, entry.Name()) || strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		files = append(files, source{
			name: name, dir: filepath.ToSlash(filepath.Dir(name)), test: strings.HasSuffix(name, "_test.go"),
			line: strings.Count(string(text), "\n"), set: set, file: file,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkShape holds files, functions and interfaces to their limits.
func checkShape(s source) (problems []string) {
	if s.line > maxFileLines {
		problems = append(problems, fmt.Sprintf("%s: %d lines, limit %d: split by noun or verb", s.name, s.line, maxFileLines))
	}
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				problems = append(problems, fmt.Sprintf("%s: init is banned: construct it in server/gateway", s.at(n)))
			}
			if lines := s.lines(n); lines > maxFunctionLines {
				problems = append(problems, fmt.Sprintf("%s: %s has %d lines, limit %d", s.at(n), n.Name.Name, lines, maxFunctionLines))
			}
		case *ast.InterfaceType:
			if methods := n.Methods.NumFields(); methods > maxInterfaceMethods {
				problems = append(problems, fmt.Sprintf("%s: an interface of %d methods, limit %d", s.at(n), methods, maxInterfaceMethods))
			}
		}
		return true
	})
	return problems
}

func (s source) at(node ast.Node) string {
	return fmt.Sprintf("%s:%d", s.name, s.set.Position(node.Pos()).Line)
}

func (s source) lines(node ast.Node) int {
	return s.set.Position(node.End()).Line - s.set.Position(node.Pos()).Line + 1
}

// checkImports holds a file to the table and to the owners.
func checkImports(s source) (problems []string) {
	here, listed := placeOf(s.dir)
	if !listed {
		return []string{s.dir + ": not in the table of server/architecture_test.go: add it there with a reason"}
	}
	for _, spec := range s.file.Imports {
		target := strings.Trim(spec.Path.Value, `"`)
		for prefix, packages := range owners {
			if strings.HasPrefix(target, prefix) && !slices.Contains(packages, s.dir) {
				problems = append(problems, fmt.Sprintf("%s imports %s: only %v may", s.name, target, packages))
			}
		}
		local, inModule := strings.CutPrefix(target, module)
		if !inModule {
			continue
		}
		if !slices.ContainsFunc(here.imports, func(rule string) bool { return matches(rule, local) }) {
			problems = append(problems, fmt.Sprintf("%s imports %s: the arrow is not in the table", s.name, local))
		}
		if there, listed := allowed[local]; listed && there.level >= here.level {
			problems = append(problems, fmt.Sprintf("%s (level %d) imports %s (level %d): arrows lead to lower levels", s.name, here.level, local, there.level))
		}
	}
	return problems
}

func placeOf(dir string) (place, bool) {
	if exact, ok := allowed[dir]; ok {
		return exact, true
	}
	for pattern, found := range allowed {
		if matches(pattern, dir) {
			return found, true
		}
	}
	return place{}, false
}

func matches(rule, target string) bool {
	prefix, wild := strings.CutSuffix(rule, "...")
	return target == rule || wild && (strings.HasPrefix(target, prefix) || target == strings.TrimSuffix(prefix, "/"))
}

// checkPages finds pages of the documentation that the text of a program names,
// as hints do, and that are not there.
func checkPages(s source, root string) (problems []string) {
	ast.Inspect(s.file, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		for _, page := range pages.FindAllString(literal.Value, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(page))); err != nil {
				problems = append(problems, fmt.Sprintf("%s: there is no %s", s.at(literal), page))
			}
		}
		return true
	})
	return problems
}

// checkMap holds the map in a package comment, if it has one, to the files that there
// are.
func checkMap(dir, comment string, files []string) (problems []string) {
	_, text, found := strings.Cut(comment, "\n# Files\n")
	if !found {
		return nil
	}
	text, _, _ = strings.Cut(text, "\n# ")
	named := goFiles.FindAllString(text, -1)
	for _, file := range files {
		if !slices.Contains(named, file) {
			problems = append(problems, fmt.Sprintf("%s: the package comment does not say what is in %s", dir, file))
		}
	}
	for _, file := range named {
		if !slices.Contains(files, file) {
			problems = append(problems, fmt.Sprintf("%s: the package comment names %s, which is not there", dir, file))
		}
	}
	return problems
}

// checkTable holds the table of packages in docs/architecture.md to the one here.
func checkTable(root string) (problems []string) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		return []string{err.Error()}
	}
	levels := map[string]string{}
	for _, row := range tableRows.FindAllStringSubmatch(string(text), -1) {
		levels[row[2]] = row[1]
	}
	told := map[string]bool{}
	for name, here := range allowed {
		pattern := name
		if _, exact := levels[name]; !exact {
			for rule := range levels {
				if matches(rule, name) {
					pattern = rule
				}
			}
		}
		told[pattern] = true
		if levels[pattern] != strconv.Itoa(here.level) {
			problems = append(problems, fmt.Sprintf("docs/architecture.md: %s is of level %d, and the table says %q", name, here.level, levels[pattern]))
		}
	}
	for pattern := range levels {
		if !told[pattern] {
			problems = append(problems, fmt.Sprintf("docs/architecture.md: the table names %s, which is not in the one of server/architecture_test.go", pattern))
		}
	}
	return problems
}

// checkChangelog finds what cannot be before the first release: each branch that began
// before the sections were folded brings them back.
func checkChangelog(root string) (problems []string) {
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return []string{err.Error()}
	}
	if !strings.Contains(string(text), "Nothing is released yet") {
		return nil
	}
	for _, heading := range changed.FindAllString(string(text), -1) {
		problems = append(problems, fmt.Sprintf("CHANGELOG.md: nothing is released, so there is no %q: say what is new, under Added", heading))
	}
	return problems
}

var tableRows = regexp.MustCompile("(?m)^\\| (\\d) \\| `([^`]+)` \\|")

var changed = regexp.MustCompile(`(?m)^### (?:Changed|Fixed)\b`)

var goFiles = regexp.MustCompile(`\w+\.go\b`)

var pages = regexp.MustCompile(`\bdocs/[a-z0-9/-]+\.md\b`)

// TestArchitecture_Detects plants one fault of each kind and expects to hear of
// it, so that the test above cannot pass because it looks at nothing.
func TestArchitecture_Detects(t *testing.T) {
	long := "func long() {\n" + strings.Repeat("\t_ = 0\n", maxFunctionLines-1) + "}\n"
	for name, plant := range map[string]struct{ path, text, want string }{
		"forbidden arrow":       {"server/ingest/x.go", "// Package ingest.\npackage ingest\nimport _ \"combotto.io/gateway/server/queue\"\n", "the arrow is not in the table"},
		"foreign owner":         {"server/ingest/x.go", "// Package ingest.\npackage ingest\nimport _ \"modernc.org/sqlite\"\n", "only [server/sqlite server/sqlite/simdisk] may"},
		"unknown package":       {"server/util/x.go", "// Package util.\npackage util\n", "not in the table"},
		"function of 71 lines":  {"server/ingest/x.go", "// Package ingest.\npackage ingest\n" + long, "long has 71 lines"},
		"file of 501 lines":     {"server/ingest/x.go", "// Package ingest.\npackage ingest\n" + strings.Repeat("\n", 499), "501 lines"},
		"init":                  {"server/ingest/x.go", "// Package ingest.\npackage ingest\nfunc init() {}\n", "init is banned"},
		"no package comment":    {"server/ingest/x.go", "package ingest\n", "found 0"},
		"comment elsewhere":     {"server/ingest/x.go", "// Package ingest.\npackage ingest\n", "belongs into ingest.go"},
		"page that is missing":  {"server/ingest/x.go", "// Package ingest.\npackage ingest\nconst hint = \"see docs/how-to/nothing.md\"\n", "there is no docs/how-to/nothing.md"},
		"file not in the map":   {"server/ingest/x.go", "// Package ingest.\n//\n// # Files\n//\n//\ty.go\npackage ingest\n", "does not say what is in x.go"},
		"file that is gone":     {"server/ingest/x.go", "// Package ingest.\n//\n// # Files\n//\n//\ty.go\npackage ingest\n", "names y.go, which is not there"},
		"package not told":      {"docs/architecture.md", "| 0 | `server/edge` | the vocabulary |\n", "server/sqlite is of level 0, and the table says \"\""},
		"package at two levels": {"docs/architecture.md", "| 3 | `server/edge` | the vocabulary |\n", "server/edge is of level 0, and the table says \"3\""},
		"package only told":     {"docs/architecture.md", "| 0 | `server/util` | everything |\n", "the table names server/util"},
		"changed, unreleased":   {"CHANGELOG.md", "Nothing is released yet.\n\n### Changed\n", "there is no \"### Changed\""},
		"fixed, unreleased":     {"CHANGELOG.md", "Nothing is released yet.\n\n### Fixed\n", "there is no \"### Fixed\""},
		"interface of 6 method": {"server/ingest/x.go", "// Package ingest.\npackage ingest\ntype X interface{ A(); B(); C(); D(); E(); F() }\n", "6 methods"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, filepath.FromSlash(plant.path))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(plant.text), 0o644); err != nil {
				t.Fatal(err)
			}
			problems := inspect(t, root)
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, plant.want) }) {
				t.Errorf("got %v, want one that says %q", problems, plant.want)
			}
		})
	}
}
