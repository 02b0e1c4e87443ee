package ue

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// espNetwork is the scripted network on the loopback with ESP in UDP; where that is
// taken comes with it.
func espNetwork(t *testing.T) (*network, *netstack.Stack, dropped, netip.AddrPort) {
	t.Helper()
	carrier, err := esp.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	drops := make(dropped, 64)
	stack, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{carrier}, Observer: drops})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	// In clear nobody but us is at port_ps: whatever comes there is not heard.
	deaf, err := transport.Kernel().ListenPacket(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = deaf.Close() })
	g := newGate(stack, transport.Kernel(), addr.Addr())
	g.portS = deaf.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	w := newGatedNetwork(t, transport.Kernel(), addr, g)
	return w, stack, drops, carrier.Local()
}

// dropped gets the packets that were dropped, as many as it holds.
type dropped chan esp.Drop

func (d dropped) Dropped(p esp.Drop) {
	select {
	case d <- p:
	default:
	}
}

func (dropped) FirstPacket(*ipsec.Set, esp.Path)           {}
func (dropped) PathChanged(*ipsec.Set, esp.Path, esp.Path) {}
func (dropped) Expired(*ipsec.Set)                         {}

// Real ESP on the loopback, in real time: a phone over UDP, one over TCP, and what
// goes between them; a NOTIFY that fits no packet; a replayed packet.
func TestESP(t *testing.T) {
	w, stack, drops, at := espNetwork(t)
	config := func(c Config, profile string) Config {
		c.Local, c.Port, c.PCSCF, c.ESPUDP, c.IPsec, c.Profile = netip.Addr{}, 0, w.addr, at, "user", profile
		return c
	}
	a, b := config(aliceConfig(), "generic"), config(bobConfig(), "samsung")
	a.Offer = []ipsec.Pair{sha1AES}
	var phones [2]*Phone
	for i, c := range []Config{b, a} { // the network notifies whoever came last
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		phones[i] = p
	}
	bob, alice := phones[0], phones[1]
	for _, c := range []struct {
		from *Phone
		to   string
	}{{alice, "bob"}, {bob, "alice"}} {
		call, err := c.from.Call(t.Context(), "sip:"+c.to+"@"+domain, CallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := call.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
	}

	// A NOTIFY of 8 kB, over the connection that the P-CSCF dials for it.
	w.mu.Lock()
	n := w.notifiers["alice"]
	w.mu.Unlock()
	if n == nil {
		t.Fatal("alice has not subscribed")
	}
	n.Post(func() { n.Terminate("giveup", 0, largeState()) })
	select {
	case e := <-w.ended:
		if e.Err != nil || !e.Outcome.OK() && e.Outcome != (dialog.Outcome{}) {
			t.Errorf("the subscription ended with %+v", e)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the NOTIFY has not been answered")
	}

	if err := alice.SetFaults(Faults{Replay: true}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Message(t.Context(), "sip:bob@"+domain, "twice"); err != nil {
		t.Error(err)
	}
	select {
	case <-drops: // the second of a pair may still have been under way
	case <-time.After(5 * time.Second):
	}
	if d := stack.Drops(); d[esp.Replayed] == 0 || d[esp.BadICV]+d[esp.UnknownSPI]+d[esp.Selector]+d[esp.Malformed] != 0 {
		t.Errorf("drops by reason %v, want replayed packets alone", d)
	}
	for _, p := range phones {
		if err := p.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// udpOnly is a stack whose TCP is refused: gVisor does not work in a bubble.
type udpOnly struct{ Stack }

func (udpOnly) Dial(context.Context, netip.AddrPort, netip.AddrPort) (net.Conn, error) {
	return nil, syscall.ECONNREFUSED
}

// Every fault that a phone can have, over real ESP in virtual time: what the P-CSCF
// drops, what the phone says, and that it works again without the fault. Everything
// goes by UDP, through a network that carries 1400 octets.
func TestFaultsOverESP(t *testing.T) {
	conformance.Shows(t, "UE-12")
	type world struct {
		*network
		phone     *Phone
		stack     *netstack.Stack // of the P-CSCF
		packets   int             // of the phone's, ESP
		fragments int             // of the P-CSCF's
		again     [][]byte        // packets of the phone's
		memory    *esp.Memory
	}
	with := func(t *testing.T, f func(t *testing.T, w *world)) {
		synctest.Test(t, func(t *testing.T) {
			mem := memnet.New(1)
			w := &world{}
			w.memory = esp.NewMemory(esp.MemoryConfig{MTU: 1400, Delay: 10 * time.Millisecond, Hook: func(p []byte) bool {
				switch {
				case p[15] == 1: // from 192.0.2.1, 192.0.2.3
					w.packets++
					w.again = append(w.again, slices.Clone(p))
				case p[15] == 100 && p[6]&0x3f|p[7] != 0:
					w.fragments++
				}
				return true
			}})
			stacks := [2]Stack{}
			for i := range stacks {
				s, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{w.memory.Carrier()}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close() })
				stacks[i] = udpOnly{s}
				w.stack = s
			}
			h := mem.Host("192.0.2.100")
			w.network = newGatedNetwork(t, h, netAddr, newGate(stacks[1], h, netAddr.Addr()))
			c := secure(aliceConfig())
			c.Net, c.Stack, c.Offer = mem.Host("192.0.2.1", "192.0.2.3"), stacks[0], []ipsec.Pair{md5Null}
			var err error
			if w.phone, err = New(c); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.phone.Close)
			f(t, w)
		})
	}
	register := func(w *world, within time.Duration) error {
		ctx, cancel := context.WithTimeout(w.t.Context(), within)
		defer cancel()
		_, err := w.phone.Register(ctx)
		return err
	}
	const nothing = esp.Reasons
	for _, c := range []struct {
		fault string
		drop  esp.Reason
		says  string // the error; "": none
	}{
		{"wrong-opc", nothing, "MAC failure"},
		{"wrong-res", nothing, "403"},
		{"sqn-ahead", nothing, ""},
		{"wrong-spi", esp.UnknownSPI, "look whether ESP reaches the P-CSCF"},
		{"wrong-keys", esp.BadICV, "pcscf --explain alice@"},
		{"wrong-verify", nothing, "494"},
		{"no-esp", nothing, "deadline"},
		{"cut", nothing, ErrCut.Error()},
		{"duplicate", nothing, ""},
	} {
		t.Run(c.fault, func(t *testing.T) {
			with(t, func(t *testing.T, w *world) {
				var faults Faults
				if err := faults.Set(c.fault); err != nil {
					t.Fatal(err)
				}
				if err := w.phone.SetFaults(faults); err != nil {
					t.Fatal(err)
				}
				err := register(w, 30*time.Second)
				if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v", err)
				}
				for r, n := range w.stack.Drops() {
					if (esp.Reason(r) == c.drop) != (n > 0) {
						t.Errorf("%v: %d packets dropped", esp.Reason(r), n)
					}
				}
				n := len(w.registered())
				if c.fault == "no-esp" && w.packets != 0 || c.fault == "duplicate" && (n != 2 || w.packets < 4) {
					t.Errorf("%d packets of ESP, %d REGISTERs taken", w.packets, n)
				}
				if err := w.phone.SetFaults(Faults{}); err != nil {
					t.Fatal(err)
				}
				if err := register(w, 3*time.Minute); err != nil {
					t.Errorf("without the fault: %v", err)
				}
			})
		})
	}
	t.Run("cut in a call", func(t *testing.T) {
		with(t, func(t *testing.T, w *world) {
			if err := register(w, time.Minute); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if err := w.phone.SetFaults(Faults{Cut: true}); err != nil {
				t.Fatal(err)
			}
			w.requests()
			before := w.packets
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := w.phone.Call(ctx, "tel:+1", CallOptions{}); err == nil {
				t.Error("the call came up")
			}
			time.Sleep(time.Second)
			if m := w.requests(); len(m) != 1 || m[0].Method() != "INVITE" || w.packets-before > 3 || w.phone.Registration() != nil {
				t.Errorf("%d requests, %d packets, registration %v", len(m), w.packets-before, w.phone.Registration())
			}
		})
	})
	t.Run("replayed", func(t *testing.T) {
		with(t, func(t *testing.T, w *world) {
			if err := register(w, time.Minute); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			n := len(w.registered())
			for _, p := range w.again {
				w.memory.Inject(p)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if d := w.stack.Drops(); d[esp.Replayed] == 0 || n != 2 || len(w.registered()) != 0 {
				t.Errorf("drops %v, %d REGISTERs", d, n)
			}
		})
	})
	t.Run("another address", func(t *testing.T) {
		with(t, func(t *testing.T, w *world) {
			if err := register(w, time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := w.phone.Move(netip.MustParseAddr("192.0.2.3")); err != nil {
				t.Fatal(err)
			}
			if err := register(w, time.Minute); err != nil {
				t.Fatal(err)
			}
			if a := w.phone.Registration().Protection.Local.Addr; a != netip.MustParseAddr("192.0.2.3") {
				t.Errorf("protected at %v", a)
			}
		})
	})
	t.Run("a NOTIFY in fragments", func(t *testing.T) {
		with(t, func(t *testing.T, w *world) {
			if err := register(w, time.Minute); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			w.mu.Lock()
			n := w.notifiers["alice"]
			w.mu.Unlock()
			before := w.fragments
			n.Post(func() { n.Terminate("giveup", 0, largeState()) })
			time.Sleep(time.Second)
			synctest.Wait()
			if w.phone.agent.Dialogs() != 0 || w.fragments-before < 6 {
				t.Errorf("%d dialogs after a NOTIFY in %d fragments", w.phone.agent.Dialogs(), w.fragments-before)
			}
		})
	})
}

// largeState is a registration state of some 8 kB.
func largeState() dialog.Part {
	d := reginfo.Document{Version: 1, Registrations: []reginfo.Registration{{AOR: "sip:alice@" + domain, ID: "a", State: reginfo.Active}}}
	for i := range 60 {
		d.Registrations[0].Contacts = append(d.Registrations[0].Contacts, reginfo.Contact{
			ID: fmt.Sprint(i), State: reginfo.Active, Event: reginfo.Registered, URI: fmt.Sprintf("sip:%s@192.0.2.%d", strings.Repeat("x", 40), i)})
	}
	return dialog.Part{Type: reginfo.ContentType, Body: string(d.Append(nil))}
}

// The commands with IPsec, as scripts use them.
func TestCommandsWithIPsec(t *testing.T) {
	w, _, _, at := espNetwork(t)
	const k, opc = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
	args := func(more ...string) []string {
		return append([]string{"register", "--pcscf", w.addr.String(), "--domain", domain, "--impi", "alice@" + domain,
			"--impu", "sip:alice@" + domain, "--k", k, "--opc", opc, "--json", "--esp-udp", at.String()}, more...)
	}
	t.Run("auto", func(t *testing.T) {
		out, err := run(t, args("--offer", "hmac-sha-1-96/aes-cbc")...)
		for _, want := range []string{`"ok":true`, `"ipsec":{"backend":"user","alg":"hmac-sha-1-96","ealg":"aes-cbc","mod":"trans","phone":{"addr":"127.0.0.1","port_c":`, `"pcscf":{"addr":"127.0.0.1","port_c":5100,"port_s":` + fmt.Sprint(w.gate.portS) + `,"spi_c":4096,"spi_s":4097}`} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%v, want %s in\n%s", err, want, out)
			}
		}
	})
	t.Run("user, samsung", func(t *testing.T) {
		if out, err := run(t, args("--ipsec", "user", "--profile", "samsung")...); err != nil || !strings.Contains(out, `"port_c":6301,"port_s":6300`) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("none", func(t *testing.T) {
		if out, err := run(t, args("--ipsec", "none")...); err == nil || !strings.Contains(out, "insists on IPsec") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for _, c := range []struct{ fault, timeout, says string }{
		{"wrong-verify", "10s", "494"},
		{"no-esp", "500ms", "within --timeout"},
		{"cut", "10s", "cut off"},
		{"clear-register", "1s", "within --timeout"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			if out, err := run(t, args("--fault", c.fault, "--timeout", c.timeout)...); err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The same over IPv6, every pair of algorithms.
func TestESPOverIPv6(t *testing.T) {
	for _, pair := range ipsec.Pairs {
		t.Run(pair.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem, memory := memnet.New(1), esp.NewMemory(esp.MemoryConfig{MTU: 1400})
				stack := func() (*netstack.Stack, Stack) {
					s, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{memory.Carrier()}})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = s.Close() })
					return s, udpOnly{s}
				}
				h, addr := mem.Host("2001:db8::100"), netip.MustParseAddrPort("[2001:db8::100]:5060")
				s, back := stack()
				newGatedNetwork(t, h, addr, newGate(back, h, addr.Addr()))
				c := secure(aliceConfig())
				c.Local, c.PCSCF, c.Net, c.Offer = netip.MustParseAddr("2001:db8::1"), addr, mem.Host("2001:db8::1"), []ipsec.Pair{pair}
				_, c.Stack = stack()
				p, err := New(c)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Close)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				g, err := p.Register(ctx)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if !strings.Contains(g.Contact, "@[2001:db8::1]:") || g.Protection.Pair != pair || p.agent.Dialogs() != 1 || s.Drops() != [esp.Reasons]uint64{} {
					t.Errorf("%+v, drops %v", g, s.Drops())
				}
				if err := p.Deregister(ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A phone does not protect the port at which it is reached in clear: its stack in
// user space does not know that this is taken.
func TestProtectedPortsAreNotTheOpenOne(t *testing.T) {
	for _, port := range []uint16{6300, 6301} { // port_us and port_uc, the first that the profile has
		bubble(t, func(t *testing.T, w *world) {
			stack, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{esp.NewMemory(esp.MemoryConfig{}).Carrier()}})
			if err != nil {
				t.Fatal(err)
			}
			defer stack.Close()
			c := secure(aliceConfig())
			c.Net, c.Stack, c.Profile, c.Port = w.hosts[0], stack, "samsung", port
			p, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			var e ipsec.End
			if err := p.onShard(func() error {
				err := p.guard.newOffer()
				e = p.guard.offered.end
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if e.PortC == port || e.PortS == port {
				t.Errorf("in clear at %v, and offers %d and %d", p.Addr(), e.PortC, e.PortS)
			}
		})
	}
}
