package rpc_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	"combotto.io/gateway/server/queue"
)

// TestLosses deletes two sinks with a backlog through the API and reads what was
// lost.
func TestLosses(t *testing.T) {
	d := newDurableBench(t)
	admin := adminv1connect.NewAdminServiceClient(http.DefaultClient, d.url)
	sinks := sinkv1connect.NewSinkServiceClient(http.DefaultClient, d.url)
	remove := func(request *sinkv1.DeleteSinkRequest) (uint64, connect.Code) {
		response, err := sinks.DeleteSink(t.Context(), request)
		if err != nil {
			return 0, connect.CodeOf(err)
		}
		return response.GetDiscardedCount(), 0
	}
	for i := range 3 {
		d.publish(t, typed("dev-1", int64(i)))
	}
	d.kill(t)
	for name, want := range map[string]connect.Code{"cloud": connect.CodeFailedPrecondition, "nobody": connect.CodeNotFound} {
		if _, code := remove(&sinkv1.DeleteSinkRequest{Sink: name, Discard: true}); code != want {
			t.Errorf("%s: %v, want %v", name, code, want)
		}
	}
	if _, err := d.queue.EnsureSinks(t.Context(), []queue.SinkSpec{{Name: "other", Kind: "http"}}); err != nil {
		t.Fatal(err)
	}
	if _, code := remove(&sinkv1.DeleteSinkRequest{Sink: "cloud"}); code != connect.CodeFailedPrecondition {
		t.Errorf("without discard: %v", code)
	}
	if count, code := remove(&sinkv1.DeleteSinkRequest{Sink: "cloud", Discard: true, ValidateOnly: true}); count != 3 || code != 0 {
		t.Errorf("%d would be discarded, %v", count, code)
	}
	if count, code := remove(&sinkv1.DeleteSinkRequest{Sink: "cloud", Discard: true}); count != 3 || code != 0 {
		t.Fatalf("%d were discarded, %v", count, code)
	}
	for filter, want := range map[string]int{
		"": 1, `kind = DISCARDED AND reason = "operator"`: 1, `kind = EXPIRED`: 0, `device_id = "dev-1"`: 1, `device_id = "dev-2"`: 0,
		`sink_id = "1"`: 1, `sink_id = "2"`: 0, `sink = "cloud"`: 1, `sink_name = "cloud"`: 1, `sink = "other"`: 0, `sink_name = "other"`: 0, `loss_time >= "2100-01-01T00:00:00Z"`: 0, `loss_time < "2100-01-01T00:00:00Z"`: 1,
	} {
		page, err := admin.ListLosses(t.Context(), &adminv1.ListLossesRequest{Filter: filter})
		if err != nil || len(page.GetLosses()) != want {
			t.Errorf("%s: %v, %v; want %d", filter, page, err, want)
			continue
		}
		for _, loss := range page.GetLosses() {
			if loss.GetSinkName() != "cloud" || loss.GetCount() != 3 || loss.GetKind() != adminv1.LossKind_LOSS_KIND_DISCARDED || loss.GetActor() == "" ||
				len(loss.GetDevices()) != 1 || loss.GetDevices()[0].GetCount() != 3 || loss.GetFirstReceiveTs() == nil {
				t.Errorf("got %v", loss)
			}
		}
	}
	// One that is removed and has nothing left is in no list, and can be deleted.
	if _, err := d.queue.EnsureSinks(t.Context(), []queue.SinkSpec{{Name: "third", Kind: "http"}}); err != nil {
		t.Fatal(err)
	}
	listed, err := sinks.ListSinks(t.Context(), &sinkv1.ListSinksRequest{})
	if err != nil || len(listed.GetSinks()) != 1 || listed.GetSinks()[0].GetName() != "third" {
		t.Errorf("%v, %v; want the third sink alone", listed, err)
	}
	for _, want := range []connect.Code{0, connect.CodeNotFound} {
		if _, code := remove(&sinkv1.DeleteSinkRequest{Sink: "other"}); code != want {
			t.Errorf("deleting a sink that has nothing left: %v, want %v", code, want)
		}
	}
	for _, filter := range []string{`kind = "GONE"`, `count = "3"`, `reason != "a"`, `sink_id = "x"`, `loss_time >= "soon"`} {
		if _, err := admin.ListLosses(t.Context(), &adminv1.ListLossesRequest{Filter: filter}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", filter, err)
		}
	}
	if _, err := admin.ListLosses(t.Context(), &adminv1.ListLossesRequest{PageToken: "nonsense"}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("nonsense as a page token: %v", err)
	}
}
