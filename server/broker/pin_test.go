package broker_test

import (
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"

	"combotto.io/gateway/server/mqttwire"
)

// TestExchange_PinnedVersion holds mochi to the version whose faults were
// studied, and to the bytes that it writes. Whoever changes the version reads
// the table of faults again: what the new one mends, the guard need not, and
// what it changes, the guard must know.
func TestExchange_PinnedVersion(t *testing.T) {
	if mochi.Version != "2.7.9" {
		t.Errorf("mochi is version %s; the guard is made for 2.7.9", mochi.Version)
	}
	properties := mqttwire.Properties{
		{ID: mqttwire.PayloadFormat, Number: 1},
		{ID: mqttwire.MessageExpiry, Number: 3600},
		{ID: mqttwire.ContentType, Value: []byte("text")},
		{ID: mqttwire.ResponseTopic, Value: []byte("r")},
		{ID: mqttwire.CorrelationData, Value: []byte{1, 2}},
		{ID: mqttwire.UserProperty, Name: []byte("k"), Value: []byte("v")},
	}
	for version, want := range map[mqttwire.Version][]string{
		mqttwire.Version311: {
			"900400050201",           // SUBACK
			"34090003612f7800016869", // PUBLISH at QoS 2, id 1
			"62020001",               // PUBREL
			"320700016200023130",     // PUBLISH at QoS 1, id 2
			"3006000162" + "627965",  // PUBLISH at QoS 0
			"b0020006",               // UNSUBACK
		},
		mqttwire.Version5: {
			"90050005000201",
			"352a0003612f780001" + "20" + "0101" + "0200000e10" + "03000474657874" + "08000172" + "0900020102" + "0b07" + "2600016b000176" + "6869",
			"62020001",
			"320a000162" + "0002" + "02" + "0b07" + "3130",
			"3009000162" + "02" + "0b07" + "627965",
			"b0050006000000",
		},
	} {
		r := start(t, nil)
		reader := connect(t, r.address, clean(version, "reader"))
		five := version == mqttwire.Version5
		subscribe := mqttwire.SubscribePacket{
			ID: 5, Filters: []mqttwire.Subscription{{Filter: "a/+", QoS: 2, RetainAsPublished: five}, {Filter: "b", QoS: 1}},
			Properties: mqttwire.Properties{{ID: mqttwire.SubscriptionID, Number: 7}},
		}
		reader.send(subscribe.Append(nil, version))
		exact(t, reader, want[0])

		sender := connect(t, r.address, clean(mqttwire.Version5, "sender"))
		first := mqttwire.PublishPacket{Topic: []byte("a/x"), QoS: 2, ID: 1, Retain: true, Properties: properties, Payload: []byte("hi")}
		sender.send(first.Append(nil, sender.version))
		exact(t, reader, want[1])
		reader.ack(mqttwire.Pubrec, 1)
		exact(t, reader, want[2])
		reader.ack(mqttwire.Pubcomp, 1)
		sender.publish("b", 1, 2, "10")
		exact(t, reader, want[3])
		reader.ack(mqttwire.Puback, 2)
		sender.publish("b", 0, 0, "bye")
		exact(t, reader, want[4])
		unsubscribe := mqttwire.UnsubscribePacket{ID: 6, Filters: []string{"a/+"}}
		if five {
			unsubscribe.Filters = append(unsubscribe.Filters, "b")
		}
		reader.send(unsubscribe.Append(nil, version))
		exact(t, reader, want[5])
	}
}

func exact(t *testing.T, c *client, want string) {
	t.Helper()
	if got := hexOf(c.next().Append(nil)); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}
