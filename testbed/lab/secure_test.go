package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// secureBench is a core whose P-CSCF demands IPsec, with a stack for its phones.
type secureBench struct {
	*bench
	stack *netstack.Stack
	esp   netip.AddrPort // where the P-CSCF takes ESP in UDP, also when it is restarted
	radio *radio         // nil where ESP travels in UDP
	addrs atomic.Uint32  // how many addresses phones have
	marks atomic.Uint32  // in the trace
}

// sideBySide runs a test for each name, some at once: they wait for each other's
// messages more than for the processor.
func sideBySide(t *testing.T, names []string, f func(t *testing.T, i int)) {
	t.Helper()
	var wg sync.WaitGroup
	room := make(chan struct{}, 4)
	for i, name := range names {
		room <- struct{}{}
		wg.Go(func() {
			t.Run(name, func(t *testing.T) { f(t, i) })
			<-room
		})
	}
	wg.Wait()
}

// shortDomain is a home domain with which a protected REGISTER fits a datagram, where
// P-CSCF and phone list no more than they agree on: see inDatagrams and oneOffer.
const shortDomain = "ims.test"

func inDatagrams(c *Configs) {
	c.HSS.Domain, c.P.Domain, c.I.Domain, c.S.Domain = shortDomain, shortDomain, shortDomain, shortDomain
	c.P.IPsec.Offer = "chosen"
}

func oneOffer(c *ue.Config) { c.Offer = ue.Profiles[c.Profile].Security.Pairs[:1] }

// addr is an address of its own for a phone, where this system has more than one on
// its loopback.
func (b *secureBench) addr() netip.Addr {
	n := b.addrs.Add(1)
	a := netip.AddrFrom4([4]byte{127, 0, byte(n >> 8), byte(n + 1)})
	ln, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		return Loopback
	}
	_ = ln.Close()
	return a
}

// startSecure starts a core with IPsec. Its protected ports are its own: tests run
// beside each other, and what comes in clear to one P-CSCF must not be another's.
func startSecure(t *testing.T, subscribers []hss.Subscriber, adjust func(*Configs)) *secureBench {
	t.Helper()
	return startSecureOver(t, nil, subscribers, adjust)
}

