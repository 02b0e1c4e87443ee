package scscf

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// watch subscribes to the reg event of an identity from a peer and returns the 200;
// the NOTIFY is left to be taken.
func (h *homeNet) watch(from *peer, who, impu string, lines ...string) *subscriber {
	h.t.Helper()
	sub := &subscriber{h: h, at: from, who: who, impu: impu, callID: sip.NewCallID(), tag: sip.NewTag()}
	ok := sub.subscribe(200, lines...)
	sub.to = ok.Get(sip.HTo)
	sub.target, _ = sip.ParseNameAddr(ok.First(sip.HContact))
	sub.ok = ok
	return sub
}

type subscriber struct {
	h                      *homeNet
	at                     *peer
	who, impu, callID, tag string
	to                     string // with its tag, once there is a dialog
	target                 sip.NameAddr
	cseq                   int
	ok                     *sip.Message
}

// subscribe sends a SUBSCRIBE, in the dialog if there is one.
func (s *subscriber) subscribe(status int, lines ...string) *sip.Message {
	s.h.t.Helper()
	s.cseq++
	uri, to := s.impu, "<"+s.impu+">"
	if s.to != "" {
		uri, to = s.target.URI, s.to
	}
	out := []string{
		"SUBSCRIBE " + uri + " SIP/2.0", "Via: " + s.at.via(), "Max-Forwards: 68", "From: <" + s.who + ">;tag=" + s.tag, "To: " + to,
		"Call-ID: " + s.callID, fmt.Sprintf("CSeq: %d SUBSCRIBE", s.cseq), "Contact: <sip:" + s.at.addr + ">", "Event: reg",
		"P-Asserted-Identity: <" + s.who + ">", `P-Charging-Vector: icid-value="sub";orig-ioi="Type 1visited.test"`,
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Expires:") }) {
		out = append(out, "Expires: 600000")
	}
	s.at.write([]byte(strings.Join(append(append(out, lines...), "Content-Length: 0", "", ""), "\r\n")))
	return s.at.want(fmt.Sprint(status))
}

// notify takes a NOTIFY, answers it with 200 and returns what it says: its state,
// and its document in one line.
func (s *subscriber) notify() string {
	s.h.t.Helper()
	m := s.at.want("NOTIFY")
	s.at.reply(m, 200)
	return told(s.h.t, m)
}

func (s *subscriber) wantNotify(want string) {
	s.h.t.Helper()
	if got := s.notify(); got != want {
		s.h.t.Errorf("NOTIFY says\n%s, want\n%s", got, want)
	}
}

// told writes a NOTIFY as "active v0 sip:a[registered sip:contact 3600] …".
func told(t *testing.T, m *sip.Message) string {
	t.Helper()
	st, err := sip.ParseSubscriptionState(m.Get(sip.HSubscriptionState))
	if err != nil {
		t.Fatal(err)
	}
	out := st.State
	if st.Reason != "" {
		out += " " + st.Reason
	}
	if m.Body() == "" {
		return out
	}
	doc, err := reginfo.Parse([]byte(m.Body()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, m.Raw())
	}
	if doc.Partial || m.Get(sip.HContentType) != reginfo.ContentType || m.Get(sip.HEvent) != "reg" {
		t.Errorf("no full state:\n%s", m.Raw())
	}
	out += fmt.Sprintf(" v%d", doc.Version)
	for _, r := range doc.Registrations {
		out += " " + r.AOR
		if r.State != reginfo.Active {
			out += "=" + r.State.String()
		}
		var contacts []string
		for _, c := range r.Contacts {
			line := c.Event.String() + " " + c.URI
			if c.State == reginfo.Active {
				line += fmt.Sprintf(" %d", c.Expires)
			}
			contacts = append(contacts, line)
		}
		out += "[" + strings.Join(contacts, ", ") + "]"
	}
	return out
}

// has returns the bindings of an identity, which must be registered.
func (h *homeNet) has(impu string) *registrar.Registration {
	h.t.Helper()
	r := h.s.store.Get(impu)
	if !r.Registered() {
		h.t.Fatalf("%s is not registered", impu)
	}
	return r
}
