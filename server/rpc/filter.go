package rpc

import (
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

// parseRange reads a comparison of a time, which narrows a half-open range. ok is
// false for other operators.
func parseRange(c comparison, since, until *time.Time) (ok bool, err error) {
	at, err := time.Parse(time.RFC3339Nano, c.value)
	if err != nil {
		return false, edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", "%q is not an RFC 3339 time", c.value)
	}
	switch c.operator {
	case filtering.FunctionGreaterEquals:
		*since = at
	case filtering.FunctionLessThan:
		*until = at
	default:
		return false, nil
	}
	return true, nil
}

// deadLetterFilter reads a filter over dead letters.
func (s *Server) deadLetterFilter(text string) (edge.DeadLetterFilter, error) {
	var filter edge.DeadLetterFilter
	comparisons, err := parseFilter(text)
	if err != nil {
		return filter, err
	}
	for _, c := range comparisons {
		if err := s.narrow(&filter, c); err != nil {
			return filter, err
		}
	}
	return filter, nil
}

func (s *Server) narrow(filter *edge.DeadLetterFilter, c comparison) error {
	unsupported := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "filter", `%q %s is not supported: use sink =, reason =, device_id =, last_error_time >= or last_error_time <`, c.field, c.operator)
	if c.field == "last_error_time" {
		if ok, err := parseRange(c, &filter.Since, &filter.Until); ok || err != nil {
			return err
		}
		return unsupported
	}
	if c.operator != filtering.FunctionEquals {
		return unsupported
	}
	switch c.field {
	case "sink":
		id, err := s.mustFindSink("filter", c.value)
		if err != nil {
			return err
		}
		filter.Sinks = append(filter.Sinks, id)
	case "reason":
		filter.Reason = c.value
	case "device_id":
		filter.Device = edge.DeviceID(c.value)
	default:
		return unsupported
	}
	return nil
}

// mustFindSink finds a sink that some field of a request names.
func (s *Server) mustFindSink(field, nameOrID string) (edge.SinkID, error) {
	id, ok := s.findSink(nameOrID)
	if !ok {
		return 0, &edge.Error{Code: edge.NotFound, Field: field, Message: "there is no sink " + nameOrID, Hint: "gatewayctl status lists the sinks"}
	}
	return id, nil
}

// findSink finds a sink by name or id.
func (s *Server) findSink(nameOrID string) (edge.SinkID, bool) {
	for id, name := range s.sinkNames() {
		if name == nameOrID || formatSinkID(id) == nameOrID {
			return id, true
		}
	}
	return 0, false
}