// startSecureOver is startSecure where ESP travels in IP over a network in memory; nil
// is in UDP over loopback.
func startSecureOver(t *testing.T, r *radio, subscribers []hss.Subscriber, adjust func(*Configs)) *secureBench {
	t.Helper()
	b := &secureBench{radio: r}
	b.bench = startBench(t, subscribers, func(c *Configs) {
		c.Protect()
		taken := []netip.AddrPort{c.P.Listen.Gm, c.P.Listen.Mw, c.I.Listen, c.S.Listen}
		next := func() netip.AddrPort {
			a, err := freePort(Loopback, taken)
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, a)
			return a
		}
		b.esp = next()
		c.P.IPsec.UDP = b.esp
		c.P.IPsec.ServerPorts, c.P.IPsec.ClientPorts = nil, nil
		for range 4 {
			c.P.IPsec.ServerPorts = append(c.P.IPsec.ServerPorts, next().Port())
		}
		for range 8 {
			c.P.IPsec.ClientPorts = append(c.P.IPsec.ClientPorts, next().Port())
		}
		if r != nil {
			c.Protection = func() (*pcscf.Protection, error) {
				k, err := r.stack()
				if err != nil {
					return nil, err
				}
				k.AddAddr(c.P.Listen.Gm.Addr())
				return &pcscf.Protection{Backend: k, Net: k}, nil
			}
		}
		if adjust != nil {
			adjust(c)
		}
	})
	var err error
	if r != nil {
		b.stack, err = r.stack()
	} else {
		b.stack, err = PhoneStack(Loopback, b.P.ESPUDP())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.stack.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// phone switches on the phone of a subscriber, with IPsec on the stack that all
// share.
func (b *secureBench) phone(t *testing.T, name string, sub hss.Subscriber, adjust func(*ue.Config)) *ue.Phone {
	t.Helper()
	cfg := ue.Config{
		Name: name, Local: b.addr(), PCSCF: b.P.Gm(), Domain: b.conf.P.Domain, IMPI: sub.IMPI, IMPU: sub.IMPUs[0],
		Profile: "generic", IPsec: "user", Stack: b.stack, Trace: trace.Node{Stream: b.cfg.Stream},
	}
	for _, k := range []struct {
		to  *aka.Secret
		hex string
	}{{&cfg.K, string(sub.K)}, {&cfg.OPc, string(sub.OPc)}} {
		var err error
		if *k.to, err = aka.ParseSecret(k.hex); err != nil {
			t.Fatal(err)
		}
	}
	if adjust != nil {
		adjust(&cfg)
	}
	p, err := ue.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// ownStack gives a phone a stack of its own, as the fault replay needs it.
func (b *secureBench) ownStack(c *ue.Config) { c.Stack, c.ESPUDP = nil, b.esp }

// ask asks the P-CSCF what it knows of a phone's IPsec, as `pcscf --explain` does.
func (b *secureBench) ask(t *testing.T, impi string) ipsec.Report {
	t.Helper()
	var admin node.Admin
	pcscf.Admin(b.P, &admin)
	w, q := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/debug/ipsec?impi="+url.QueryEscape(impi), nil)
	q.RemoteAddr = netip.AddrPortFrom(Loopback, 1).String() // others are told nothing
	admin.Handle["GET /debug/ipsec"].ServeHTTP(w, q)
	var r ipsec.Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusOK {
		t.Fatalf("/debug/ipsec answers %d: %v\n%s", w.Code, err, w.Body)
	}
	return r
}

// says waits until the P-CSCF explains a phone with a sentence of that code and with
// those words.
func (b *secureBench) says(t *testing.T, impi, code, words string) (r ipsec.Report) {
	t.Helper()
	for late := time.Now().Add(5 * time.Second); ; b.next(t, 100*time.Millisecond) {
		r = b.ask(t, impi)
		for _, s := range r.Explanation {
			if s.Code == code && strings.Contains(s.String(), words) {
				return r
			}
		}
		if time.Now().After(late) {
			t.Fatalf("no explanation %s with %q, only %+v\nfacts %+v\nsets %+v", code, words, r.Explanation, r.Facts, r.Sets)
		}
	}
}

// next waits until something more has happened, or for that long.
func (b *secureBench) next(t *testing.T, atMost time.Duration) {
	t.Helper()
	b.mu.Lock()
	more := b.more
	b.mu.Unlock()
	select {
	case <-more:
	case <-time.After(atMost):
	}
}

// wait waits until something holds.
func (b *secureBench) wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for late := time.Now().Add(5 * time.Second); !holds(); b.next(t, 100*time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// settle waits until everything that was traced so far has been read.
func (b *secureBench) settle() {
	n := b.marks.Add(1)
	mark := fmt.Sprint("mark ", n)
	b.cfg.Stream.Emit(trace.Event{Text: mark})
	b.event(func(e trace.Event) bool { return e.Text == mark }, mark)
}

// messages are the SIP messages that a node has received or sent, as far as the trace
// has been read: see settle.
func (b *secureBench) messages(node string, dir string) (list []trace.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Kind == trace.SIP && e.Node == node && e.Dir == dir {
			list = append(list, e)
		}
	}
	return list
}

// parsed is the message of an event.
func parsed(t *testing.T, e trace.Event) *sip.Message {
	t.Helper()
	m, err := sip.Parse(string(e.Raw))
	if err != nil {
		t.Fatalf("%s has traced what is no SIP: %v", e.Node, err)
	}
	return m
}

// keepsSecret looks at all messages so far: what a registered phone sends or gets is
// protected, no key reaches a phone, and behind the P-CSCF nobody sees what it has
// agreed with the phone.
func (b *secureBench) keepsSecret(t *testing.T) {
	t.Helper()
	b.settle()
	b.mu.Lock()
	events := slices.Clone(b.events)
	b.mu.Unlock()
	registered := map[string]bool{} // by node
	protected := 0
	for _, e := range events {
		if e.Kind != trace.SIP {
			continue
		}
		phone := strings.HasPrefix(e.Node, phonePrefix)
		esp := strings.HasPrefix(e.Proto, trace.ESP)
		m := parsed(t, e)
		switch {
		case phone && esp:
			protected++
			if e.Dir == trace.In && m.Status() == 200 && m.Method() == "REGISTER" {
				registered[e.Node] = m.Has(sip.HContact)
			}
		case phone && registered[e.Node]:
			t.Errorf("in clear at %s, which is registered:\n%s", e.Node, m.Raw())
		case phone && m.Method() != "REGISTER":
			t.Errorf("in clear at %s, and no REGISTER:\n%s", e.Node, m.Raw())
		case esp && e.Node == NameP:
			protected++
		}
		if phone && bringsKeys(m) {
			t.Errorf("a key at %s:\n%s", e.Node, m.Raw())
		}
		if !phone && e.Node != NameP {
			for _, id := range []sip.ID{sip.HSecurityClient, sip.HSecurityServer, sip.HSecurityVerify} {
				if m.Has(id) {
					t.Errorf("%v at %s:\n%s", id, e.Node, m.Raw())
				}
			}
			if m.Status() == 0 && (m.HasOption(sip.HRequire, "sec-agree") || m.HasOption(sip.HProxyRequire, "sec-agree")) {
				t.Errorf("sec-agree is required of %s:\n%s", e.Node, m.Raw())
			}
		}
	}
	if protected < 20 {
		t.Errorf("only %d messages were protected", protected)
	}
}

// manySubscribers makes n subscribers of a domain, with keys of their own.
func manySubscribers(n int, domain string) (subs []hss.Subscriber) {
	for i := range n {
		subs = append(subs, hss.Subscriber{
			IMPI:  fmt.Sprintf("00101%010d@%s", i+1, domain),
			IMPUs: []string{fmt.Sprintf("sip:user%d@%s", i+1, domain), fmt.Sprintf("tel:+1555%07d", i+1)},
			K:     hss.Key(fmt.Sprintf("465b5ce8b199b49faa5f0a2ee238%04x", i)), OPc: hss.Key(fmt.Sprintf("e8ed289deba952e4283b54e88e61%04x", i)),
		})
	}
	return subs
}

// message is the sending of a text that must come out whole at the other phone.
func message(from, to *ue.Phone, text string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := from.Message(ctx, to.Registration().Default, text); err != nil {
			return err
		}
		select {
		case m := <-to.Messages():
			if m.Body != text {
				return fmt.Errorf("%d octets came of %d", len(m.Body), len(text))
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the message was accepted, and has not come: %w", ctx.Err())
		}
	}
}
