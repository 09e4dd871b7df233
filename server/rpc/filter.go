package rpc

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"combotto.io/gateway/server/edge"
)

// comparison is one "field operator value" of a filter.
type comparison struct{ field, operator, value string }

// parseFilter reads an AIP-160 filter that is a conjunction of comparisons with
// string values; "*" and "" match everything. Other expressions are refused in
// words, never ignored.
func parseFilter(text string) ([]comparison, error) {
	if text == "" || text == "*" {
		return nil, nil
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return nil, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "cannot be parsed: %v", err)
	}
	return conjunction(parsed.GetExpr(), nil)
}

func conjunction(node *expr.Expr, found []comparison) ([]comparison, error) {
	call := node.GetCallExpr()
	switch {
	case call == nil:
	case call.GetFunction() == filtering.FunctionAnd || call.GetFunction() == filtering.FunctionFuzzyAnd:
		var err error
		for _, argument := range call.GetArgs() {
			if found, err = conjunction(argument, found); err != nil {
				return nil, err
			}
		}
		return found, nil
	case len(call.GetArgs()) == 2:
		field, value := call.GetArgs()[0].GetIdentExpr(), call.GetArgs()[1]
		if text := value.GetConstExpr().GetStringValue() + value.GetIdentExpr().GetName(); field != nil && text != "" {
			return append(found, comparison{field.GetName(), call.GetFunction(), text}), nil
		}
	}
	return nil, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", `only comparisons joined by AND are supported, such as sink = "archive" AND reason = "rejected"`)
}

// choice is what a filter may compare, and what each comparison does.
type choice struct {
	equals       map[string]func(value string) error // by the name of the field
	time         string                              // name of the field that since and until bound
	since, until *time.Time
}

// read applies the comparisons of a filter, and refuses those that it does not
// know.
func (c *choice) read(text string) error {
	comparisons, err := parseFilter(text)
	if err != nil {
		return err
	}
	for _, comparison := range comparisons {
		if err := c.narrow(comparison); err != nil {
			return err
		}
	}
	return nil
}

func (c *choice) narrow(with comparison) error {
	narrow := c.equals[with.field]
	switch {
	case with.field == c.time && with.operator == filtering.FunctionGreaterEquals:
		return parseTime(with.value, c.since)
	case with.field == c.time && with.operator == filtering.FunctionLessThan:
		return parseTime(with.value, c.until)
	case narrow != nil && with.operator == filtering.FunctionEquals:
		return narrow(with.value)
	}
	known := strings.Join(slices.Sorted(maps.Keys(c.equals)), " =, ")
	return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q %s is not supported: use %s =, %s >= or %s <", with.field, with.operator, known, c.time, c.time)
}

func parseTime(text string, at *time.Time) (err error) {
	if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q is not an RFC 3339 time", text)
	}
	return nil
}

// assign keeps the value of a comparison as it is.
func assign[Text ~string](to *Text) func(string) error {
	return func(value string) error {
		*to = Text(value)
		return nil
	}
}

// deadLetterFilter reads a filter over dead letters.
func (s *Server) deadLetterFilter(text string) (edge.DeadLetterFilter, error) {
	var filter edge.DeadLetterFilter
	choice := choice{
		equals: map[string]func(string) error{
			"sink": s.addSink(&filter.Sinks), "reason": assign(&filter.Reason), "device_id": assign(&filter.Device),
		},
		time: "last_error_time", since: &filter.Since, until: &filter.Until,
	}
	err := choice.read(text)
	return filter, err
}

// addSink adds a sink that a filter names.
func (s *Server) addSink(to *[]edge.SinkID) func(string) error {
	return func(value string) error {
		id, err := s.mustFindSink("filter", value)
		if err == nil {
			*to = append(*to, id)
		}
		return err
	}
}

// mustFindSink finds a sink that some field of a request names.
func (s *Server) mustFindSink(field, nameOrID string) (edge.SinkID, error) {
	id, ok := s.findSink(nameOrID)
	if !ok {
		return 0, &edge.Error{Code: edge.NotFound, Field: field, Message: "there is no sink " + nameOrID, Hint: "gatewayctl status lists the sinks"}
	}
	return id, nil
}

// findSink finds a sink by name or id, unless it is deleted.
func (s *Server) findSink(nameOrID string) (edge.SinkID, bool) {
	stats := s.Messages.Stats()
	ended := slices.DeleteFunc(stats.Ended, func(sink edge.SinkStats) bool { return sink.Deleted })
	for _, sink := range slices.Concat(stats.Sinks, ended, []edge.SinkStats{{ID: edge.Ingress, Name: edge.IngressName}}) {
		if sink.Name == nameOrID || formatSinkID(sink.ID) == nameOrID {
			return sink.ID, true
		}
	}
	return 0, false
}
