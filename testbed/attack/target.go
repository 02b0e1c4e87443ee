package attack

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/as"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// Target is the core that is attacked.
type Target struct {
	Domain string
	Gm     netip.AddrPort // of the P-CSCF, towards phones
	Mw     netip.AddrPort // of the P-CSCF, towards the core
	I, S   netip.AddrPort
	// ESP is where the P-CSCF takes ESP in UDP, invalid where it demands no IPsec.
	ESP      netip.AddrPort
	stack    *netstack.Stack   // the honest phones' IPsec
	Honest   [2]hss.Subscriber // who must be served all the time
	Victims  int               // in how many names strangers register, those of the rule
	floods   int               // how many there have been, so that each says something new
	Crooks   []hss.Subscriber  // whose messages are bent
	Services []Service
	// Cx stands between I-, S-CSCF and HSS; nil leaves Cx alone.
	Cx *Interceptor
	// Peer is the application server of the crooks, and a node of the core otherwise.
	Peer *Peer
}

// Keys of SIMs that protect nothing.
const simK, simOPc = "465b5ce8b199b49faa5f0a2ee238a6bc", "e8ed289deba952e4283b54e88e6183ca"

// Protect has the honest phones of a target use IPsec, with the P-CSCF's ESP in UDP at that
// address. Close must follow.
func (t *Target) Protect(esp netip.AddrPort) (err error) {
	t.ESP = esp
	t.stack, err = lab.PhoneStack(lab.Loopback, esp)
	return err
}

// Close ends what Protect has begun, if it has.
func (t *Target) Close() error {
	if t.stack == nil {
		return nil
	}
	return t.stack.Close()
}

// firstVictim is the IMSI of the first in whose name strangers register.
const firstVictim = 1_010_000_500_000

// Victims is the rule for an HSS by which there are so many in whose names strangers register.
func Victims(count int) hss.Generated {
	return hss.Generated{First: fmt.Sprintf("%015d", firstVictim), Count: count, MSISDN: "15560000000", K: simK, OPc: simOPc} // numbers that nobody else has
}

// victim is the private identity of one of them.
func (t *Target) victim(n int64) string {
	return fmt.Sprintf("%015d@%s", firstVictim+n%int64(t.Victims), t.Domain)
}

// Subscribers makes honest people and crooks for an HSS. Calls of every second crook
// visit the application server at peer.
func Subscribers(domain string, crooks int, peer netip.AddrPort) (honest [2]hss.Subscriber, bad []hss.Subscriber) {
	one := func(user string, n int) hss.Subscriber {
		return hss.Subscriber{
			IMPI: fmt.Sprintf("00101%010d@%s", n, domain), IMPUs: []string{"sip:" + user + "@" + domain, fmt.Sprintf("tel:+1555%07d", n)}, K: simK, OPc: simOPc,
		}
	}
	honest = [2]hss.Subscriber{one("alice", 1), one("bob", 2)}
	visit := as.XML(as.INVITECriterion("sip:"+peer.String()+";lr", 10, profile.OriginatingRegistered))
	for i := range crooks {
		s := one(fmt.Sprintf("crook%d", i), 1000+i)
		if i%2 == 0 {
			s.IFC = []string{visit}
		}
		bad = append(bad, s)
	}
	return honest, bad
}

// checkTime bounds one check of an honest pair of phones.
const checkTime = 20 * time.Second

// Check has two honest phones, one with UDP and one with TCP, register, one call the
// other, hang up and de-register: nil when all of it succeeds.
func (t *Target) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	alice, err := t.honest(0)
	if err != nil {
		return err
	}
	defer alice.Close()
	bob, err := t.honest(1)
	if err != nil {
		return err
	}
	defer bob.Close()
	for _, p := range []*ue.Phone{alice, bob} {
		if _, err := p.Register(ctx); err != nil {
			return err
		}
	}
	call, err := alice.Call(ctx, t.Honest[1].IMPUs[0], ue.CallOptions{})
	if err != nil {
		return err
	}
	if err := call.Hangup(ctx); err != nil {
		return err
	}
	for _, p := range []*ue.Phone{alice, bob} {
		if err := p.Deregister(ctx); err != nil {
			return err
		}
	}
	return nil
}

// honest makes the phone of an honest person. The second has TCP.
func (t *Target) honest(i int) (*ue.Phone, error) {
	s := t.Honest[i]
	k, err := aka.ParseSecret(string(s.K))
	if err != nil {
		return nil, fmt.Errorf("the key of %s: %w", s.IMPI, err)
	}
	opc, err := aka.ParseSecret(string(s.OPc))
	if err != nil {
		return nil, fmt.Errorf("the OPc of %s: %w", s.IMPI, err)
	}
	cfg := ue.Config{PCSCF: t.Gm, Domain: t.Domain, Transport: [...]sip.Proto{sip.UDP, sip.TCP}[i], IMPI: s.IMPI, IMPU: s.IMPUs[0], K: k, OPc: opc, NoSubscribe: true, NoRefresh: true}
	if t.stack != nil {
		cfg.Local, cfg.IPsec, cfg.Stack = lab.Loopback, "user", t.stack
	}
	return ue.New(cfg)
}

// gauges reads those of each service.
func (t *Target) gauges(ctx context.Context) (map[string]Gauges, error) {
	return ofEach(t, func(s Service) (Gauges, error) { return s.Gauges(ctx) })
}

// ofEach asks each service by name.
func ofEach[T any](t *Target, ask func(Service) (T, error)) (map[string]T, error) {
	out := map[string]T{}
	for _, s := range t.Services {
		v, err := ask(s)
		if err != nil {
			return nil, err
		}
		out[s.Name] = v
	}
	return out, nil
}
