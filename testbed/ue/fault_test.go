package ue

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
)

// What each fault of the agreement looks like at the P-CSCF, and what the phone says.
func TestProtectionFaults(t *testing.T) {
	for _, c := range []struct {
		fault string
		drop  string // counted at the P-CSCF
		err   string // "" for none
	}{
		{"wrong-keys", "keys", "deadline"},
		{"wrong-spi", "unknown SPI", "deadline"},
		{"no-esp", "", "deadline"},
		{"wrong-verify", "", "494"},
		{"cut", "", ErrCut.Error()},
		{"duplicate", "", ""},
	} {
		t.Run(c.fault, func(t *testing.T) {
			gated(t, func(t *testing.T, w *world) {
				cfg := secure(aliceConfig())
				if err := cfg.Faults.Set(c.fault); err != nil {
					t.Fatal(err)
				}
				// Everything by UDP: a datagram that is lost is sent again.
				cfg.Offer = []ipsec.Pair{md5Null}
				packets, registers := 0, 0
				var mu sync.Mutex // many goroutines send
				w.mem.SetHook(func(p memnet.Packet) memnet.Verdict {
					mu.Lock()
					defer mu.Unlock()
					if p.To.Port() == gatePS && p.Kind == memnet.Datagram {
						packets++
					}
					registers += strings.Count(string(p.Data), "REGISTER sip:")
					return memnet.Pass
				})
				p := w.phone(cfg)
				ctx, cancel := context.WithTimeout(w.ctx(), 20*time.Second)
				defer cancel()
				_, err := p.Register(ctx)
				synctest.Wait()
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v", err)
				}
				var drops map[string]int
				w.gate.stack.locked(func() { drops = w.gate.stack.drops })
				if c.drop != "" && drops[c.drop] == 0 || c.drop == "" && len(drops) != 0 {
					t.Errorf("the P-CSCF has dropped %v", drops)
				}
				n := len(w.registered())
				switch c.fault {
				case "no-esp":
					if packets != 0 {
						t.Errorf("%d packets to port_ps", packets)
					}
				case "cut":
					if n != 2 || len(w.sets()) != 0 {
						t.Errorf("%d REGISTERs, %d sets", n, len(w.sets()))
					}
					before := packets
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					if packets != before {
						t.Errorf("%d packets from a phone that is cut off", packets-before)
					}
				case "duplicate": // a transaction over UDP absorbs the second
					if registers < 3 || n != 2 {
						t.Errorf("%d REGISTERs sent, %d taken; want at least 3 and 2", registers, n)
					}
				}
				if err := p.SetFaults(Faults{}); err != nil {
					t.Fatal(err)
				}
				if _, err := p.Register(w.ctx()); err != nil {
					t.Errorf("without the fault: %v", err)
				}
			})
		})
	}
}

// A REGISTER in clear at the protected port gets nowhere; the phone is told to look.
func TestClearRegister(t *testing.T) {
	gated(t, func(t *testing.T, w *world) {
		c := secure(aliceConfig())
		c.Offer = []ipsec.Pair{md5Null}
		p := w.registeredPhone(c)
		if err := p.SetFaults(Faults{ClearRegister: true}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.ctx(), 20*time.Second)
		defer cancel()
		if _, err := p.Register(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if n := len(w.registered()); n != 0 {
			t.Errorf("%d REGISTERs taken", n)
		}
		// What is no ESP is dropped at the protected port.
		if d := w.gate.stack.drops["unknown SPI"] + w.gate.stack.drops["clear"]; d == 0 {
			t.Errorf("drops %v", w.gate.stack.drops)
		}
		if err := p.SetFaults(Faults{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Register(w.ctx()); err != nil {
			t.Error(err)
		}
	})
}

// Answers in clear, as a fault and where the Via names a port that no set leads to.
func TestClearResponses(t *testing.T) {
	for _, c := range []struct {
		name string
		port uint16 // of the Via; 0: port_ps
	}{{"as a fault", 0}, {"to port_pc", 5100}} {
		t.Run(c.name, func(t *testing.T) {
			gated(t, func(t *testing.T, w *world) {
				cfg := secure(aliceConfig())
				cfg.Offer, cfg.NoSubscribe = []ipsec.Pair{md5Null}, true
				p := w.registeredPhone(cfg)
				to := netip.AddrPortFrom(netAddr.Addr(), gatePS)
				if c.port != 0 {
					to = netip.AddrPortFrom(netAddr.Addr(), c.port)
				} else if err := p.SetFaults(Faults{ClearResponses: true}); err != nil {
					t.Fatal(err)
				}
				var clear []string
				w.mem.SetHook(func(m memnet.Packet) memnet.Verdict {
					if m.From == p.Addr() && m.To == to {
						clear = append(clear, string(m.Data))
					}
					return memnet.Pass
				})
				s := w.gate.last["alice"]
				w.gate.send(s, options(s, to.Port()))
				time.Sleep(time.Second)
				synctest.Wait()
				if len(clear) != 1 || !strings.HasPrefix(clear[0], "SIP/2.0 200") {
					t.Errorf("in clear: %q", clear)
				}
			})
		})
	}
}

func TestFaultNames(t *testing.T) {
	var f Faults
	for _, n := range FaultNames() {
		before := f
		if err := f.Set(n); err != nil || f == before {
			t.Errorf("%s: %v, %+v", n, err, f)
		}
	}
	if err := f.Set("flat-battery"); err == nil || !strings.Contains(err.Error(), "wrong-verify") {
		t.Errorf("error %v", err)
	}
	if !slices.Contains(FaultNames(), "no-esp") {
		t.Error(FaultNames())
	}
	c := secure(aliceConfig())
	c.Faults.Replay, c.Stack = true, newSealed(nil)
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "stack of the phone's own") {
		t.Errorf("error %v", err)
	}
}
