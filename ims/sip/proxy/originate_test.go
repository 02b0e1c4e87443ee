package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// own is a request of the core's own.
func own(t *testing.T, method, uri, call string, fields ...sip.Field) *sip.Message {
	t.Helper()
	m, err := sip.NewRequest(method, uri).
		Add(sip.HFrom, "<sip:us@test>;tag=us").Add(sip.HTo, "<sip:bob@test>").Add(sip.HCallID, call).
		Add(sip.HCSeq, "1 "+method).Add(sip.HContact, "<sip:us@192.0.2.1>").AddFields(fields...).Message()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOriginate(t *testing.T) {
	trio(t, forkTo, func(w *world, a, b, _ *peer) {
		events := make(chan string, 100)
		originate := func(m *sip.Message, target Target) chan *Exchange {
			made := make(chan *Exchange, 1)
			w.core.Shard(m.CallID()).Post(func() {
				x, err := w.core.Originate(&Origin{
					Req: m, Target: target,
					Response: func(_ *Exchange, m *sip.Message) { events <- fmt.Sprint(m.Status()) },
					Failed:   func(_ *Exchange, status int, err error) { events <- fmt.Sprint("failed ", status) },
				})
				if err != nil {
					t.Error(err)
				}
				if len(events) > 0 {
					t.Error("an event before Originate returned")
				}
				made <- x
			})
			return made
		}
		expect := func(want string) {
			t.Helper()
			select {
			case got := <-events:
				check(t, "event", got, want)
			case <-time.After(10 * time.Minute):
				t.Fatalf("no event, want %s", want)
			}
		}

		originate(own(t, "MESSAGE", "sip:bob@test", "o1", sip.Field{ID: sip.HRoute, Value: "<sip:192.0.2.20;lr>"}), Target{})
		m := b.request("MESSAGE")
		check(t, "Max-Forwards", m.msg.Get(sip.HMaxForwards), "70")
		check(t, "Vias", m.msg.Count(sip.HVia), 1)
		check(t, "Route", m.msg.Get(sip.HRoute), "<sip:192.0.2.20;lr>")
		b.answer(m, 401)
		expect("401")

		originate(own(t, "MESSAGE", "sip:bob@192.0.2.20", "o2"), Target{})
		b.request("MESSAGE")
		expect("failed 408")

		w.net.Host("192.0.2.30")
		originate(own(t, "MESSAGE", "sip:bob@192.0.2.30", "o3"), Target{})
		expect("failed 503")
		originate(own(t, "MESSAGE", "sip:bob@nowhere.invalid", "o4"), Target{})
		expect("failed 503")
		originate(own(t, "MESSAGE", "tel:+15550001", "o5"), Target{})
		expect("failed 416")

		originate(own(t, "MESSAGE", "sip:bob@192.0.2.20", "o6", sip.Field{ID: sip.HSubject, Value: strings.Repeat("x", 1300)}), Target{})
		m = b.request("MESSAGE")
		check(t, "a large one", m.flow.Proto, sip.TCP)
		b.answer(m, 200)
		expect("200")

		// A call: the 200 repeated, an ACK for each; a strict router on the way.
		originate(own(t, "INVITE", "sip:bob@192.0.2.20", "o7"), Target{ViaParams: ";rport"})
		m = b.request("INVITE")
		b.answer(m, 183)
		expect("183")
		b.answer(m, 200)
		expect("200")
		b.answer(m, 200)
		expect("200")
		ack, err := sip.NewRequest("ACK", "sip:bob@far.test").Add(sip.HMaxForwards, "70").Add(sip.HRoute, "<sip:192.0.2.20>").
			Add(sip.HFrom, "<sip:us@test>;tag=us").Add(sip.HTo, "<sip:bob@test>;tag=bob").Add(sip.HCallID, "o7").Add(sip.HCSeq, "1 ACK").Message()
		if err != nil {
			t.Fatal(err)
		}
		w.core.Shard("o7").Post(func() {
			if err := w.core.SendAck(ack, Target{}); err != nil {
				t.Error(err)
			}
		})
		got := b.request("ACK")
		check(t, "Request-URI", got.msg.RequestURI(), "sip:192.0.2.20")
		check(t, "Route", got.msg.Get(sip.HRoute), "<sip:bob@far.test>")
		check(t, "Max-Forwards", got.msg.Get(sip.HMaxForwards), "70")

		// Cancelled while it rings.
		made := originate(own(t, "INVITE", "sip:bob@192.0.2.20", "o8"), Target{})
		m = b.request("INVITE")
		b.answer(m, 180)
		expect("180")
		x := <-made
		x.Shard.Post(func() { x.Cancel(sip.Field{ID: sip.HReason, Value: "SIP;cause=487"}) })
		cm := b.request("CANCEL")
		check(t, "Reason", cm.msg.Get(sip.HReason), "SIP;cause=487")
		b.answer(cm, 200)
		b.answer(m, 487)
		b.request("ACK")
		expect("487")

		for _, bad := range []string{"ACK", "CANCEL"} {
			w.core.Shard("x").Post(func() {
				if _, err := w.core.Originate(&Origin{Req: own(t, bad, "sip:b", "x")}); err == nil {
					t.Errorf("%s originated", bad)
				}
				if err := w.core.SendAck(own(t, "BYE", "sip:b", "x"), Target{}); err == nil {
					t.Error("BYE sent as ACK")
				}
			})
		}
		a.nothing(time.Second)
		check(t, "events left", len(events), 0)
	})
}
