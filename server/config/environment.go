package config

import (
	"regexp"
	"slices"
	"strings"
)

// environmentPrefix begins every variable, and environmentNesting stands for the
// dot in a path: GATEWAY_MQTT__FULL_GRACE is mqtt.full_grace.
const (
	environmentPrefix  = "GATEWAY_"
	environmentNesting = "__"
)

// foreignVariable matches what Kubernetes and Docker set by themselves for a
// service of the name gateway.
var foreignVariable = regexp.MustCompile(`^GATEWAY_(SERVICE_(HOST|PORT.*)|PORT|PORT_[0-9]+_(TCP|UDP|SCTP).*)$`)

// variable reads one variable of the environment for koanf. A sink is addressed
// by its name, GATEWAY_SINKS__COLD_STORE__HTTP__URL, so that the variable means
// the same after the list of the file was rearranged; a name that is not in the
// file adds a sink.
func (l *loader) variable(name, text string) (string, any) {
	if foreignVariable.MatchString(name) {
		return "", nil
	}
	parts := strings.Split(strings.ToLower(strings.TrimPrefix(name, environmentPrefix)), environmentNesting)
	path, k := strings.Join(parts, "."), (*key)(nil)
	if parts[0] == "sinks" && len(parts) > 2 {
		k = find(l.sinkKeys(), parts[2:])
	} else {
		k = find(l.keys, parts)
	}
	if k == nil || name != strings.ToUpper(name) || k.name == "name" && len(parts) > 2 {
		l.problems.add(Problem{Key: name, Message: "unknown variable of the environment", Hint: meant(name, l.variables(parts))})
		return "", nil
	}
	if parts[0] == "sinks" {
		sink := strings.ReplaceAll(parts[1], "_", "-")
		index := slices.IndexFunc(l.sinks, func(other declared) bool { return other.name == sink })
		if index < 0 {
			index = l.declare(sink, LayerEnvironment, name)
		}
		path = sinkPath(index) + "." + strings.Join(parts[2:], ".")
	}
	return l.note(path, setting{key: k, layer: LayerEnvironment, origin: name}, splitList(k, text))
}

// variables lists the names of the variables, those of the sink that parts names
// among them.
func (l *loader) variables(parts []string) []string {
	var names []string
	collect := func(path string, _ *key) { names = append(names, variableName(path)) }
	walk(l.keys, "", collect)
	if parts[0] == "sinks" && len(parts) > 2 {
		walk(l.sinkKeys(), "sinks."+parts[1]+".", collect)
	}
	return names
}

func variableName(path string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(path, "-", "_"), ".", environmentNesting))
}

// splitList returns the texts of a list that is separated by commas.
func splitList(k *key, text string) []string {
	if !k.list {
		return []string{text}
	}
	texts := []string{}
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			texts = append(texts, element)
		}
	}
	return texts
}
