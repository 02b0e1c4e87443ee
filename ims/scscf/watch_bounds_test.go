package scscf

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// moves gives Alice's contact another address, the i-th.
func (h *homeNet) moves(i int) {
	h.t.Helper()
	reg := h.has(aliceSIP)
	b := reg.Bindings[0]
	b.CSeq, b.Contact = uint32(100+i), fmt.Sprintf("sip:a@10.0.3.%d", i)
	if err := h.s.store.Put(reg, reg.With([]registrar.Binding{b})); err != nil {
		h.t.Fatal(err)
	}
}

// nobodyWatches checks that nothing is left of a subscription.
func (h *homeNet) nobodyWatches() {
	h.t.Helper()
	if n := h.s.watchers.len() + h.s.agent.Dialogs(); n != 0 {
		h.t.Errorf("%d subscriptions are left", n)
	}
}

// Whoever asks for a NOTIFY in a week has it in half a minute, with one behind it, and no
// subscription once the registration is over.
func TestSubscriberThatPutsOff(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		week := sip.Field{ID: sip.HRetryAfter, Value: "599000"}
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceSIP)
		h.p2.reply(h.p2.want("NOTIFY"), 500, week)
		for i := range 33 {
			h.moves(i)
		}
		sub.wantNotify(state("active v0", "[registered "+aliceAt+" 3600]", "[created "+aliceAt+" 3600]"))
		sub.wantNotify(state("active v1", "[registered sip:a@10.0.3.32 3568]", "[created sip:a@10.0.3.32 3568]"))
		h.p2.nothing()

		h.moves(33)
		h.p2.reply(h.p2.want("NOTIFY"), 500, week)
		p.cseq = 1000 // behind those of moves
		p.again(200, "Contact: *", "Expires: 0")
		left := time.Now()
		h.p2.reply(h.p2.want("NOTIFY"), 500, week)
		m := h.p2.want("NOTIFY")
		contact := "=terminated[unregistered sip:a@10.0.3.33]"
		if got, want := told(t, m), state("terminated noresource v3", contact, contact); got != want {
			t.Errorf("the last NOTIFY says\n%s, want\n%s", got, want)
		}
		h.p2.reply(m, 500, week)
		h.p2.nothing()
		if d := time.Since(left); d > time.Minute {
			t.Errorf("it lasted %v", d)
		}
		h.nobodyWatches()
	})
}

// A change that is behind the subscriber's refresh in the queue of its shard is told with
// its reason: the store, which has it, is ahead of what the shard has heard.
func TestRefreshAheadOfAChange(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceSIP)
		sub.notify()
		one := h.s.watchers.all[aliceSIP][0]
		one.shard.Post(func() {
			reg := h.s.store.Get(aliceSIP)
			if err := h.s.store.RemoveFor(reg, registrar.Rejected); err != nil {
				t.Error(err)
			}
			h.s.watchEvents(one).Refreshed(one.notifier)
		})
		contact := "=terminated[rejected " + aliceAt + "]"
		sub.wantNotify(state("terminated rejected v1", contact, contact))
		sub.subscribe(481)
		h.nobodyWatches()
	})
}

// What one document says of several changes: each contact that is gone with its own cause,
// and none that is back.
func TestSeveralChangesInOne(t *testing.T) {
	bind := func(id, contact string) registrar.Binding {
		return registrar.Binding{ID: id, IMPI: "i", IMPU: aliceSIP, Contact: contact, Expires: time.Now().Add(time.Hour)}
	}
	set := func(b ...registrar.Binding) *registrar.Registration {
		return &registrar.Registration{Identities: []registrar.Identity{{Key: aliceSIP, URI: aliceSIP}}, Bindings: b}
	}
	a, b, c, d := bind("1", "sip:a@10.0.0.1"), bind("2", "sip:b@10.0.0.2"), bind("3", "sip:c@10.0.0.3"), bind("4", "sip:d@10.0.0.4")
	back := bind("5", "sip:b@10.0.0.2;ob")
	first, second, third, last := set(a, b, c), set(c, d), set(d), set(d, back)
	var w *change
	w = w.and(first, second, registrar.Deactivated)
	w = w.and(second, third, registrar.Expired)
	w = w.and(third, last, registrar.Unregistered)
	body, _, _, _ := w.document(1, 0)
	doc, err := reginfo.Parse([]byte(body.Body))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range doc.Registrations[0].Contacts {
		got = append(got, c.Event.String()+" "+c.URI)
	}
	want := "registered sip:d@10.0.0.4, registered " + back.Contact + ", deactivated sip:a@10.0.0.1, expired sip:c@10.0.0.3"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("told is\n%s, want\n%s", s, want)
	}
}

