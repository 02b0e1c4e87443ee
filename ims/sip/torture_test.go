package sip

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip/internal/torture"
)

// What a proxy answers to those that pass here is shown by the proxy's tests,
// over the same table.
func TestRFC4475Outcomes(t *testing.T) {
	if len(torture.RFC4475) != 49 {
		t.Fatalf("%d rows; the RFC has 49 messages", len(torture.RFC4475))
	}
	testOutcomes(t, torture.RFC4475)
}

func TestRFC5118Outcomes(t *testing.T) { testOutcomes(t, torture.RFC5118) }

func testOutcomes(t *testing.T, cases []torture.Case) {
	for _, tt := range cases {
		t.Run(tt.Section+" "+tt.Name, func(t *testing.T) {
			m, err := Parse(tt.Raw())
			if err != nil {
				t.Fatalf("cannot be indexed: %v", err)
			}
			if got := string(m.AppendTo(nil, nil)); !strings.HasPrefix(tt.Raw(), got) || got != m.Raw() {
				t.Error("the message does not leave as it came")
			}
			p := Validate(m)
			if tt.Validate == 0 && !tt.Drop {
				if p != nil {
					t.Fatalf("refused: %v", p)
				}
				return
			}
			if p == nil {
				t.Fatalf("accepted, want %d", tt.Validate)
			}
			name := ""
			if p.Header != Other {
				name = p.Header.String()
			}
			if p.Status != tt.Validate || name != tt.Header {
				t.Fatalf("%v (about %q), want %d about %q", p, name, tt.Validate, tt.Header)
			}
			// TR-20: the reason phrase names the header.
			if p.Status == 400 && name != "" && !strings.Contains(p.Reason, name) {
				t.Errorf("reason %q does not name %s", p.Reason, name)
			}
		})
	}
}

// What the valid messages of RFC 4475 §3.1.1 hold must also be read rightly.
func TestRFC4475Contents(t *testing.T) {
	get := func(t *testing.T, name string) *Message {
		for _, c := range torture.RFC4475 {
			if c.Name == name {
				m, err := Parse(c.Raw())
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
		}
		t.Fatalf("no message %s", name)
		return nil
	}
	check := func(t *testing.T, what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	t.Run("wsinv", func(t *testing.T) {
		m := get(t, "wsinv")
		check(t, "To tag", m.ToTag(), "1918181833n")
		check(t, "From tag", m.FromTag(), "98asjd8")
		from, err := ParseNameAddr(m.Get(HFrom))
		check(t, "From error", err, nil)
		check(t, "From display", from.Display, `J Rosenberg \"`)
		check(t, "From URI", from.URI, "sip:jdrosen@example.com")
		n, ok := m.MaxForwards()
		check(t, "Max-Forwards", n, 68)
		check(t, "Max-Forwards ok", ok, true)
		check(t, "CSeq", m.Get(HCSeq), "0009 INVITE")
		var vias []Via
		for s := range m.Values(HVia) {
			v, err := ParseVia(s)
			check(t, "Via error", err, nil)
			vias = append(vias, v)
		}
		if len(vias) != 3 {
			t.Fatalf("%d Vias", len(vias))
		}
		check(t, "Via 1", vias[0].String(), "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw")
		check(t, "Via 2", vias[1].String(), "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8")
		check(t, "Via 3", vias[2].String(), "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239")
		check(t, "Subject", m.Get(HSubject), "")
		check(t, "Has Subject", m.Has(HSubject), true)
		check(t, "NewFangledHeader", m.GetName("newfangledheader"), "newfangled value continued newfangled value")
		check(t, "UnknownHeaderWithUnusualValue", m.GetName("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
		contact, err := ParseNameAddr(m.First(HContact))
		check(t, "Contact error", err, nil)
		check(t, "Contact display", contact.Display, `Quoted string ""`)
		q, _ := contact.Param("q")
		check(t, "Contact q", q, "0.33")
		newparam, _ := contact.Param("newparam")
		check(t, "Contact newparam", newparam, "newvalue")
		check(t, "body", len(m.Body()), 150)
	})
	t.Run("intmeth", func(t *testing.T) {
		m := get(t, "intmeth")
		check(t, "method", m.Method(), "!interesting-Method0123456789_*+`.%indeed'~")
		to, err := ParseNameAddr(m.Get(HTo))
		check(t, "To error", err, nil)
		check(t, "To display", to.Display, "BEL:\a NUL:\x00 DEL:\x7f")
		check(t, "From tag", m.FromTag(), "_token~1'+`*%!-.")
	})
	t.Run("dblreq", func(t *testing.T) {
		m := get(t, "dblreq")
		check(t, "method", m.Method(), "REGISTER")
		check(t, "body", m.Body(), "")
		check(t, "second request", strings.Contains(m.Raw(), "INVITE"), false)
	})
	t.Run("esc02", func(t *testing.T) {
		check(t, "contacts", get(t, "esc02").Count(HContact), 2) // C%6Fntact is not Contact
	})
	t.Run("semiuri", func(t *testing.T) {
		check(t, "URI", get(t, "semiuri").RequestURI(), "sip:user;par=u%40example.net@example.com")
	})
	t.Run("lwsdisp", func(t *testing.T) {
		from, err := ParseNameAddr(get(t, "lwsdisp").Get(HFrom))
		check(t, "error", err, nil)
		check(t, "display", from.Display, "caller")
	})
	t.Run("unreason", func(t *testing.T) {
		m := get(t, "unreason")
		check(t, "status", m.Status(), 200)
		check(t, "reason", len(m.Reason()), len("= 2**3 * 5**2 но сто девяносто девять - простое"))
	})
	t.Run("noreason", func(t *testing.T) {
		m := get(t, "noreason")
		check(t, "status", m.Status(), 100)
		check(t, "reason", m.Reason(), "")
	})
	t.Run("mpart01", func(t *testing.T) {
		m := get(t, "mpart01")
		check(t, "body", len(m.Body()), 553)
	})
	t.Run("cparam", func(t *testing.T) {
		c, err := ParseNameAddr(get(t, "cparam01").First(HContact))
		check(t, "error", err, nil)
		check(t, "header parameter", c.Params.Has("unknownparam"), true)
		c, err = ParseNameAddr(get(t, "cparam02").First(HContact))
		check(t, "error", err, nil)
		check(t, "URI parameter", c.Params.Has("unknownparam"), false)
	})
}
