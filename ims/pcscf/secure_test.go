package pcscf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
)

// fakeBackend is a back end on a network in memory, which carries what goes between
// the ports of an installed set and nothing else.
type fakeBackend struct {
	mu      sync.Mutex
	sets    map[ipsec.SetID]*ipsec.Set
	hard    map[ipsec.SetID]time.Time
	stats   map[ipsec.SetID]ipsec.SetStats
	lost    []memnet.Packet // what no set carried
	refuse  error           // of the next Install
	deaf    error           // of the next Extend
	stuck   int             // of the next Removes, so many fail
	slow    time.Duration   // that Install takes
	removed int
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{sets: map[ipsec.SetID]*ipsec.Set{}, hard: map[ipsec.SetID]time.Time{}, stats: map[ipsec.SetID]ipsec.SetStats{}}
}

func (*fakeBackend) Name() string { return "fake" }

func (b *fakeBackend) Install(s *ipsec.Set) error {
	time.Sleep(b.slow)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse; err != nil {
		b.refuse = nil
		return err
	}
	b.sets[s.ID], b.hard[s.ID] = s, s.Hard
	return s.Check()
}

func (b *fakeBackend) Extend(id ipsec.SetID, hard time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sets[id] == nil {
		return errors.New("no such set")
	}
	if err := b.deaf; err != nil {
		b.deaf = nil
		return err
	}
	b.hard[id] = hard
	return nil
}

func (b *fakeBackend) Remove(id ipsec.SetID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stuck > 0 {
		b.stuck--
		return errors.New("the kernel does not let go of it")
	}
	if b.sets[id] != nil {
		b.removed++
	}
	delete(b.sets, id)
	return nil
}

func (b *fakeBackend) Stats(id ipsec.SetID) (ipsec.SetStats, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats[id], b.sets[id] != nil
}

func (b *fakeBackend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.sets)
	return nil
}

// carries is the hook of the network: a packet needs a set.
func (b *fakeBackend) carries(p memnet.Packet) memnet.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sets {
		for _, sa := range slices.Concat(arrayOf(s.In()), arrayOf(s.Out())) {
			if sa.Src == p.From && sa.Dst == p.To {
				return memnet.Pass
			}
		}
	}
	b.lost = append(b.lost, memnet.Packet{Kind: p.Kind, From: p.From, To: p.To})
	return memnet.Drop
}

func arrayOf(a [2]ipsec.SA) []ipsec.SA { return a[:] }

// installed returns the sets that stand, the oldest first.
func (b *fakeBackend) installed() (list []*ipsec.Set) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sets {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *ipsec.Set) int { return int(a.ID) - int(b.ID) })
	return list
}

// secure makes a world whose P-CSCF demands IPsec.
func secure(t *testing.T, f func(w *world), adjust ...func(*Config)) {
	t.Helper()
	run(t, func(w *world) {
		f(w)
	}, append([]func(*Config){func(c *Config) { c.IPsec.Policy = policyRequired }}, adjust...)...)
}

// The keys of each challenge in these tests.
const (
	testCK = "00112233445566778899aabbccddeeff"
	testIK = "ffeeddccbbaa99887766554433221100"
)

// ue is a phone with IPsec: the peer itself listens at port_us.
type ue struct {
	*peer
	open    *peer // its socket in clear
	out     *peer // at port_uc, from where it sends
	outs    map[uint16]*peer
	spi     uint32
	client  string // Security-Client
	server  string // Security-Server of its set
	ps, pc  string // the P-CSCF's ports of its set
	pending ueSet  // of the challenge that it has to answer
	granted []string
}

type ueSet struct{ client, server, ps, pc string }

// ue makes a phone that listens at port 6000.
func (w *world) ue(name, ip string) *ue {
	w.t.Helper()
	u := &ue{open: w.peer(name, netip.AddrPortFrom(netip.MustParseAddr(ip), 5060).String()), spi: 1000, outs: map[uint16]*peer{}}
	u.peer = w.peerOn(w.esp.Host(ip), name, netip.AddrPortFrom(netip.MustParseAddr(ip), 6000).String())
	u.offer(7000)
	return u
}

// offer chooses SPIs and port_uc for the next set.
func (u *ue) offer(portC uint16) {
	u.w.t.Helper()
	u.spi += 2
	if u.outs[portC] == nil {
		u.outs[portC] = u.w.peerOn(u.host, u.name, netip.AddrPortFrom(u.addr.Addr(), portC).String())
	}
	u.out = u.outs[portC]
	u.client = fmt.Sprintf("ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;prot=esp;mod=trans;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d", u.spi, u.spi+1, portC, u.addr.Port())
}

// auth is the Authorization of a phone that answers a challenge; response "" is
// none.
func (u *ue) auth(nonce, response string, more ...string) string {
	return fmt.Sprintf(`Authorization: Digest username="%s@%s", realm="%s", nonce="%s", uri="sip:%s", response="%s"`, u.name, domain, domain, nonce, domain, response) + strings.Join(append([]string{""}, more...), ", ")
}

