package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

type expiry struct {
	id   ipsec.SetID
	hard bool
}

func TestTheEndOfASetIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKernel()
		var told []expiry
		b, ev := started(t, f, func(c *Config) {
			c.Expired = func(id ipsec.SetID, hard bool) { told = append(told, expiry{id, hard}) }
		})
		one, two := set(1, sha1Null), set(2, sha1Null)
		for _, s := range []*ipsec.Set{one, two} {
			if err := b.Install(s); err != nil {
				t.Fatal(err)
			}
		}
		policies := len(f.policies)
		time.Sleep(10*time.Minute - softBefore)
		for _, hard := range []bool{false, true} {
			for _, spi := range []uint32{one.Local.SPIC, one.Local.SPIS} {
				ev.tell(nl.XFRM_MSG_EXPIRE, f.expiry(key{ours, spi}, hard))
			}
		}
		ev.tell(nl.XFRM_MSG_EXPIRE, []byte("short"))
		ev.tell(nl.XFRM_MSG_POLEXPIRE, make([]byte, 512))
		synctest.Wait()
		if want := []expiry{{1, false}, {1, true}}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if len(f.policies) != policies {
			t.Error("the policies of a set that has ended are gone, and its packets go in clear")
		}
		if _, ok := b.Stats(1); !ok {
			t.Error("a set is forgotten before Remove")
		}
		if err := b.Remove(1); err != nil {
			t.Errorf("removing what the kernel has ended: %v", err)
		}
		// Events were lost: what is not there any more has ended.
		delete(f.states, key{ours, two.Local.SPIC})
		ev.queue <- unix.ENOBUFS
		synctest.Wait()
		if want := []expiry{{1, false}, {1, true}, {2, true}}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		_ = b.Close()
	})
}

// encapOf reads the addresses and ports of ESP in UDP.
func encapOf(t *testing.T, b []byte) (src, dst netip.AddrPort) {
	info := nl.DeserializeXfrmUsersaInfo(b)
	e := attr(t, b, nl.SizeofXfrmUsersaInfo, nl.XFRMA_ENCAP)
	if e == nil {
		t.Fatal("no ESP in UDP")
	}
	x := nl.DeserializeXfrmEncapTmpl(e)
	return netip.AddrPortFrom(addr(info.Saddr, info.Family), nl.Swap16(x.EncapSport)),
		netip.AddrPortFrom(addr(info.Id.Daddr, info.Family), nl.Swap16(x.EncapDport))
}

func TestATunnelFollowsTheNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKernel()
		var told []netip.AddrPort
		b, ev := started(t, f, func(c *Config) {
			c.EncapPort = 4500
			c.Mapped = func(_ ipsec.SetID, outer netip.AddrPort) { told = append(told, outer) }
			c.Failed = func(err error) { t.Error(err) }
		})
		before := f.snapshot()
		s := set(1, sha1Null)
		s.Mode, s.Remote.Addr, s.Outer = ipsec.UDPTunnel, netip.MustParseAddr("192.168.1.2"), netip.MustParseAddrPort("203.0.113.5:0")
		if err := b.Install(s); err != nil {
			t.Fatal(err)
		}
		in := key{ours, s.Local.SPIS}
		if src, dst := encapOf(t, f.states[in]); src.Addr() != s.Outer.Addr() || dst.String() != "10.0.0.1:4500" {
			t.Errorf("received from %v at %v", src, dst)
		}
		first, nat := netip.MustParseAddrPort("203.0.113.5:4500"), netip.MustParseAddrPort("203.0.113.5:61234")
		ev.tell(nl.XFRM_MSG_MAPPING, mapping(in, first, nat))
		ev.tell(nl.XFRM_MSG_MAPPING, mapping(in, first, nat))
		synctest.Wait()
		out := key{s.Outer.Addr(), s.Remote.SPIC}
		if src, dst := encapOf(t, f.states[out]); src.String() != "10.0.0.1:4500" || dst != nat {
			t.Errorf("sent from %v to %v, want to %v", src, dst, nat)
		}
		info := nl.DeserializeXfrmUsersaInfo(f.states[out])
		if src, dst := ends(info.Sel); info.Mode != modeTunnel || src != s.Local.Server() || dst != s.Remote.Client() {
			t.Errorf("mode %d, for %v > %v", info.Mode, src, dst)
		}
		// The NAT takes another address: the key goes on where it was.
		f.states[out] = append(f.states[out], nl.NewRtAttr(nl.XFRMA_REPLAY_VAL, (&nl.XfrmReplayState{OSeq: 77}).Serialize()).Serialize()...)
		moved := netip.MustParseAddrPort("203.0.113.6:999")
		ev.tell(nl.XFRM_MSG_MAPPING, mapping(in, nat, moved))
		synctest.Wait()
		if f.states[out] != nil {
			t.Error("the state to the old address stays")
		}
		now := f.states[key{moved.Addr(), s.Remote.SPIC}]
		if now == nil {
			t.Fatal("there is no state to the new address")
		}
		// What the old state has sent after it was asked is not sent again.
		if st, _ := parseState(now); st.oseq != 77+skipped {
			t.Errorf("the key is used again from sequence number %d", st.oseq)
		}
		policy := f.policies[policyName(dirOut, info.Sel)]
		tmpl := nl.DeserializeXfrmUserTmpl(attr(t, policy, nl.SizeofXfrmUserpolicyInfo, nl.XFRMA_TMPL))
		if addr(tmpl.XfrmId.Daddr, tmpl.Family) != moved.Addr() {
			t.Errorf("the policy sends to %v", addr(tmpl.XfrmId.Daddr, tmpl.Family))
		}
		if want := []netip.AddrPort{nat, moved}; !reflect.DeepEqual(told, want) {
			t.Errorf("told of %v, want %v", told, want)
		}
		if err := b.Remove(1); err != nil || !slices.Equal(f.snapshot(), before) {
			t.Errorf("%v; after Remove there is %v", err, f.snapshot())
		}
		_ = b.Close()
	})
}