// A contact becomes what our P-CSCF reads, however many parameters it has.
func TestContactOfManyParameters(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.contact = "<" + aliceAt + ">" + strings.Repeat(";a", 1000)
		p.register()
		h.watch(h.p2, aliceSIP, aliceSIP)
		m := h.p2.want("NOTIFY")
		if got, want := told(t, m), state("active v0", "[registered "+aliceAt+" 3600]", "[created "+aliceAt+" 3600]"); got != want {
			t.Errorf("NOTIFY says\n%s, want\n%s", got, want)
		}
		if n := strings.Count(m.Body(), "<unknown-param"); n != 3*reginfo.MaxParams {
			t.Errorf("%d parameters in three registrations", n)
		}
	})
}

// company is a phone of a subscriber with so many identities, and contacts with the
// feature tags of phones.
func (h *homeNet) company(identities, contacts int) *phone {
	ids := []profile.PublicIdentity{id(aliceSIP)}
	for i := range identities - 1 {
		ids = append(ids, id(fmt.Sprintf("sip:one.of.many.%03d@home.test", i)))
	}
	h.hss.user("alice@home.test", user(nil, ids...))
	var all []string
	for i := range contacts {
		all = append(all, fmt.Sprintf(`<sip:310150123456789@[2001:db8:0:1::%d]:5060;transport=udp>;+g.3gpp.icsi-ref="urn%%3Aurn-7%%3A3gpp-service.ims.icsi.mmtel";`+
			`+g.3gpp.smsip;audio;video;+g.3gpp.mid-call;+g.3gpp.srvcc-alerting;+g.3gpp.ps2cs-srvcc-orig-pre-alerting;+sip.instance="<urn:gsma:imei:90420156-025763-%d>"`, i, i))
	}
	p := h.phone("alice")
	p.contact = strings.Join(all, ", ")
	return p
}

// follow takes NOTIFYs until none comes, adds them to what is known, and returns how many
// they were and the last one.
func (s *subscriber) follow(v *reginfo.View) (n int, last *sip.Message) {
	s.h.t.Helper()
	for {
		var m *sip.Message
		select {
		case m = <-s.at.box:
		case <-time.After(2 * time.Second):
			return n, last
		}
		s.at.reply(m, 200)
		doc, err := reginfo.Parse([]byte(m.Body()))
		if err != nil {
			s.h.t.Fatalf("%v in\n%s", err, m.Raw())
		}
		known := len(v.Registrations())
		if v.Apply(doc) != reginfo.Applied || len(m.Raw()) > 56<<10 {
			s.h.t.Errorf("version %d, partial %v, in %d octets does not follow", doc.Version, doc.Partial, len(m.Raw()))
		}
		if doc.Registrations[0].State == reginfo.Active && len(v.Registrations()) < known {
			s.h.t.Errorf("version %d takes identities away that are registered", doc.Version)
		}
		n, last = n+1, m
	}
}

// everywhere checks that all identities have all contacts, after that event.
func everywhere(t *testing.T, v *reginfo.View, identities, contacts int, events ...reginfo.Event) {
	t.Helper()
	got := map[reginfo.Event]int{}
	for _, r := range v.Registrations() {
		for _, c := range r.Contacts {
			got[c.Event]++
		}
	}
	n := 0
	for _, e := range events {
		n += got[e]
	}
	if len(v.Registrations()) != identities || n != identities*contacts {
		t.Errorf("%d identities with contacts that are %v, want %d with %d each", len(v.Registrations()), got, identities, contacts)
	}
}

