package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/internal/torture"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// Every message of RFC 4475 through a proxy that forwards all it accepts: the
// outcome, and what is forwarded is what came.
func TestRFC4475(t *testing.T) {
	conformance.Shows(t, "TR-02")
	for _, tt := range slices.Concat(torture.RFC4475, torture.RFC5118) {
		t.Run(tt.Section+" "+tt.Name, func(t *testing.T) {
			run(t, to("192.0.2.20:5060"), func(w *world) {
				a := w.peer("alice", "192.0.2.10", false)
				defer a.close()
				var mu sync.Mutex
				var back, on []string // what the core sends to the sender's side, and further
				w.net.SetHook(func(p memnet.Packet) memnet.Verdict {
					if p.From == netip.MustParseAddrPort(coreAddr) && p.Kind == memnet.Datagram {
						mu.Lock()
						defer mu.Unlock()
						if p.To.Addr() == netip.MustParseAddr("192.0.2.20") {
							on = append(on, string(p.Data))
						} else {
							back = append(back, string(p.Data))
						}
						return memnet.Drop
					}
					if p.To == netip.MustParseAddrPort("192.0.2.20:5060") && p.Kind == memnet.Connect {
						return memnet.Refuse // the long one must come back to UDP
					}
					return memnet.Pass
				})
				a.send(tt.Raw())
				time.Sleep(200 * time.Millisecond)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()

				back = slices.DeleteFunc(back, func(s string) bool { return strings.HasPrefix(s, "SIP/2.0 100 ") })
				want := tt.Validate
				if want == 0 {
					want = tt.Proxy
				}
				in, err := sip.Parse(tt.Raw())
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case tt.Drop || !in.IsRequest():
					if len(back)+len(on) != 0 {
						t.Fatalf("sent %q %q, want nothing", back, on)
					}
				case want != 0:
					if len(on) != 0 || len(back) != 1 {
						t.Fatalf("answered %q, forwarded %q, want one answer", back, on)
					}
					m, err := sip.Parse(back[0])
					if err != nil || m.Status() != want {
						t.Fatalf("answered %q (%v), want %d", back[0], err, want)
					}
					if want == 420 {
						check(t, "Unsupported", m.Get(sip.HUnsupported), in.Get(sip.HProxyRequire))
					}
				default:
					if len(on) != 1 || len(back) != 0 {
						t.Fatalf("answered %q, forwarded %q, want it forwarded", back, on)
					}
					m, err := sip.Parse(on[0])
					if err != nil {
						t.Fatal(err)
					}
					if tt.Name == "mpart01" { // its Route entry is a strict router
						check(t, "Request-URI", m.RequestURI(), "sip:127.0.0.1:5080")
						check(t, "Route", m.Get(sip.HRoute), "<sip:kumiko@example.org>")
						check(t, "body", m.Body(), in.Body())
						return
					}
					sameMessage(t, in, m)
				}
			})
		})
	}
}

// sameMessage checks that out is in but for what a proxy may touch, line by line.
func sameMessage(t *testing.T, in, out *sip.Message) {
	t.Helper()
	rest := func(m *sip.Message) (lines []string) {
		for i := range m.Len() {
			switch id, _, _ := m.Line(i); id {
			case sip.HVia, sip.HMaxForwards, sip.HMaxBreadth:
			default:
				lines = append(lines, m.RawLine(i))
			}
		}
		return lines
	}
	if got, want := rest(out), rest(in); !slices.Equal(got, want) {
		t.Errorf("forwarded %q\nwant %q", got, want)
	}
	check(t, "body", out.Body(), in.Body())
	check(t, "Request-URI", out.RequestURI(), in.RequestURI())
	vias := func(m *sip.Message) (v []string) { return slices.Collect(m.Values(sip.HVia)) }
	// The one below ours has received and perhaps rport by now, the others are as they were.
	check(t, "Vias", len(vias(out)), len(vias(in))+1)
	if got, want := vias(out)[2:], vias(in)[1:]; !slices.Equal(got, want) {
		t.Errorf("lower Vias %q, want %q", got, want)
	}
}

func TestMaxForwards(t *testing.T) {
	conformance.Shows(t, "TR-03")
	for _, tt := range []struct {
		name, field, want string
		status            int
	}{
		{"decremented", "Max-Forwards: 7", "6", 0},
		{"one is enough", "Max-Forwards: 1", "0", 0},
		{"absent", "-Max-Forwards", "70", 0},
		{"zero", "Max-Forwards: 0", "", 483},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, to("192.0.2.20:5060"), func(w *world) {
				a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
				defer a.close()
				defer b.close()
				a.send(a.text("MESSAGE", "sip:bob@test", "c1", tt.field))
				if tt.status != 0 {
					a.status(tt.status)
					b.nothing(time.Minute)
					return
				}
				m := b.request("MESSAGE")
				check(t, "Max-Forwards", m.msg.Get(sip.HMaxForwards), tt.want)
				check(t, "lines", m.msg.Count(sip.HMaxForwards), 1)
				b.answer(m, 200)
				a.status(200)
				w.quiet()
			})
		})
	}
	t.Run("OPTIONS that ends here is answered", func(t *testing.T) {
		run(t, to("192.0.2.20:5060"), func(w *world) {
			a := w.peer("alice", "192.0.2.10", false)
			defer a.close()
			a.send(a.text("OPTIONS", "sip:192.0.2.1", "c1", "Max-Forwards: 0"))
			check(t, "Supported", a.status(200).Get(sip.HSupported), "path, sec-agree")
			a.send(a.text("OPTIONS", "sip:bob@192.0.2.20", "c2", "Max-Forwards: 0"))
			a.status(483)
			w.quiet()
		}, func(c *Config) { c.Supported = []string{"path", "sec-agree"} })
	})
}

