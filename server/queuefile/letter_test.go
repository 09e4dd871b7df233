package queuefile_test

import (
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queuefile"
)

func TestDecoder_DecodeLetter(t *testing.T) {
	encoder, err := queuefile.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := queuefile.NewDecoder(&queuefile.Logs{})
	if err != nil {
		t.Fatal(err)
	}
	letter := func(sink edge.SinkID, owner uint32) queuefile.Letter {
		record := edgetest.Record("dev-1", 7)
		record.ReceivedAt = time.UnixMilli(1)
		encoder.Reset()
		encoder.Add(&record, owner)
		return queuefile.Letter{Sink: sink, Position: 7, Body: encoder.Body(7)}
	}
	for name, test := range map[string]struct {
		letter    queuefile.Letter
		whole     bool
		misplaced bool
	}{
		"whole":                       {letter: letter(2, queuefile.LetterOwner(2)), whole: true},
		"refused":                     {letter: letter(edge.Ingress, queuefile.LetterOwner(edge.Ingress)), whole: true},
		"of an earlier version":       {letter: letter(2, 0), whole: true},
		"of another sink":             {letter: letter(3, queuefile.LetterOwner(2)), misplaced: true},
		"of a sink, kept as refused":  {letter: letter(edge.Ingress, queuefile.LetterOwner(1)), misplaced: true},
		"refused, kept as of a sink":  {letter: letter(1, queuefile.LetterOwner(edge.Ingress)), misplaced: true},
		"with a body that was halved": {letter: queuefile.Letter{Sink: 2, Position: 7, Body: letter(2, 0).Body[:20]}},
	} {
		_, err := decoder.DecodeLetter(&test.letter)
		if (err == nil) != test.whole || queuefile.IsMisplaced(err) != test.misplaced {
			t.Errorf("%s: %v", name, err)
		}
	}
}