// Documents that are longer than a message may be leave out what they can, and are several
// if that is not enough: all is told, and in the end that the network has ended it.
func TestLongDocuments(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		identities, contacts int
		documents            int
		params               bool
	}{
		{"one", 10, 3, 1, true},
		{"without parameters", 30, 8, 1, false},
		{"several", 120, 8, 4, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.company(tt.identities, tt.contacts)
				p.register()
				var v reginfo.View
				sub := h.watch(h.p2, aliceSIP, aliceSIP)
				check := func(state string, events ...reginfo.Event) {
					t.Helper()
					n, m := sub.follow(&v)
					if n != tt.documents {
						t.Fatalf("%d NOTIFYs, want %d", n, tt.documents)
					}
					everywhere(t, &v, tt.identities, tt.contacts, events...)
					if got := m.Get(sip.HSubscriptionState); !strings.HasPrefix(got, state) {
						t.Errorf("the last says %s", got)
					}
					if strings.Contains(m.Body(), "<unknown-param") != tt.params {
						t.Errorf("parameters are told: %v", !tt.params)
					}
				}
				check("active", reginfo.Registered, reginfo.Created)
				p.again(200)
				check("active", reginfo.Refreshed)
				h.hss.rtr(&cx.RTR{UserName: p.impi, Reason: cx.DeregistrationReason{Code: cx.PermanentTermination}})
				check("terminated;reason=rejected", reginfo.Rejected)
				h.nobodyWatches()
			})
		})
	}
}

// Contacts that no document takes keep nobody else's out.
func TestContactsThatNoDocumentTakes(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		var long []string
		for i := range 7 {
			long = append(long, fmt.Sprintf("<sip:%s@10.0.1.%d>", strings.Repeat("&", 2000), i)) // each octet is five in XML
		}
		for _, name := range []string{"eve", "alice"} {
			h.hss.user(name+"@home.test", user(nil, id(aliceSIP), id(aliceTel)))
		}
		eve, p := h.phone("eve"), h.phone("alice")
		eve.impu, eve.contact = aliceSIP, strings.Join(long, ", ")
		eve.register()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceSIP)
		var v reginfo.View
		hears := func(e reginfo.Event) {
			t.Helper()
			sub.follow(&v)
			for _, aor := range []string{aliceSIP, aliceTel} {
				if r := v.Find(aor); r == nil || len(r.Contacts) < 4 || r.Contacts[0].URI != aliceAt || r.Contacts[0].State != e.State() {
					t.Fatalf("%s is told as %.200v", aor, r)
				}
			}
		}
		hears(reginfo.Registered)
		h.logged("a document of the reg event has no room for all contacts of an identity: the longest are left out")
		h.hss.rtr(&cx.RTR{UserName: p.impi, PublicIdentities: []string{aliceSIP}, Reason: cx.DeregistrationReason{Code: cx.ServerChange}})
		hears(reginfo.Deactivated)
	})
}

// A SUBSCRIBE whose headers leave no room for a document gets none, and is told so.
func TestNoRoomForADocument(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.company(120, 8)
		p.register()
		h.watch(h.p2, aliceSIP, aliceSIP, "Record-Route: <sip:"+h.p2.addr+";lr>"+strings.Repeat(", <sip:192.0.2.99;lr;x="+strings.Repeat("y", 1000)+">", 20))
		m := h.p2.want("NOTIFY")
		h.p2.reply(m, 200)
		if got := m.Get(sip.HSubscriptionState); got != "terminated;reason=probation;retry-after=300" || m.Body() != "" {
			t.Errorf("%s with %d octets", got, len(m.Body()))
		}
		h.p2.nothing()
		h.logged("a NOTIFY of the reg event is longer than a message may be: the subscription ends")
		h.nobodyWatches()
	})
}
