package ue

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// The offer of each profile, as the source that it names has it.
func TestSecurityClientOfProfiles(t *testing.T) {
	end := ipsec.End{PortC: 6301, PortS: 6300, SPIC: 25656, SPIS: 25657}
	for _, c := range []struct {
		profile string
		offers  int
		lines   int
		first   string // in full
		in      string // the first two, where the space between them matters
	}{
		{"generic", 3, 1, "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;mod=trans;prot=esp;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300", ""},
		{"samsung", 1, 1, "ipsec-3gpp;prot=esp;mod=trans;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300;alg=hmac-md5-96;ealg=null", ""},
		{"samsung-6", 6, 1, "ipsec-3gpp;prot=esp;mod=trans;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300;alg=hmac-md5-96;ealg=des-ede3-cbc", ", ipsec-3gpp;prot=esp"},
		{"qualcomm", 2, 1, "ipsec-3gpp; alg=hmac-md5-96; ealg=null; spi-c=25656; spi-s=25657; port-c=6301; port-s=6300", ""},
		{"qualcomm-compact", 6, 1, "ipsec-3gpp; alg=hmac-md5-96; ealg=null; spi-c=25656; spi-s=25657; port-c=6301; port-s=6300", ""},
		{"mediatek", 6, 1, "ipsec-3gpp;alg=hmac-md5-96;ealg=des-ede3-cbc;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300", ",ipsec-3gpp;alg="},
		{"zte", 1, 1, "ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300", ""},
		{"iphone", 4, 1, "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;mod=trans;port-c=6301;port-s=6300;prot=esp;spi-c=25656;spi-s=25657", ",ipsec-3gpp;alg="},
		{"ios", 4, 1, "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;mod=trans;port-c=6301;port-s=6300;prot=esp;spi-c=25656;spi-s=25657", ",ipsec-3gpp;alg="},
		{"pixel", 6, 1, "ipsec-3gpp;alg=hmac-md5-96;prot=esp;mod=trans;ealg=des-ede3-cbc;spi-c=0000025656;spi-s=0000025657;port-c=6301;port-s=6300", ""},
		{"pixel-rows", 6, 6, "ipsec-3gpp;alg=hmac-md5-96;prot=esp;mod=trans;ealg=des-ede3-cbc;spi-c=0000025656;spi-s=0000025657;port-c=6301;port-s=6300", ""},
	} {
		p, ok := Profiles[c.profile]
		if !ok || p.Source == "" {
			t.Errorf("%s: no such profile, or it does not say where it is from", c.profile)
			continue
		}
		lines := p.Security.lines(p.Security.Pairs, []ipsec.Mode{ipsec.Transport}, end)
		b := sip.NewRequest("REGISTER", "sip:x")
		for _, l := range lines {
			b.Add(sip.HSecurityClient, l)
		}
		m, err := b.Message()
		if err != nil {
			t.Fatal(err)
		}
		var offers []string
		for v := range m.Values(sip.HSecurityClient) {
			offers = append(offers, v)
			if s, err := sip.ParseSecMechanism(v); err != nil || s.SPIC != 25656 || s.SPIS != 25657 || s.PortC != 6301 || s.PortS != 6300 {
				t.Errorf("%s: %q reads as %v, %v", c.profile, v, s, err)
			}
		}
		if len(offers) != c.offers || len(lines) != c.lines || offers[0] != c.first || !strings.Contains(lines[0], c.in) {
			t.Errorf("%s: %d offers on %d lines:\n%s\nwant %d on %d, the first\n%s", c.profile, len(offers), len(lines), strings.Join(lines, "\n"), c.offers, c.lines, c.first)
		}
	}
	if len(Profiles) != 11 {
		t.Errorf("%d profiles: the table above has 11", len(Profiles))
	}
}