// A phone that has lost everything comes back in clear with the SPIs and ports it had.
func TestAPhoneThatComesBackWithItsSPIs(t *testing.T) {
	for _, oldGoes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeKernel()
			b, _ := started(t, f, func(c *Config) { c.Failed = func(err error) { t.Error(err) } })
			before := f.snapshot()
			old := set(1, sha1Null)
			if err := b.Install(old); err != nil {
				t.Fatal(err)
			}
			s := set(2, sha1Null)
			s.Remote = old.Remote
			stood := f.snapshot()
			s.Owner = "another behind the same NAT"
			if err := b.Install(s); err == nil || !slices.Equal(f.snapshot(), stood) {
				t.Errorf("another phone takes the SPIs: %v", err)
			}
			s.Owner = old.Owner
			if err := b.Install(s); err != nil {
				t.Fatal(err)
			}
			sends := func() *ipsec.Set {
				info := nl.DeserializeXfrmUsersaInfo(f.states[key{phone, s.Remote.SPIC}])
				for _, o := range []*ipsec.Set{old, s} {
					if src, _ := ends(info.Sel); src == o.Local.Server() {
						return o
					}
				}
				return nil
			}
			time.Sleep(time.Second)
			if sends() != old {
				t.Error("a stranger's REGISTER takes the phone's association away")
			}
			if oldGoes {
				if err := b.Remove(1); err != nil {
					t.Error(err)
				}
			} else {
				b.mu.Lock()
				f.received(key{ours, s.Local.SPIS}, 1)
				b.mu.Unlock()
			}
			time.Sleep(2 * takeOverEvery)
			synctest.Wait()
			if sends() != s {
				t.Error("the phone has answered, and nothing can be sent to it")
			}
			if err := b.Remove(1); err != nil || sends() != s {
				t.Errorf("removing the old set takes the new one's association: %v", err)
			}
			if err := b.Remove(2); err != nil || !slices.Equal(f.snapshot(), before) {
				t.Errorf("%v; after Remove there is %v", err, f.snapshot())
			}
			_ = b.Close()
		})
	}
}

// A set that has got half of what it takes over gets the rest, and keeps the sequence
// numbers of what it has.
func TestATakeOverThatFailsHalfWay(t *testing.T) {
	for step := 1; step <= 4; step++ { // remove and add, for two associations
		for _, unheard := range []bool{false, true} {
			t.Run(fmt.Sprint("step ", step, " unheard ", unheard), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, faults := newFakeKernel(), 0
					b, _ := started(t, f, func(c *Config) { c.Failed = func(error) { faults++ } })
					before := f.snapshot()
					old, s := set(1, sha1Null), set(2, sha1Null)
					s.Remote = old.Remote
					if err := errors.Join(b.Install(old), b.Install(s)); err != nil {
						t.Fatal(err)
					}
					b.mu.Lock()
					f.received(key{ours, s.Local.SPIS}, 1)
					f.failAt(step, unheard, unix.EPERM)
					b.mu.Unlock()
					time.Sleep(takeOverAgain / 2)
					var first []byte // what it has of the first attempt
					k := key{phone, s.Remote.SPIC}
					b.mu.Lock()
					if step > 2 {
						first = f.states[k]
					}
					b.mu.Unlock()
					time.Sleep(2 * takeOverAgain)
					b.mu.Lock()
					for _, spi := range []uint32{s.Remote.SPIC, s.Remote.SPIS} {
						is := f.states[key{phone, spi}]
						if is == nil {
							t.Errorf("nothing goes to SPI %d", spi)
							continue
						}
						info := nl.DeserializeXfrmUsersaInfo(is)
						if src, _ := ends(info.Sel); src.Port() != s.Local.PortC && src.Port() != s.Local.PortS {
							t.Errorf("what goes to SPI %d is of %v", spi, src)
						}
					}
					if now := f.states[k]; first != nil && (now == nil || &now[0] != &first[0]) {
						t.Error("what was taken over at first is taken over once more: its sequence numbers begin again")
					}
					if faults != 1 || b.waiting != 0 {
						t.Errorf("%d faults were told of, want one; %d sets wait", faults, b.waiting)
					}
					b.mu.Unlock()
					if err := errors.Join(b.Remove(1), b.Remove(2)); err != nil || !slices.Equal(f.snapshot(), before) {
						t.Errorf("%v; after Remove there is %v", err, f.snapshot())
					}
					_ = b.Close()
				})
			})
		}
	}
}

