package ue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
)

// inClear collects what a phone sends outside of its sets from now on.
func (w *world) inClear(p *Phone) *[]string {
	var out []string
	w.mem.SetHook(func(m memnet.Packet) memnet.Verdict {
		if m.From == p.Addr() && m.Kind != memnet.Finish {
			out = append(out, fmt.Sprintf("%v->%v %q", m.From, m.To, m.Data))
		}
		return memnet.Pass
	})
	w.t.Cleanup(func() { w.mem.SetHook(nil) })
	return &out
}

// A 200 that comes when the network has ended the registration, and its sets are about
// to go, leaves no phone that is registered and in clear.
func TestGrantedWhenItsSetIsGone(t *testing.T) {
	gated(t, func(t *testing.T, w *world) {
		p := w.registeredPhone(secure(aliceConfig()))
		w.set(func() {
			w.intercept = func(x *proxy.Exchange) bool {
				w.intercept = nil
				go func() {
					w.tell("alice", reginfo.Rejected, 0)
					time.Sleep(time.Second)
					x.Post(func() { w.set(func() { w.grant(x) }) })
				}()
				return true
			}
		})
		clear := w.inClear(p)
		if g, err := p.Register(w.ctx()); err == nil || !strings.Contains(err.Error(), "security associations") {
			t.Errorf("registered as %+v, error %v", g, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.Registration() != nil || len(*clear) != 0 {
			t.Errorf("registration %+v; in clear left %s", p.Registration(), *clear)
		}
	})
}

// A phone that is told to protect takes no registration that nothing protects.
func TestGrantedInClear(t *testing.T) {
	for mode, want := range map[string]error{ipsecUser: ErrNoAgreement, ipsecAuto: nil} {
		gated(t, func(t *testing.T, w *world) {
			c := secure(aliceConfig())
			c.IPsec, c.NoSubscribe = mode, true
			w.set(func() {
				w.intercept = func(x *proxy.Exchange) bool {
					w.uris["alice"] = "sip:alice@192.0.2.1"
					contact := x.Req.First(sip.HContact)
					x.Reply(200, "", sip.Field{ID: sip.HContact, Value: contact[:strings.IndexByte(contact, '>')+1] + ";expires=600"})
					return true
				}
			})
			p := w.phone(c)
			if _, err := p.Register(w.ctx()); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", mode, err, want)
			}
			if (p.Registration() == nil) != (want != nil) {
				t.Errorf("%s: registration %+v", mode, p.Registration())
			}
		})
	}
}

// A network that challenges the answer to its challenge gets another answer, by the
// same offer.
func TestChallengedTwice(t *testing.T) {
	gated(t, func(t *testing.T, w *world) {
		w.set(func() {
			w.intercept = func(x *proxy.Exchange) bool {
				if x.Flow.Role == sip.RoleGm {
					return false
				}
				w.intercept = nil
				w.challenge(x, "alice@"+domain)
				return true
			}
		})
		w.stacks[0].lets = 100 * time.Millisecond
		p := w.phone(secure(aliceConfig()))
		g, err := p.Register(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		var order []byte // the kernel cannot have two sets with the same SPIs
		w.stacks[0].locked(func() {
			for _, l := range w.stacks[0].log {
				order = append(order, l[0])
			}
		})
		if string(order) != "+-+" {
			t.Errorf("the stack was told %s", w.stacks[0].log)
		}
		ms, _ := w.registeredOver()
		sets := w.sets()
		if len(ms) != 3 || len(sets) != 1 || g.Challenges != 2 || sets[0].Remote.PortC != 5101 {
			t.Errorf("%d REGISTERs, sets %v, %d challenges", len(ms), sets, g.Challenges)
		}
		if ms[2].Get(sip.HSecurityClient) != ms[0].Get(sip.HSecurityClient) {
			t.Error("the second answer has another Security-Client")
		}
	})
}

// A stack that is slow puts a set in when nobody wants it any more: it goes, whatever
// the phone does meanwhile.
func TestSetsThatStandTooLate(t *testing.T) {
	held := func(w *world) (release func()) {
		gate := make(chan bool)
		first := true
		w.stacks[0].slow = func(*ipsec.Set) {
			if first {
				first = false
				<-gate
			}
		}
		return func() { close(gate) }
	}
	t.Run("after the next registration", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			release := held(w)
			p := w.phone(secure(aliceConfig()))
			ctx, cancel := context.WithTimeout(w.ctx(), time.Second)
			defer cancel()
			if _, err := p.Register(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			w.set(func() { // the next answer takes its time
				w.intercept = func(x *proxy.Exchange) bool {
					if x.Flow.Role == sip.RoleGm {
						return false
					}
					w.intercept = nil
					go func() {
						time.Sleep(time.Second)
						x.Post(func() { w.set(func() { w.grant(x) }) })
					}()
					return true
				}
			})
			time.AfterFunc(500*time.Millisecond, release)
			g, err := p.Register(w.ctx())
			if err != nil || g.Protection == nil {
				t.Fatalf("%v, %+v", err, g)
			}
			if sets := w.sets(); len(sets) != 1 || sets[0].Local != g.Protection.Local {
				t.Errorf("protected by %+v, sets %v", g.Protection, sets)
			}
		})
	})
	t.Run("after a reset", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			release := held(w)
			p := w.phone(secure(aliceConfig()))
			done := make(chan error)
			go func() {
				_, err := p.Register(w.ctx())
				done <- err
			}()
			time.Sleep(time.Second)
			if err := p.Reset(); err != nil {
				t.Fatal(err)
			}
			w.registered()
			release()
			if err := <-done; !errors.Is(err, errOvertaken) {
				t.Errorf("registering with a set from before the reset: %v", err)
			}
			time.Sleep(time.Second)
			if n := len(w.sets()); n != 0 || len(w.registered()) != 0 || len(p.guard.opened) != 0 {
				t.Errorf("%d sets, open %v", n, p.guard.opened)
			}
			if _, err := p.Register(w.ctx()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	})
}

// A phone that takes another port_us with each offer closes those that nothing came of.
func TestOffersLeaveNoPorts(t *testing.T) {
	gated(t, func(t *testing.T, w *world) {
		c := secure(aliceConfig())
		c.Profile = "pixel-rows"
		p := w.registeredPhone(c)
		for range 5 { // without a challenge
			if _, err := p.Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(p.guard.opened); n > 3 {
			t.Errorf("%d ports are open, want those of one set, and the last port_us", n)
		}
	})
}

// What was to go over a set that is gone meanwhile is not dialled in clear.
func TestNoDialInClearFromAProtectedPort(t *testing.T) {
	s := &sockets{clear: noNet{}, stack: noNet{}, port: 5060}
	a := netip.MustParseAddr("192.0.2.1")
	s.protect(netip.AddrPortFrom(a, 6000))
	for port, ok := range map[uint16]bool{0: true, 5060: true, 6000: true, 6001: false} {
		_, err := s.Dial(t.Context(), netip.AddrPortFrom(a, port), netAddr)
		if dialled := errors.Is(err, errNoNet); dialled != ok {
			t.Errorf("from port %d: %v", port, err)
		}
	}
}

var errNoNet = errors.New("dialled")

// noNet notes that it was asked to dial.
type noNet struct{}

func (noNet) ListenPacket(netip.AddrPort) (net.PacketConn, error) { return nil, errNoNet }
func (noNet) Listen(netip.AddrPort) (net.Listener, error)         { return nil, errNoNet }
func (noNet) Dial(context.Context, netip.AddrPort, netip.AddrPort) (net.Conn, error) {
	return nil, errNoNet
}
