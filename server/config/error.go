package config

import (
	"errors"
	"io/fs"
	"strings"
)

// Error says everything that is wrong with a configuration. It is an error of
// usage: starting again without changing something is useless.
type Error struct{ Problems []Problem }

// Problem is one thing that is wrong.
type Problem struct {
	Key     string // as in the file, like sinks[1].http.url; empty when it is not about a key
	Message string
	Origin  string // where it was set: file and line, variable or flag; may be empty
	Hint    string // what to do about it; may be empty
}

// Error writes one line per problem, each followed by its hint on a line of its
// own.
func (e *Error) Error() string {
	lines := make([]string, 0, 2*len(e.Problems))
	for _, problem := range e.Problems {
		lines = append(lines, "config: "+problem.String())
		if problem.Hint != "" {
			lines = append(lines, "  hint: "+problem.Hint)
		}
	}
	return strings.Join(lines, "\n")
}

// String leaves the hint out.
func (p Problem) String() string {
	text := p.Message
	if p.Key != "" {
		text = p.Key + ": " + text
	}
	if p.Origin != "" {
		text += " (" + p.Origin + ")"
	}
	return text
}

// maxProblems bounds what is reported at once.
const maxProblems = 50

// problems gathers what is wrong.
type problems []Problem

func (p *problems) add(problem Problem) {
	switch reported := len(*p); {
	case reported < maxProblems:
		*p = append(*p, problem)
	case reported == maxProblems:
		*p = append(*p, Problem{Message: "more problems follow", Hint: "mend these first"})
	}
}

// err returns an error when there is a problem.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{p}
}

// cause returns the innermost words of a file error, without the path.
func cause(err error) string {
	if failure, ok := errors.AsType[*fs.PathError](err); ok {
		return failure.Err.Error()
	}
	return err.Error()
}

// meant returns the hint for an unknown name that nearly is one of the known
// ones, or lists what there is.
func meant(name string, known []string) string {
	best, distance := "", 4 // a name that is further away is another name
	for _, candidate := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance && d < len(candidate) {
			best, distance = candidate, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(known) <= 12:
		return "the keys here are " + strings.Join(known, ", ")
	}
	return "gateway config schema lists every key"
}

// editDistance counts the insertions, deletions and replacements of bytes that
// lead from a to b. Long names are cut: they are not near anything.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 128)], b[:min(len(b), 128)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