// Each profile registers with IPsec, registers again twice under challenge, calls, is
// called and leaves.
func TestProtectedProfiles(t *testing.T) {
	for name, profile := range Profiles {
		for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
			t.Run(name+" "+proto.String(), func(t *testing.T) {
				gated(t, func(t *testing.T, w *world) {
					w.expires = 3600
					c := secure(aliceConfig())
					c.Profile, c.Transport = name, proto
					bob := secure(bobConfig())
					bob.Profile, bob.Transport = name, proto
					p, peer := w.registeredPhone(c), w.registeredPhone(bob)
					ports := []ipsec.End{w.sets()[0].Local}
					for range 2 {
						w.set(func() { clear(w.nonces) })
						if _, err := p.Register(w.ctx()); err != nil {
							t.Fatal(err)
						}
						sets := w.sets()
						ports = append(ports, sets[len(sets)-1].Local)
						ms, flows := w.registeredOver()
						// 1300 octets, and what its receiver has added to Via.
						if want := profile.RegisterTCP || proto == sip.TCP || len(ms[1].Raw()) > 1325; len(ms) != 2 || (flows[1].Proto == sip.TCP) != want {
							t.Errorf("the protected REGISTER, of %d octets, came over %v", len(ms[1].Raw()), flows[1])
						}
						checkPorts(t, name, &profile, ports)
					}
					for _, call := range []struct {
						from *Phone
						to   string
					}{{p, "bob"}, {peer, "alice"}} {
						c, err := call.from.Call(w.ctx(), "sip:"+call.to+"@"+domain, CallOptions{})
						if err != nil {
							t.Fatal(err)
						}
						if err := c.Hangup(w.ctx()); err != nil {
							t.Error(err)
						}
					}
					if err := p.Deregister(w.ctx()); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Second)
					if n := len(w.sets()); n != 0 {
						t.Errorf("%d sets left", n)
					}
					for _, s := range []*sealed{w.stacks[0], w.stacks[1], w.gate.stack} {
						if len(s.drops) != 0 {
							t.Errorf("drops %v", s.drops)
						}
					}
				})
			})
		}
	}
}

// checkPorts checks which ports changed between the last two agreements.
func checkPorts(t *testing.T, name string, p *Profile, ends []ipsec.End) {
	t.Helper()
	was, is := ends[len(ends)-2], ends[len(ends)-1]
	if is.PortC == was.PortC || (is.PortS == was.PortS) == p.Security.Ports.FreshServer || is.SPIC == was.SPIC || is.SPIS == was.SPIS || is.SPIC < p.Security.MinSPI {
		t.Errorf("%+v after %+v", is, was)
	}
	for i, want := range map[string]map[int][2]uint16{
		"samsung": {0: {6301, 6300}, 1: {6303, 6300}, 2: {6305, 6300}},
		"iphone":  {0: {49200, 49201}, 1: {49202, 49201}},
	}[name] {
		if i < len(ends) && (ends[i].PortC != want[0] || ends[i].PortS != want[1]) {
			t.Errorf("agreement %d has the ports %d and %d, want %v", i+1, ends[i].PortC, ends[i].PortS, want)
		}
	}
	if strings.HasPrefix(name, "pixel") && (is.PortC < 38001 || is.PortC > 39000 || ends[0].PortS != ends[0].PortC+1000) {
		t.Errorf("ports %+v, first %+v", is, ends[0])
	}
}

// What is peculiar to each, on the wire.
func TestManners(t *testing.T) {
	first := func(t *testing.T, profile string, n int) *sip.Message {
		var m *sip.Message
		gated(t, func(t *testing.T, w *world) {
			c := secure(aliceConfig())
			c.Profile = profile
			p := w.phone(c)
			if _, err := p.Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
			m = w.registered()[n]
		})
		return m
	}
	t.Run("compact names", func(t *testing.T) {
		raw := first(t, "qualcomm-compact", 1).Raw()
		for _, want := range []string{"\r\nv: SIP/2.0/TCP ", "\r\nf: <", "\r\nt: <", "\r\ni: ", "\r\nm: <", "\r\nk: path", "\r\nl: 0\r\n"} {
			if strings.Count(raw, want) != 1 {
				t.Errorf("want %q once in\n%s", want, raw)
			}
		}
		for _, no := range []string{"\r\nVia:", "\r\nFrom:", "\r\nUser-Agent", "algorithm="} {
			if strings.Contains(raw, no) {
				t.Errorf("%q in\n%s", no, raw)
			}
		}
	})
	t.Run("folded Authorization", func(t *testing.T) {
		m := first(t, "pixel", 1)
		if !strings.Contains(m.Raw(), "\",\r\n realm=\"") {
			t.Errorf("not folded:\n%s", m.Raw())
		}
		if c := credentials(t, m); c.Response == "" || c.Realm != domain {
			t.Errorf("credentials %v", c)
		}
	})
	t.Run("a body in REGISTER", func(t *testing.T) {
		m := first(t, "ios", 1)
		if c := credentials(t, m); m.Body() != pidf || m.Get(sip.HContentType) != "application/pidf+xml" || c.QOP != "auth-int" || !m.Has(sip.HSessionID) {
			t.Errorf("REGISTER:\n%s", m.Raw())
		}
	})
	t.Run("padded and large SPIs", func(t *testing.T) {
		m := first(t, "pixel", 0)
		spi, _ := sip.Params(strings.SplitN(m.First(sip.HSecurityClient), ";", 2)[1]).Get("spi-c")
		if n, err := strconv.ParseUint(spi, 10, 32); err != nil || len(spi) != 10 || n < 1000000000 {
			t.Errorf("spi-c %q", spi)
		}
		if s := mechanism(t, first(t, "zte", 0), sip.HSecurityClient); s.SPIC <= 1<<31 || s.Mod != "" || s.Prot != "" {
			t.Errorf("%v", s)
		}
	})
	t.Run("rows", func(t *testing.T) {
		if m := first(t, "pixel-rows", 0); m.Count(sip.HSecurityClient) != 6 {
			t.Errorf("REGISTER:\n%s", m.Raw())
		}
	})
	t.Run("AKAv1 alone", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			w.akav2 = true
			c := secure(aliceConfig())
			c.Profile = "pixel"
			if _, err := w.phone(c).Register(w.ctx()); err == nil || !strings.Contains(err.Error(), "AKAv1-MD5 alone") || len(w.registered()) != 1 {
				t.Errorf("error %v", err)
			}
			c = secure(bobConfig())
			if _, err := w.phone(c).Register(w.ctx()); err != nil {
				t.Errorf("a phone that knows AKAv2: %v", err)
			}
		})
	})
}

