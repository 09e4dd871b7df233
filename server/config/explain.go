package config

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
)

// Layer is one of the four places that values come from.
type Layer string

// The layers; each one overrides those before it.
const (
	LayerDefault     Layer = "default"
	LayerFile        Layer = "file"
	LayerEnvironment Layer = "environment"
	LayerFlag        Layer = "flag"
)

// Explanation says which values are effective, and why.
type Explanation struct{ Values []Value }

// Value is one effective leaf.
type Value struct {
	Key    string `json:"key"`    // like http.addr or sinks.archive.file.dir: sinks by name
	Text   string `json:"value"`  // [redacted] for a secret that is set
	Layer  Layer  `json:"layer"`  // that set it
	Origin string `json:"origin"` // file and line, variable or flag; empty for a default
	Secret bool   `json:"secret"`
}

// explain lists the winners in the order of the keys.
func (l *loader) explain() *Explanation {
	explanation := &Explanation{}
	add := func(shown, path string, k *key) {
		winner, set := l.winners[path]
		if !set {
			return
		}
		value := Value{Key: shown, Text: winner.text, Layer: winner.layer, Origin: winner.origin, Secret: k.secret()}
		if value.Secret && value.Text != "" {
			value.Text = redacted
		}
		if winner.file {
			value.Origin += ", from " + winner.text
		}
		explanation.Values = append(explanation.Values, value)
	}
	walk(l.keys, "", func(path string, k *key) { add(path, path, k) })
	for index, sink := range l.sinks {
		walk(l.sinkKeys(), "", func(path string, k *key) { add("sinks."+sink.name+"."+path, sinkPath(index)+"."+path, k) })
	}
	return explanation
}

// Render writes a table for a terminal.
func (e *Explanation) Render(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\tLAYER\tORIGIN") // errors of the writer come back from Flush
	for _, value := range e.Values {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", value.Key, cmp.Or(value.Text, `""`), value.Layer, cmp.Or(value.Origin, "-"))
	}
	return table.Flush()
}