func TestProxyRequire(t *testing.T) {
	conformance.Shows(t, "TR-16")
	run(t, to("192.0.2.20:5060"), func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		invite := a.text("INVITE", "sip:bob@test", "c1", "Proxy-Require: sec-agree, foo", "+Proxy-Require: bar")
		a.send(invite)
		m := a.status(420)
		check(t, "Unsupported", m.Get(sip.HUnsupported), "foo, bar")
		a.ack(invite, m)
		// Require is between the user agents.
		a.send(a.text("MESSAGE", "sip:bob@test", "c2", "Require: foo", "Proxy-Require: Sec-Agree"))
		got := b.request("MESSAGE")
		check(t, "Require", got.msg.Get(sip.HRequire), "foo")
		b.answer(got, 420, sip.Field{ID: sip.HUnsupported, Value: "foo"})
		check(t, "relayed Unsupported", a.status(420).Get(sip.HUnsupported), "foo")
		b.nothing(time.Minute)
		w.quiet()
	}, func(c *Config) { c.Supported = []string{"sec-agree"} })
}

func TestMethodsAndSchemes(t *testing.T) {
	conformance.Shows(t, "TR-17")
	run(t, to("192.0.2.20:5060"), func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		for i, method := range []string{"FOO", "invite", "SPIRAL-1.0"} {
			a.send(a.text(method, "sip:bob@test", string(rune('a'+i))))
			m := b.request(method)
			b.answer(m, 501)
			a.status(501)
		}
		for i, uri := range []string{"tel:+15550001", "urn:service:sos", "sips:bob@test"} {
			a.send(a.text("MESSAGE", uri, string(rune('m'+i)), "To: <sip:bob@test>"))
			m := b.request("MESSAGE")
			check(t, "Request-URI", m.msg.RequestURI(), uri)
			b.answer(m, 200)
			a.status(200)
		}
		a.send(a.text("MESSAGE", "mailto:bob@test", "x", "To: <sip:bob@test>"))
		a.status(416)
		b.nothing(time.Minute)
		w.quiet()
	})
}

// RFC 5393 4: the same request again is a loop; with another Route it is not.
func TestLoops(t *testing.T) {
	conformance.Shows(t, "TR-05")
	again := func(b *peer, m *sip.Message, edit func(*sip.Edits)) string {
		var e sip.Edits
		e.Prepend(sip.HVia, "SIP/2.0/UDP "+b.addr.String()+";branch="+sip.NewBranch())
		edit(&e)
		return string(m.AppendTo(nil, &e))
	}
	t.Run("loop", func(t *testing.T) {
		run(t, to("192.0.2.20:5060"), func(w *world) {
			a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
			defer a.close()
			defer b.close()
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			m := b.request("MESSAGE")
			b.send(again(b, m.msg, func(e *sip.Edits) { e.Set(sip.HMaxForwards, "50") }))
			b.status(482)
			b.answer(m, 482)
			a.status(482)
			w.quiet()
		})
	})
	t.Run("spiral", func(t *testing.T) {
		run(t, to("192.0.2.20:5060"), func(w *world) {
			a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
			defer a.close()
			defer b.close()
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			m := b.request("MESSAGE")
			b.send(again(b, m.msg, func(e *sip.Edits) { e.Prepend(sip.HRoute, "<sip:odi-1@192.0.2.1;lr>") }))
			m2 := b.request("MESSAGE")
			check(t, "Vias", len(slices.Collect(m2.msg.Values(sip.HVia))), 4)
			check(t, "Route", m2.msg.Get(sip.HRoute), "")
			b.answer(m2, 200)
			b.answer(m, 200) // what comes back through the spiral
			b.status(200)
			a.status(200)
			w.quiet()
		})
	})
	t.Run("Max-Breadth", func(t *testing.T) {
		run(t, to("192.0.2.20:5060", "192.0.2.21:5060", "192.0.2.22:5060"), func(w *world) {
			a := w.peer("alice", "192.0.2.10", false)
			bs := []*peer{w.peer("b1", "192.0.2.20", false), w.peer("b2", "192.0.2.21", false), w.peer("b3", "192.0.2.22", false)}
			defer a.close()
			for _, tt := range []struct {
				call, field string
				want        []string
			}{
				{"c1", "-Max-Breadth", []string{"20", "20", "20"}},
				{"c2", "Max-Breadth: 8", []string{"3", "3", "2"}},
				{"c3", "Max-Breadth: 3", []string{"1", "1", "1"}},
			} {
				a.send(a.text("MESSAGE", "sip:bob@test", tt.call, tt.field))
				for i, b := range bs {
					m := b.request("MESSAGE")
					check(t, "Max-Breadth", m.msg.Get(sip.HMaxBreadth), tt.want[i])
					b.answer(m, 404)
				}
				a.status(404)
			}
			for _, few := range []string{"2", "0"} {
				a.send(a.text("MESSAGE", "sip:bob@test", "d"+few, "Max-Breadth: "+few))
				a.status(440)
			}
			for _, b := range bs {
				b.nothing(time.Second)
				defer b.close()
			}
			w.quiet()
		})
	})
}