// Samsung's manners: the first REGISTER by UDP and the protected one by TCP, qop
// auth-int, one cnonce, answers over TCP to what came by UDP, in clear where the Via
// names port_pc, and a strange phone-context.
func TestSamsung(t *testing.T) {
	conformance.Shows(t, "UE-13")
	gated(t, func(t *testing.T, w *world) {
		w.expires = 3600
		c := secure(aliceConfig())
		c.Profile, c.NoSubscribe = "samsung", true
		p := w.phone(c)
		if _, err := p.Register(w.ctx()); err != nil {
			t.Fatal(err)
		}
		ms, flows := w.registeredOver()
		cred := credentials(t, ms[1])
		if flows[0].Proto != sip.UDP || flows[0].Role != sip.RoleGm || flows[1].Proto != sip.TCP || flows[1].Remote.Port() != 6301 {
			t.Errorf("REGISTERs over %v", flows)
		}
		via, _ := ms[1].TopVia()
		if via.Port != 6300 || !strings.Contains(ms[1].Get(sip.HContact), "@192.0.2.1:6300>") || cred.QOP != "auth-int" {
			t.Errorf("REGISTER:\n%s", ms[1].Raw())
		}
		w.set(func() { clear(w.nonces) })
		if _, err := p.Register(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if again := credentials(t, w.registered()[1]); again.CNonce != cred.CNonce || again.Nonce == cred.Nonce {
			t.Errorf("credentials %v after %v", again, cred)
		}

		// The SUBSCRIBE, and a call, go by UDP in the same associations.
		if err := p.Message(w.ctx(), "sip:nobody@"+domain, "x"); err == nil {
			t.Error("somebody is called nobody")
		}
		if m := w.requests(); len(m) != 1 || !strings.HasPrefix(m[0].First(sip.HVia), "SIP/2.0/UDP 192.0.2.1:6300") {
			t.Errorf("requests %v", m)
		}

		// An OPTIONS by UDP is answered over the phone's connection, one that names
		// port_pc in clear.
		for _, c := range []struct {
			port        uint16
			over, clear int
		}{{gatePS, 1, 0}, {5101, 0, 1}} {
			over, clear := new(int), new(int)
			w.mem.SetHook(w.count(over, clear))
			s := w.gate.last["alice"]
			w.gate.send(s, options(s, c.port))
			time.Sleep(time.Second)
			synctest.Wait()
			if *over != c.over || *clear != c.clear {
				t.Errorf("port %d in Via: %d answers over TCP, %d in clear", c.port, *over, *clear)
			}
		}
		w.mem.SetHook(nil)
		_, _ = p.Call(w.ctx(), "0612", CallOptions{NumberForm: OddContext})
		if m := w.requests(); len(m) == 0 || m[0].RequestURI() != "sip:0612;phone-context=0612@0612;user=phone" {
			t.Errorf("INVITE %v", m)
		}
	})
}

// The command's help names all profiles and faults.
func TestHelpNamesWhatThereIs(t *testing.T) {
	flags := reflect.TypeFor[Flags]()
	for field, names := range map[string][]string{"Profile": profileNames(), "Fault": append(FaultNames(), faultIPChange)} {
		f, _ := flags.FieldByName(field)
		for _, n := range names {
			if !strings.Contains(f.Tag.Get("help"), n) {
				t.Errorf("the help of %s does not name %s", field, n)
			}
		}
	}
}