// While the kernel refuses, it is asked once a second.
func TestATakeOverThatFailsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, faults := newFakeKernel(), 0
		b, _ := started(t, f, func(c *Config) { c.Failed = func(error) { faults++ } })
		old, s := set(1, sha1Null), set(2, sha1Null)
		s.Remote = old.Remote
		if err := errors.Join(b.Install(old), b.Install(s)); err != nil {
			t.Fatal(err)
		}
		refuse := func(yes bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			f.received(key{ours, s.Local.SPIS}, 1)
			f.fail = nil
			if yes {
				f.fail = func(int, request) error { return unix.EPERM }
			}
		}
		refuse(true)
		time.Sleep(5*takeOverAgain + takeOverAgain/2)
		refuse(false)
		time.Sleep(2 * takeOverAgain)
		b.mu.Lock()
		if faults != 2*6 || b.waiting != 0 {
			t.Errorf("%d faults were told of, want those of two associations at once and in five seconds; %d sets wait", faults, b.waiting)
		}
		b.mu.Unlock()
		_ = b.Close()
	})
}

// A set that tries again takes nothing from a later set of its phone that has been heard,
// and another phone is not let in where it waits. From a later one that a stranger may have
// begun it takes what it needs, and that waits.
func TestATakeOverComesTooLate(t *testing.T) {
	const again, unheard, stranger = "the phone comes again", "and is not heard yet", "another phone comes"
	for _, who := range []string{again, unheard, stranger} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeKernel()
				b, _ := started(t, f, nil)
				before := f.snapshot()
				old, s, last := set(1, sha1Null), set(2, sha1Null), set(3, sha1Null)
				s.Remote, last.Remote = old.Remote, old.Remote
				if err := errors.Join(b.Install(old), b.Install(s)); err != nil {
					t.Fatal(err)
				}
				heard := func(s *ipsec.Set) {
					b.mu.Lock()
					defer b.mu.Unlock()
					f.received(key{ours, s.Local.SPIS}, 1)
				}
				refuse := func(fail func(int, request) error) {
					b.mu.Lock()
					defer b.mu.Unlock()
					f.fail = fail
				}
				sends := func(want ipsec.SetID, waiting int) {
					t.Helper()
					b.mu.Lock()
					defer b.mu.Unlock()
					for _, spi := range []uint32{last.Remote.SPIC, last.Remote.SPIS} {
						if b.states[key{phone, spi}] != want || f.states[key{phone, spi}] == nil {
							t.Errorf("SPI %d is of set %d, want %d", spi, b.states[key{phone, spi}], want)
						}
					}
					if b.waiting != waiting {
						t.Errorf("%d sets wait, want %d", b.waiting, waiting)
					}
				}
				heard(s)
				refuse(func(_ int, r request) error {
					if r.kind == nl.XFRM_MSG_NEWSA {
						return unix.ENOMEM
					}
					return nil
				})
				time.Sleep(2 * takeOverEvery)
				refuse(nil)
				if who == stranger {
					last.Owner = "another behind the same NAT"
				}
				stands := func() int {
					b.mu.Lock()
					defer b.mu.Unlock()
					return len(f.snapshot())
				}
				stood := stands()
				if err := b.Install(last); (err != nil) != (who == stranger) || err != nil && stands() != stood {
					t.Fatalf("it is let in: %v", err)
				}
				if who == again {
					heard(last)
				}
				time.Sleep(3 * takeOverAgain)
				switch who {
				case again:
					sends(3, 0)
				case unheard:
					sends(2, 1)
					heard(last)
					time.Sleep(2 * takeOverAgain)
					sends(3, 0)
				case stranger:
					sends(2, 0)
				}
				if err := errors.Join(b.Remove(2), b.Remove(1)); err != nil {
					t.Error(err)
				}
				if who != stranger {
					sends(3, 0)
				}
				if err := b.Remove(3); err != nil || !slices.Equal(f.snapshot(), before) {
					t.Errorf("%v; after Remove there is %v", err, f.snapshot())
				}
				_ = b.Close()
			})
		})
	}
}

