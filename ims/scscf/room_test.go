package scscf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
)

// long is a contact of nearly the most octets that it may have.
func long(name string, host int) string {
	uri := fmt.Sprintf("sip:%s@10.0.1.%d", name, host)
	return "<" + uri + ">;x=" + strings.Repeat("y", maxContact-len(uri)-len(";x="))
}

// fits checks that a 200 is one that a stream takes, with room for what others add.
func (h *homeNet) fits(m *sip.Message) {
	h.t.Helper()
	if n := len(m.Raw()); n > 24<<10 {
		h.t.Errorf("the 200 has %d octets", n)
	}
}

func TestAContactThatIsTooLong(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		h.why(p.send(400, p.digest("", nil), "Contact: "+long("alice", 1)+"z"), "A Contact of alice@home.test has more than 2048 octets")
		p.register("Contact: " + long("alice", 1))
		h.why(p.again(400, "Contact: "+long("alice", 1)+";z=1"), "has more than 2048 octets")
		if b := h.has(p.impu).Bindings; len(b) != 1 {
			t.Errorf("%d contacts", len(b))
		}
	})
}

// A phone that comes back with another long contact each time: the newest is there,
// also where it ends first.
func TestLongContactsOfOnePhone(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		for i := range maxBindings {
			m := p.register("Contact: "+long("alice", i), fmt.Sprint("Expires: ", 3600-60*i))
			h.fits(m)
			if !strings.Contains(m.Raw(), fmt.Sprintf("<sip:alice@10.0.1.%d>", i)) {
				t.Fatalf("the contact that has been registered is not in\n%s", m.Raw())
			}
		}
		var all []string
		for i := range maxContacts {
			all = append(all, long("alice", 100+i))
		}
		h.fits(p.register("Contact: " + strings.Join(all, ", ")))
		if n := octets(h.has(p.impu).Bindings...); n > maxOctets || n < maxOctets-maxContact {
			t.Errorf("contacts of %d octets are kept, of at most %d", n, maxOctets)
		}
	})
}

// Phones with one set of identities: none keeps the others out, until there is no room
// for one contact of each.
func TestLongContactsOfManyPhones(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		phone := func(name string) *phone {
			h.hss.user(name+"@home.test", user(nil, id(aliceSIP), id(aliceTel)))
			p := h.phone(name)
			p.impu = aliceSIP
			return p
		}
		eve := phone("eve")
		for i := range maxBindings {
			eve.register("Contact: " + long("eve", i))
		}
		for i := range 6 {
			name := fmt.Sprint("phone", i)
			m := phone(name).register("Contact: " + long(name, 1))
			h.fits(m)
			if !strings.Contains(m.Raw(), "<sip:"+name+"@") || !strings.Contains(m.Raw(), "<sip:eve@") {
				t.Fatalf("%s or eve is not in\n%s", name, m.Raw())
			}
		}
		h.hss.asked()
		m := phone("late").registerTo(500, "Contact: "+long("late", 1))
		h.why(m, "would not fit in one answer")
		h.header(m, sip.HRetryAfter, "300")
		h.wantAsked("SAR late@home.test sip:alice@home.test REGISTRATION, SAR late@home.test sip:alice@home.test ADMINISTRATIVE_DEREGISTRATION")
		h.fits(phone("late").register()) // with a contact as phones have it
	})
}

func TestMoreIdentitiesThanAreTold(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		ids := []profile.PublicIdentity{id("tel:+4911")}
		for i := range 300 {
			ids = append(ids, id(fmt.Sprintf("sip:one.of.many.%03d@home.test", i)))
		}
		h.hss.user("alice@home.test", user(nil, ids...))
		p := h.phone("alice")
		p.impu = "sip:one.of.many.299@home.test"
		m := p.register()
		told := m.Get(sip.HPAssociatedURI)
		if !strings.HasPrefix(told, "<sip:one.of.many.000@home.test>, <tel:+4911>, <sip:one.of.many.001@home.test>") || len(told) > maxAssociated || len(told) < maxAssociated-100 {
			t.Errorf("P-Associated-URI of %d octets: %s", len(told), told)
		}
		h.logged("the profile has more identities than P-Associated-URI has room for: phones hear of the first")
		h.wantBindings("sip:one.of.many.298@home.test", "sip:alice@10.0.0.1:5060 3600")
	})
}
