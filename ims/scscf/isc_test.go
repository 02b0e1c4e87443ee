package scscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// lines returns the header lines and body, without those of the given headers.
func lines(m *sip.Message, without ...sip.ID) string {
	var b strings.Builder
next:
	for i := range m.Len() {
		id, name, value := m.Line(i)
		for _, w := range without {
			if id == w {
				continue next
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	return b.String() + "\n" + m.Body()
}

// odiOf returns the identifier in the second Route entry.
func odiOf(t *testing.T, m *sip.Message) string {
	t.Helper()
	n := 0
	for v := range m.Values(sip.HRoute) {
		if n++; n == 2 {
			rest, ok := strings.CutPrefix(v, "<sip:odi-")
			token, host, at := strings.Cut(rest, "@")
			if !ok || !at || host != scscfAddr+";lr>" {
				t.Fatalf("the second Route entry is %s", v)
			}
			return token
		}
	}
	t.Fatalf("the request to the server has no second Route entry:\n%s", m.Raw())
	return ""
}

func TestARequestToAnApplicationServer(t *testing.T) {
	conformance.Shows(t, "IF-13", "IF-16", "IF-17")
	inWorld(t, nil, func(w *world) {
		reg := w.alice(to(1, "sip:svc@as1.home.test;x=1", terminated))
		now := *reg
		now.Charging = `ccf="ccf.home.test"`
		if err := w.s.store.Put(reg, &now); err != nil {
			t.Fatal(err)
		}
		sent := w.p.call("sip:bob@home.test", "Content-Type: application/sdp", "X-Unknown:  as  it is ", "body:v=0\r\n")
		got := w.as1.want("INVITE")
		w.ruri(got, "sip:bob@home.test")
		w.header(got, sip.HRoute, "<sip:svc@as1.home.test;x=1;lr> | <sip:odi-"+odiOf(t, got)+"@"+scscfAddr+";lr>")
		if o := w.s.sessions.odis.byToken[odiOf(t, got)]; unsafe.StringData(string(o.impu)) != unsafe.StringData(now.Identities[0].Key) {
			t.Error("what is kept for 200 s behind the call holds the whole request, as it has the user's name from there")
		}
		w.header(got, sip.HPServedUser, "<sip:alice@home.test>;sescase=orig;regstate=reg")
		w.header(got, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 3home.test"`)
		w.header(got, sip.HPChargingFunctionAddresses, `ccf="ccf.home.test"`)
		w.header(got, sip.HMaxForwards, "67")
		mine := []sip.ID{sip.HVia, sip.HRoute, sip.HRecordRoute, sip.HMaxForwards, sip.HMaxBreadth, sip.HPServedUser, sip.HPChargingVector, sip.HPChargingFunctionAddresses}
		if a, b := lines(sent, mine...), lines(got, mine...); a != b {
			t.Errorf("other headers or the body have changed:\n%s\nwas\n%s", b, a)
		}
		w.told(trace.IFC, "priority 1: it has no trigger point, so every request matches. Goes to sip:svc@as1.home.test;x=1.")
		// Back, and on: what was for the server alone is gone.
		w.as1.back(got, nil)
		on := w.i.want("INVITE")
		w.header(on, sip.HRoute, "")
		w.header(on, sip.HPServedUser, "")
		w.header(on, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 2home.test"`)
		w.i.reply(on, 200)
		back := w.as1.want("200")
		w.header(back, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 3home.test";term-ioi="Type 3home.test"`)
		w.as1.relay(back)
		w.header(w.p.want("200"), sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`)
	})
}

func TestTheChainIsWalkedInOrder(t *testing.T) {
	conformance.Shows(t, "IF-15", "ST-11")
	conformance.Partly(t, "IF-01") // REGISTER is another matter
	mark := profile.SPT{Kind: profile.SIPHeaderSPT, Text: "X-Mark"}
	for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "OPTIONS", "X-NEW"} {
		inWorld(t, nil, func(w *world) {
			w.bob(
				to(30, "sip:as1.home.test", terminated), // the same server a second time
				to(10, "sip:as1.home.test", terminated, in(profile.TerminatingRegistered)),
				to(20, "sip:as2.home.test", terminated, mark), // only with what the first has added
				to(25, "sip:as2.home.test", terminated, profile.SPT{Kind: profile.SIPHeaderSPT, Text: "X-Mark", Negated: true}),
				to(26, "sip:as2.home.test", terminated, in(profile.OriginatingRegistered)),
			)
			w.i.send(method, "sip:bob@home.test")
			first := w.as1.want(method)
			w.as1.back(first, func(e *sip.Edits) { e.AddName("X-Mark", "1") })
			second := w.as2.want(method)
			w.header(second, sip.HPServedUser, "<sip:bob@home.test>;sescase=term;regstate=reg")
			w.as2.back(second, func(e *sip.Edits) { e.AddName("X-Two", "2") })
			third := w.as1.want(method)
			if third.GetName("X-Mark") != "1" || third.GetName("X-Two") != "2" {
				t.Errorf("%s: the third visit has lost what the others did:\n%s", method, third.Raw())
			}
			if a, b, c := odiOf(t, first), odiOf(t, second), odiOf(t, third); a == b || b == c || a == c {
				t.Errorf("%s: identifiers %s, %s, %s are not unique", method, a, b, c)
			}
			w.as1.back(third, nil)
			got := w.p.want(method)
			w.ruri(got, "sip:bob@10.0.0.2:5060")
			w.p.reply(got, 200)
			for _, as := range []*peer{w.as1, w.as2, w.as1} {
				as.relay(as.want("200"))
			}
			w.i.want("200")
			w.as2.nothing()
		})
	}
}

func TestAnIdentifierIsKnownFromAnotherDialog(t *testing.T) {
	conformance.Shows(t, "IF-14")
	inWorld(t, nil, func(w *world) {
		w.bob(to(1, "sip:as1.home.test", terminated), to(2, "sip:as2.home.test", terminated))
		w.i.send("INVITE", "sip:bob@home.test")
		got := w.as1.want("INVITE")
		token := odiOf(t, got)
		if len(token) < 20 { // of 5 bits each
			t.Errorf("identifier %s has less than 96 bits", token)
		}
		for range 8 { // B2BUA, on whichever shard; it may fork as well
			w.as1.back(got, func(e *sip.Edits) {
				e.Set(sip.HCallID, sip.NewCallID())
				e.Set(sip.HFrom, "<sip:alice@home.test>;tag="+sip.NewTag())
			})
			w.as2.reply(w.as2.want("INVITE"), 486)
			w.as1.want("486")
		}
		// Also when the transaction is over, for a while; a guess never.
		w.as1.reply(got, 486)
		w.i.want("486")
		time.Sleep(odiLife - 10*time.Second)
		w.as1.back(got, func(e *sip.Edits) { e.Set(sip.HCallID, sip.NewCallID()) })
		w.as2.reply(w.as2.want("INVITE"), 486)
		w.as1.want("486")
		time.Sleep(11 * time.Second)
		w.as1.back(got, func(e *sip.Edits) { e.Set(sip.HCallID, sip.NewCallID()) })
		w.why(w.as1.want("481"), "not, or no longer, known")
		w.as1.send("INVITE", "sip:bob@home.test", "Route: <sip:odi-"+sip.NewCallID()+"@"+scscfAddr+";lr>")
		w.why(w.as1.want("481"), "not, or no longer, known")
	})
}

func TestIdentifiersAreBoundedAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newODIs(3)
		var all []*odi
		for i := range 3 {
			o := &odi{at: 7, serving: serving{visits: i}}
			if !table.put(o) {
				t.Fatal("no room")
			}
			all = append(all, o)
		}
		if table.put(&odi{}) {
			t.Error("a fourth one was taken while three are open")
		}
		if o := table.back(all[1].token); o != all[1] || o.at != 7 || !table.isBack(o) || table.isBack(all[0]) {
			t.Error("the wrong one came back")
		}
		table.end(all[:1])
		over := &odi{}
		if !table.put(over) || table.back(all[0].token) != nil {
			t.Error("one whose transaction is over does not make room")
		}
		table.drop(over)
		if table.back(over.token) != nil || table.len() != 2 {
			t.Error("a dropped one is still known")
		}
		table.end(all)
		time.Sleep(odiLife - time.Millisecond)
		if table.back(all[2].token) == nil {
			t.Error("gone too early")
		}
		time.Sleep(time.Millisecond)
		if table.back(all[2].token) != nil || table.len() != 0 || table.ended != nil {
			t.Error("still there when its time is over")
		}
	})
}

func TestDefaultHandling(t *testing.T) {
	conformance.Shows(t, "IF-18", "IF-19", "IF-20", "IF-24")
	type step func(w *world, m *sip.Message)
	reply := func(status ...int) step {
		return func(w *world, m *sip.Message) {
			for _, s := range status {
				w.as1.reply(m, s)
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	silent := func(*world, *sip.Message) {}
	trying := func(w *world, m *sip.Message) { w.as1.reply(m, 100); time.Sleep(6 * time.Second); w.as1.reply(m, 500) }
	gone := func(w *world, _ *sip.Message) {}
	tests := []struct {
		name     string
		server   string
		method   string
		handling profile.DefaultHandling
		step     step
		status   string // what the caller gets; "" when the session goes on
		within   time.Duration
	}{
		{"silent, continued", "sip:as1.home.test", "INVITE", continued, silent, "", 2100 * time.Millisecond},
		{"silent, terminated", "sip:as1.home.test", "INVITE", terminated, silent, "408", 4100 * time.Millisecond},
		{"silent, continued, not INVITE", "sip:as1.home.test", "MESSAGE", continued, silent, "", 2100 * time.Millisecond},
		{"silent, terminated, not INVITE", "sip:as1.home.test", "MESSAGE", terminated, silent, "504", 4100 * time.Millisecond},
		{"a 100 stops the clock", "sip:as1.home.test", "INVITE", continued, trying, "", 6100 * time.Millisecond},
		{"408, continued", "sip:as1.home.test", "INVITE", continued, reply(408), "", time.Second},
		{"408, terminated", "sip:as1.home.test", "INVITE", terminated, reply(408), "408", time.Second},
		{"500, continued", "sip:as1.home.test", "INVITE", continued, reply(500), "", time.Second},
		{"502, terminated", "sip:as1.home.test", "INVITE", terminated, reply(502), "502", time.Second},
		{"503, continued", "sip:as1.home.test", "MESSAGE", continued, reply(503), "", time.Second},
		{"500 after 183, continued", "sip:as1.home.test", "INVITE", continued, reply(183, 500), "183 500", time.Second},
		{"404 is the server's decision", "sip:as1.home.test", "INVITE", continued, reply(404), "404", time.Second},
		{"480 as well", "sip:as1.home.test", "INVITE", continued, reply(480), "480", time.Second},
		{"603 as well", "sip:as1.home.test", "INVITE", continued, reply(603), "603", time.Second},
		{"unknown name, continued", "sip:as9.home.test", "INVITE", continued, gone, "", time.Second},
		{"unknown name, terminated", "sip:as9.home.test", "INVITE", terminated, gone, "408", time.Second},
		{"no host, continued", "sip:192.0.2.99:5060", "INVITE", continued, gone, "", time.Second},
		{"no host, terminated", "sip:192.0.2.99:5060", "INVITE", terminated, gone, "408", time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice(to(1, tt.server, tt.handling), to(2, "sip:as2.home.test", terminated))
				var took time.Duration
				start := time.Now()
				sent := w.p.send(tt.method, "sip:bob@home.test", alongSR, "P-Asserted-Identity: <sip:alice@home.test>")
				if tt.server == "sip:as1.home.test" {
					tt.step(w, w.as1.want(tt.method))
				}
				if tt.status != "" {
					for status := range strings.FieldsSeq(tt.status) {
						m := w.p.want(status)
						took = time.Since(start)
						if status == "408" && m.Has(sip.HWarning) {
							w.why(m, "SESSION_TERMINATED")
						}
					}
					w.as2.nothing()
				} else {
					got := w.as2.want(tt.method) // the next criterion has the request as it was
					took = time.Since(start)
					mine := []sip.ID{sip.HVia, sip.HRoute, sip.HRecordRoute, sip.HMaxForwards, sip.HMaxBreadth, sip.HPServedUser, sip.HPChargingVector}
					if a, b := lines(sent, mine...), lines(got, mine...); a != b {
						t.Errorf("the request has changed:\n%s\nwas\n%s", b, a)
					}
					odiOf(t, got)
					w.told(trace.Failure, "the session goes on without it (SESSION_CONTINUED)")
					w.as2.reply(got, 486)
					w.p.want("486")
				}
				if took > tt.within || tt.within > time.Second && took < tt.within-200*time.Millisecond {
					t.Errorf("it took %v, want about %v", took, tt.within)
				}
			})
		})
	}
}

func TestAServerThatHasSentTheRequestBackIsNotPassedOver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		// The far end fails through it: that is no failure of the server.
		w.alice(to(1, "sip:as1.home.test", continued))
		w.p.call("sip:bob@home.test")
		w.as1.back(w.as1.want("INVITE"), nil)
		w.i.reply(w.i.want("INVITE"), 500)
		w.as1.relay(w.as1.want("500"))
		w.p.want("500")
		w.i.nothing()
		// One that sends no 100 is there all the same: the phone takes its time.
		w.p.send("MESSAGE", "sip:bob@home.test", alongSR, "P-Asserted-Identity: <sip:alice@home.test>")
		w.as1.back(w.as1.want("MESSAGE"), nil)
		m := w.i.want("MESSAGE")
		time.Sleep(10 * time.Second)
		w.i.reply(m, 202)
		w.as1.relay(w.as1.want("202"))
		w.p.want("202")
		w.i.nothing()
		// One that was passed over must not bring the call a second time.
		w.p.call("sip:bob@home.test")
		late := w.as1.want("INVITE")
		got := w.i.want("INVITE")
		w.as1.back(late, nil)
		w.as1.want("481")
		w.i.reply(got, 486)
		w.p.want("486")
	})
}

func TestWhatApplicationServersMayBe(t *testing.T) {
	conformance.Partly(t, "IF-21") // third-party call control is an originating request like others
	criteria := to(1, "sip:as1.home.test", continued)
	inWorld(t, nil, func(w *world) {
		w.bob(criteria)
		call := func() *sip.Message {
			w.i.send("INVITE", "sip:bob@home.test")
			return w.as1.want("INVITE")
		}
		t.Log("redirect server")
		w.as1.reply(call(), 302, sip.Field{ID: sip.HContact, Value: "<sip:x@far.test>"})
		w.header(w.i.want("302"), sip.HContact, "<sip:x@far.test>")
		t.Log("terminating user agent")
		got := call()
		w.as1.reply(got, 180)
		w.i.want("180")
		w.as1.reply(got, 200)
		w.i.want("200")
		t.Log("proxy")
		w.as1.back(call(), nil)
		w.p.reply(w.p.want("INVITE"), 200)
		w.as1.relay(w.as1.want("200"))
		w.i.want("200")
		t.Log("B2BUA")
		got = call()
		w.as1.back(got, func(e *sip.Edits) {
			e.Set(sip.HCallID, "b2b")
			e.Set(sip.HVia, w.as1.via())
			e.Remove(sip.HRecordRoute)
		})
		m := w.p.want("INVITE")
		if m.CallID() != "b2b" {
			t.Errorf("Call-ID %s", m.CallID())
		}
		w.p.reply(m, 200)
		w.as1.want("200")
		w.as1.reply(got, 200)
		w.i.want("200")
		t.Log("originating user agent")
		w.as1.send("INVITE", "tel:+4922", "P-Asserted-Identity: <sip:svc@home.test>")
		w.as1.reply(w.as1.want("INVITE"), 486)
		w.as1.want("486")
		w.p.nothing()
	})
}

func TestARetargetedCallIsNotForTheOwnContacts(t *testing.T) {
	conformance.Shows(t, "ST-05")
	inWorld(t, nil, func(w *world) {
		w.bob(
			to(1, "sip:as1.home.test", terminated, in(profile.TerminatingRegistered)),
			to(2, "sip:as2.home.test", terminated, in(profile.TerminatingRegistered)),
			to(0, "sip:as2.home.test", terminated, in(profile.OriginatingCDIV)), // from the start again
		)
		retarget := func(ruri string) *sip.Message {
			w.i.send("INVITE", "sip:bob@home.test")
			got := w.as1.want("INVITE")
			w.as1.back(got, func(e *sip.Edits) { e.RequestURI(ruri) })
			return got
		}
		retarget("sip:carol@home.test")
		got := w.as2.want("INVITE")
		w.header(got, sip.HPServedUser, "<sip:bob@home.test>;regstate=reg;orig-cdiv")
		w.as2.back(got, nil)
		got = w.i.want("INVITE")
		w.ruri(got, "sip:carol@home.test")
		w.header(got, sip.HPCalledPartyID, "")
		w.header(got, sip.HPServedUser, "")
		if !strings.HasPrefix(got.Get(sip.HRecordRoute), "<sip:mo@") {
			t.Errorf("Record-Route is %s", got.Get(sip.HRecordRoute))
		}
		w.i.reply(got, 486)
		w.as2.relay(w.as2.want("486"))
		w.as1.relay(w.as1.want("486"))
		w.i.want("486")
		w.p.nothing()
		// Another name of the same user is no other target.
		for _, same := range []string{"tel:+4922", "sip:bob@home.test;x=y", "sip:+4922@home.test;user=phone"} {
			retarget(same)
			got = w.as2.want("INVITE")
			w.header(got, sip.HPServedUser, "<sip:bob@home.test>;sescase=term;regstate=reg")
			w.as2.back(got, nil)
			got = w.p.want("INVITE")
			w.header(got, sip.HPCalledPartyID, "<"+same+">")
			w.p.reply(got, 486)
			w.as2.relay(w.as2.want("486"))
			w.as1.relay(w.as1.want("486"))
			w.i.want("486")
		}
	})
}

func TestAChainKeepsTheProfileItBeganWith(t *testing.T) {
	conformance.Shows(t, "IF-26")
	inWorld(t, nil, func(w *world) {
		reg := w.alice(to(1, "sip:as1.home.test", terminated), to(2, "sip:as2.home.test", terminated))
		w.p.call("sip:bob@home.test")
		got := w.as1.want("INVITE")
		// The HSS pushes a profile without the second server; then Alice is gone.
		fresh, err := w.s.userData(string(user([]profile.InitialFilterCriteria{to(1, "sip:as1.home.test", terminated)}, id("sip:alice@home.test")).Marshal()), "", "")
		if err != nil {
			t.Fatal(err)
		}
		now := fresh.With(reg.Bindings)
		if err := w.s.store.Put(reg, now); err != nil {
			t.Fatal(err)
		}
		w.as1.back(got, nil)
		got = w.as2.want("INVITE")
		if err := w.s.store.Remove(now); err != nil {
			t.Fatal(err)
		}
		w.as2.back(got, nil)
		w.i.reply(w.i.want("INVITE"), 486)
		w.as2.relay(w.as2.want("486"))
		w.as1.relay(w.as1.want("486"))
		w.p.want("486")
	})
}

func TestAChainHasAnEnd(t *testing.T) {
	conformance.Shows(t, "IF-23")
	inWorld(t, nil, func(w *world) {
		var criteria []profile.InitialFilterCriteria
		for i := range int32(maxVisits + 1) {
			criteria = append(criteria, to(i, "sip:as1.home.test", terminated))
		}
		w.alice(criteria...)
		w.p.call("sip:bob@home.test", "Max-Breadth: 60")
		for range maxVisits {
			w.as1.back(w.as1.want("INVITE"), nil)
		}
		w.why(w.as1.want("482"), "has visited 32 application servers")
		w.as1.nothing()
	})
	inWorld(t, nil, func(w *world) { // the same within one transaction, the servers passed over
		var criteria []profile.InitialFilterCriteria
		for i := range int32(maxVisits + 1) {
			criteria = append(criteria, to(i, "sip:as9.home.test", continued))
		}
		w.alice(criteria...)
		w.p.call("sip:bob@home.test")
		w.why(w.p.want("482"), "has visited 32 application servers")
	})
	inWorld(t, nil, func(w *world) { // a server that starts anew each time is ended by Max-Forwards
		w.alice(to(1, "sip:as1.home.test", terminated))
		w.p.call("sip:bob@home.test")
		for range 200 {
			m := <-w.as1.box
			if !m.IsRequest() {
				if m.Status() != 483 {
					t.Errorf("the circle ends with %d", m.Status())
				}
				return
			}
			n, _ := m.MaxForwards()
			w.as1.back(m, func(e *sip.Edits) { // a B2BUA: no loop that RFC 5393 would see
				e.Set(sip.HVia, w.as1.via())
				e.Set(sip.HCallID, sip.NewCallID())
				e.Set(sip.HRoute, "<sip:"+scscfAddr+";lr;orig>")
				e.Set(sip.HMaxForwards, fmt.Sprint(max(n-1, 0)))
			})
		}
		t.Error("the circle does not end")
	})
}

func TestWhatCriteriaSee(t *testing.T) {
	sdp := func(content string) profile.SPT {
		return profile.SPT{Kind: profile.SessionDescriptionSPT, Text: "m", Content: content, HasContent: true}
	}
	const multipart = "--b\r\nContent-Type: application/x\r\n\r\nm=image 1\r\n--b\r\nContent-Disposition: session\r\nc: application/sdp;x=y\r\n\r\nv=0\r\nm=audio 4 RTP\r\n\r\n--b--\r\nContent-Type: application/sdp\r\n\r\nm=video 9\r\n"
	tests := []struct {
		name    string
		trigger profile.SPT
		match   bool
		lines   []string
	}{
		{"no own Route", profile.SPT{Kind: profile.SIPHeaderSPT, Text: "Route"}, false, nil},
		{"another's Route", profile.SPT{Kind: profile.SIPHeaderSPT, Text: "Route", Content: "far", HasContent: true}, true, []string{"Route: <sip:192.0.2.30;lr>, <sip:far.test;lr>"}},
		{"long name of a compact form", profile.SPT{Kind: profile.SIPHeaderSPT, Text: "Supported"}, true, []string{"k: timer"}},
		{"Request-URI", profile.SPT{Kind: profile.RequestURISPT, Text: "^sip:bob@"}, true, nil},
		{"SDP", sdp("^audio"), true, []string{"Content-Type: application/sdp", "body:v=0\nm=audio 4 RTP\n"}},
		{"other SDP", sdp("^video"), false, []string{"Content-Type: application/sdp", "body:v=0\r\nm=audio 4 RTP\r\n"}},
		{"no SDP", sdp("^audio"), false, []string{"Content-Type: text/plain", "body:v=0\r\nm=audio 4 RTP\r\n"}},
		{"SDP among other parts", sdp("^audio"), true, []string{`Content-Type: multipart/mixed;boundary="b"`, "body:" + multipart}},
		{"other parts are no SDP", sdp("^image"), false, []string{"Content-Type: multipart/mixed;boundary=b", "body:" + multipart}},
		{"what follows the last part is nothing", sdp("^video"), false, []string{"Content-Type: multipart/mixed;boundary=b", "body:preamble\r\n" + multipart}},
		{"multipart without a boundary", sdp("^audio"), false, []string{"Content-Type: multipart/mixed", "body:" + multipart}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice(to(1, "sip:as1.home.test", terminated, tt.trigger))
				w.p.call("sip:bob@home.test", tt.lines...)
				at := w.i
				if tt.match {
					at = w.as1
				} else if strings.Contains(tt.name, "another's") {
					at = w.other
				}
				at.reply(at.want("INVITE"), 486)
				w.p.want("486")
			})
		})
	}
}
