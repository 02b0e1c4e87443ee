package pcscf

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// perPhone is how many octets of the heap a registered phone with an SA set may take in
// the P-CSCF, beside what its back end keeps and, for 128 s, its transactions. It was
// 3927 with a timer for each phone and maps that were keyed with whole addresses.
const perPhone = 3400

// A phone that is registered over an SA set and rests is small: the set, its life, what
// finds it, what is known of it for those who ask why it does not come up, and its
// contact with two public identities.
func TestAProtectedPhoneIsSmall(t *testing.T) {
	secure(t, func(w *world) {
		n := 0
		add := func(count int) {
			for range count {
				n++
				protectedPhone(t, w.p, n)
			}
			synctest.Wait() // the back end has them
		}
		heap := func() int {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		add(1000)
		before, goroutines := heap(), runtime.NumGoroutine()
		const count = 6000
		add(count)
		each := (heap() - before) / count
		t.Logf("%d octets for each phone", each)
		if each > perPhone {
			t.Errorf("a protected phone takes %d octets of the heap, want at most %d", each, perPhone)
		}
		if g := runtime.NumGoroutine(); g > goroutines {
			t.Errorf("%d goroutines run for %d phones, and %d before", g, n, goroutines)
		}
		if len(w.p.sec.phones) != n || w.p.bindings.len() != n || len(w.ipsec.installed()) != n {
			t.Errorf("%d phones, %d bindings and %d sets stand, want %d", len(w.p.sec.phones), w.p.bindings.len(), len(w.ipsec.installed()), n)
		}
	}, func(c *Config) { c.MaxBindings = 10000 })
}

// protectedPhone puts in what two REGISTERs over the air would, without the messages.
func protectedPhone(t *testing.T, s *Server, n int) {
	t.Helper()
	c := s.sec
	name := fmt.Sprintf("%015d", n)
	impi := name + "@" + domain
	k := phoneKey{impi, netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}
	offers := []ipsec.Mechanism{{Q: -1, Alg: once("hmac-sha-1-96"), EAlg: once("aes-cbc"), Prot: once("esp"), Mod: once("trans"), SPIC: 1000, SPIS: 1001, PortC: 7000, PortS: 6000}}
	c.facts.note(impi, func(f *fact, now moment) {
		f.registerAt, f.source, f.via, f.offers = now, netip.AddrPortFrom(k.addr, 5060), k.addr.String(), offers
	})
	is := &ipsec.Set{
		ID: ipsec.NewSetID(), Owner: c.facts.name(impi), Pair: ipsec.Pairs[2],
		Local:  ipsec.End{Addr: s.cfg.Listen.Gm.Addr()},
		Remote: ipsec.End{Addr: k.addr, PortC: 7000, PortS: 6000, SPIC: 1000, SPIS: 1001},
	}
	is.Local.SPIC, is.Local.SPIS = c.spis.Take()
	if err := c.ports.Take(is, nil); err != nil {
		t.Fatal(err)
	}
	a := &association{Set: is, client: offers}
	c.challenge(a, k, nil, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	c.registered(a, time.Hour)
	c.facts.success(impi)
	identities := []string{"sip:" + name + "@" + domain, fmt.Sprintf("tel:+%d", 15550000000+n)}
	at := sip.Flow{Proto: sip.UDP, Role: sip.RoleProtectedServer, Local: is.Local.Server(), Remote: is.Remote.Client()}
	b := &binding{
		token: newToken(), impi: is.Owner, contact: "sip:" + name + "@" + is.Remote.Server().String(), phone: a.phone.key,
		source: at.Remote, flow: at, stream: new(atomic.Pointer[sip.Flow]),
	}
	b.hold([]set{{identities: identities, keys: identities, names: identities, serviceRoute: []string{once("<sip:orig@scscf:5060;lr>")}, expires: time.Now().Add(time.Hour)}})
	if !s.bindings.put(b) {
		t.Fatal("no room for another contact")
	}
}
