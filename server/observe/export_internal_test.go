package observe

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestBoundedExport_Report(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		export := &boundedExport{log: newLogger(&log, nil)}
		for range 181 {
			export.report(errors.New("no route"))
			time.Sleep(time.Second)
		}
		if lines := bytes.Count(log.Bytes(), []byte("\n")); lines != 4 {
			t.Errorf("%d lines in three minutes", lines)
		}
	})
}