// register writes a REGISTER.
func (u *ue) register(more ...string) string {
	return u.text("REGISTER", "sip:"+domain, "reg-"+u.name, append([]string{
		"To: <sip:" + u.name + "@" + domain + ">", "Security-Client: " + u.client,
		"Require: sec-agree", "Proxy-Require: sec-agree", "Supported: path", u.auth("", ""),
	}, more...)...)
}

// say sends over the set.
func (u *ue) say(text string) { u.w.t.Helper(); u.out.send(u.ps, text) }

// challenge answers the REGISTER that has come to the core with a 401, and returns
// the REGISTER.
func (w *world) challenge(more ...string) arrival {
	w.t.Helper()
	a := w.icscf.request("REGISTER")
	w.icscf.answer(a, 401, append([]string{fmt.Sprintf(`WWW-Authenticate: Digest realm="%s", nonce="n%d", algorithm=AKAv1-MD5, qop="auth", ck="%s", ik="%s"`, domain, len(w.icscf.seen), testCK, testIK)}, more...)...)
	return a
}

// challenged reads the 401 that has come to a socket of the phone.
func (u *ue) challenged(at *peer) arrival {
	u.w.t.Helper()
	a := at.status(401)
	u.pending = ueSet{client: u.client, server: strings.Join(values(a.Message, sip.HSecurityServer), ", ")}
	for v := range a.Values(sip.HSecurityServer) {
		sm, err := sip.ParseSecMechanism(v)
		if err != nil {
			u.w.t.Fatalf("Security-Server %q: %v", v, err)
		}
		ip := netip.MustParseAddrPort(u.w.gm()).Addr()
		u.pending.ps, u.pending.pc = netip.AddrPortFrom(ip, sm.PortS).String(), netip.AddrPortFrom(ip, sm.PortC).String()
	}
	if u.pending.ps == "" {
		u.w.t.Fatalf("a 401 without Security-Server:\n%s", a.Raw())
	}
	return a
}

// take goes over to the set of the challenge.
func (u *ue) take() { u.server, u.ps, u.pc = u.pending.server, u.pending.ps, u.pending.pc }

// begin registers in clear as far as the 401, and goes over to its set.
func (u *ue) begin() arrival {
	u.w.t.Helper()
	u.open.send(u.w.gm(), u.register("Via: SIP/2.0/UDP "+u.open.addr.String()+";branch="+sip.NewBranch()+";rport"))
	u.w.challenge()
	a := u.challenged(u.open)
	u.take()
	return a
}

// answer401 answers the challenge over the new set, and returns the 200.
func (u *ue) answer401(more ...string) arrival {
	u.w.t.Helper()
	u.say(u.register(append([]string{"Security-Verify: " + u.server, u.auth("n", "ok")}, more...)...))
	return u.grant()
}

// grant has the core answer a REGISTER of the phone's with 200.
func (u *ue) grant() arrival {
	u.w.t.Helper()
	a := u.w.icscf.request("REGISTER")
	g := u.granted
	if g == nil {
		g = u.peer.granted()
	}
	u.w.icscf.answer(a, 200, g...)
	return u.status(200)
}

// up registers the phone over IPsec.
func (u *ue) up() *ue {
	u.w.t.Helper()
	u.begin()
	u.answer401()
	return u
}

// again re-registers over the set, with a challenge, as far as the 200.
func (u *ue) again(portC uint16) {
	u.w.t.Helper()
	old := u.out
	verify, ps, pc := u.server, u.ps, u.pc
	u.offer(portC)
	old.send(ps, u.register("Security-Verify: "+verify, u.auth("n", "ok")))
	u.w.challenge()
	check(u.w.t, "the 401 comes over the old set, from", u.challenged(u.peer).from, pc)
	u.take()
	u.answer401()
}

// gm is the open port towards phones.
func (w *world) gm() string { return w.p.Gm().String() }

// sets describes the SA sets that stand: state and the P-CSCF's ports.
func (w *world) sets(impi string) string {
	var out []string
	for _, s := range w.p.Report(impi + "@" + domain).Sets {
		out = append(out, s.State+" "+strconv.Itoa(int(s.Local.PortS))+"/"+strconv.Itoa(int(s.Local.PortC)))
	}
	return strings.Join(out, ", ")
}

// leaks checks that nothing is left when every phone is gone.
func (w *world) leaks() {
	w.t.Helper()
	c := w.p.sec
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := len(c.phones) + c.byFlow.len() + len(c.byID) + c.spis.Len() + c.ports.Len() + len(w.ipsec.installed()); n != 0 {
		w.t.Errorf("left behind: %d phones, %d flows, %d SPIs, ports of %d sets, %d sets", len(c.phones), c.byFlow.len(), c.spis.Len(), c.ports.Len(), len(w.ipsec.installed()))
	}
	if c.crowd.count != 0 || len(c.crowd.from) != 0 {
		w.t.Errorf("left behind: %d unproven sets are counted, of %d networks", c.crowd.count, len(c.crowd.from))
	}
}