// What the kernel has told before a set's end was moved, or before another set has taken
// its SPI over, is not true any more.
func TestEventsThatComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKernel()
		var told []expiry
		b, ev := started(t, f, func(c *Config) {
			c.Expired = func(id ipsec.SetID, hard bool) { told = append(told, expiry{id, hard}) }
		})
		old, s := set(1, sha1Null), set(2, sha1Null)
		s.Remote = old.Remote
		if err := b.Install(old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute - softBefore)
		if err := b.Extend(1, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		ev.tell(nl.XFRM_MSG_EXPIRE, f.expiry(key{ours, old.Local.SPIS}, false))
		synctest.Wait()
		if told != nil {
			t.Errorf("of a set that lives for an hour is told %v", told)
		}
		time.Sleep(time.Hour - softBefore)
		ev.tell(nl.XFRM_MSG_EXPIRE, f.expiry(key{ours, old.Local.SPIS}, false))
		synctest.Wait()
		if want := []expiry{{1, false}}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		// The old set's outgoing state ends; meanwhile a new set has its SPI.
		out := key{phone, old.Remote.SPIC}
		b.mu.Lock()
		end := f.expiry(out, true)
		b.mu.Unlock()
		s.Hard = time.Now().Add(time.Hour)
		if err := errors.Join(b.Remove(1), b.Install(s)); err != nil {
			t.Fatal(err)
		}
		ev.tell(nl.XFRM_MSG_EXPIRE, end)
		synctest.Wait()
		if want := []expiry{{1, false}}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v: the end of one set is told of another", told, want)
		}
		_ = b.Close()
	})
}

// Whatever fails while a set follows its phone, it sends to where it has sent before,
// and moves when the kernel tells again.
func TestAMoveThatFailsChangesNothing(t *testing.T) {
	for step := 1; step <= 4; step++ {
		for _, unheard := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeKernel()
				failures := 0
				b, ev := started(t, f, func(c *Config) {
					c.EncapPort = 4500
					c.Failed = func(error) { failures++ }
				})
				before := f.snapshot()
				s := set(1, sha1Null)
				s.Mode, s.Outer = ipsec.UDPTunnel, netip.MustParseAddrPort("203.0.113.5:4500")
				if err := b.Install(s); err != nil {
					t.Fatal(err)
				}
				stood := f.snapshot()
				leads := func() netip.Addr {
					p := f.policies[policyName(dirOut, selector(s.Local.Server(), s.Remote.Client()))]
					tmpl := nl.DeserializeXfrmUserTmpl(attr(t, p, nl.SizeofXfrmUserpolicyInfo, nl.XFRMA_TMPL))
					return addr(tmpl.XfrmId.Daddr, tmpl.Family)
				}
				f.failAt(step, unheard, unix.ENOMEM)
				moved := netip.MustParseAddrPort("203.0.113.6:999")
				move := mapping(key{ours, s.Local.SPIS}, s.Outer, moved)
				ev.tell(nl.XFRM_MSG_MAPPING, move)
				synctest.Wait()
				f.fail = nil
				if got := f.snapshot(); !slices.Equal(got, stood) || leads() != s.Outer.Addr() || failures != 1 {
					t.Errorf("step %d, unheard %v: it sends to %v, %d failures; there is %v", step, unheard, leads(), failures, got)
				}
				ev.tell(nl.XFRM_MSG_MAPPING, move)
				synctest.Wait()
				if f.states[key{moved.Addr(), s.Remote.SPIC}] == nil || leads() != moved.Addr() || failures != 1 {
					t.Errorf("step %d: told again, it sends to %v, there is %v", step, leads(), f.snapshot())
				}
				if err := b.Remove(1); err != nil || !slices.Equal(f.snapshot(), before) {
					t.Errorf("%v; after Remove there is %v", err, f.snapshot())
				}
				_ = b.Close()
			})
		}
	}
}

// Sets that wait are looked after once, however often sets begin to wait and go.
func TestOneLooksAfterSetsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKernel()
		b, _ := started(t, f, nil)
		old, s := set(1, sha1Null), set(2, sha1Null)
		s.Remote = old.Remote
		if err := b.Install(old); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := errors.Join(b.Install(s), b.Remove(2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Install(s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(takeOverEvery / 2)
		b.mu.Lock()
		f.gets = 0
		b.mu.Unlock()
		time.Sleep(10 * takeOverEvery)
		b.mu.Lock()
		if f.gets != 2*10 {
			t.Errorf("in ten rounds the kernel was asked %d times, want for two associations each", f.gets)
		}
		b.mu.Unlock()
		_ = b.Close()
	})
}
